package datastore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
)

// Queue is one frontend's queue at one moment.
type Queue struct {
	Node string
	// Waiting votes, and the entries of the queue that are with a worker: an entry holds one vote or many. Dead votes were put aside as
	// unreadable.
	Waiting, Delivered, Dead int64
	// Left is how many votes have left the queue since it was made: they were counted, or put aside.
	Left int64
	// Settled is the time, by this host's clock, before which everything that was captured has left the queue. It is zero when that
	// cannot be told: nothing may be concluded from what is missing then.
	Settled time.Time
	// Err says why nothing is known of this queue.
	Err error
}

// queueTimeout bounds the reading of a queue that does not answer.
const queueTimeout = 3 * time.Second

// Queues reads all queues at once. One that does not answer has its Err set.
func (c *Datastore) Queues(ctx context.Context) []Queue {
	queues := make([]Queue, len(c.queues))
	var wg sync.WaitGroup
	for i, r := range c.queues {
		wg.Go(func() {
			if err := r.look(ctx, &queues[i]); err != nil {
				queues[i].Err = fmt.Errorf("%s on %s: %w", r.container, r.node, err)
			}
			queues[i].Node = r.node
		})
	}
	wg.Wait()
	return queues
}

func (c *Datastore) redis(p place, password string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Dialer:   func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx, p) },
		Password: password, PoolSize: 1, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, ContextTimeoutEnabled: true,
		DialTimeout: queueTimeout, ReadTimeout: queueTimeout, WriteTimeout: queueTimeout,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

func (r redisAt) look(ctx context.Context, q *Queue) error {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	asked := time.Now()
	pipe := r.client.TxPipeline() // the numbers of one moment
	captured, settled := pipe.Get(ctx, contract.CapturedKey), pipe.Get(ctx, contract.SettledKey)
	now, length, dead := pipe.Time(ctx), pipe.XLen(ctx, contract.VoteStream), pipe.XLen(ctx, contract.DeadStream)
	oldest, pending := pipe.XRangeN(ctx, contract.VoteStream, "-", "+", 1), pipe.XPending(ctx, contract.VoteStream, contract.WorkerGroup)
	_, _ = pipe.Exec(ctx) // Every command carries its own error.
	if err := cmp.Or(now.Err(), length.Err(), dead.Err(), oldest.Err()); err != nil {
		return err
	}
	if pending.Err() != nil && !strings.HasPrefix(pending.Err().Error(), "NOGROUP") { // No worker has met this queue yet.
		return pending.Err()
	}
	q.Dead, q.Settled = dead.Val(), asked
	counts := [2]int64{}
	for i, cmd := range []*redis.StringCmd{captured, settled} {
		var err error
		if counts[i], err = cmd.Int64(); err != nil && !errors.Is(err, redis.Nil) { // The first vote makes them.
			return err
		}
	}
	q.Left = counts[1]
	if n := length.Val(); n > 0 {
		q.Waiting = max(counts[0]-counts[1], n) // What somebody put there manually is in no counter.
	}
	if p := pending.Val(); p != nil {
		q.Delivered = p.Count
	}
	if len(oldest.Val()) > 0 {
		captured, err := entryTime(oldest.Val()[0].ID)
		if err != nil {
			return err
		}
		// Both times are of Redis' clock, so that it need not agree with ours. An id of the future is one of a clock that was set back.
		age := now.Val().Sub(captured)
		q.Settled = asked.Add(-age - time.Millisecond)
		if age < 0 {
			q.Settled = time.Time{}
		}
	}
	return nil
}

// entryTime is when an entry of a stream was added, by Redis' clock.
func entryTime(id string) (time.Time, error) {
	text, _, _ := strings.Cut(id, "-")
	millis, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("the id %q of an entry has no time: %w", id, err)
	}
	return time.UnixMilli(millis), nil
}

// DeadLetters are the latest of one queue.
type DeadLetters struct {
	Node string
	// Total is how many there are, Latest the latest of them, the latest first.
	Total  int64
	Latest []queue.DeadLetter
	// Err says why nothing is known of this queue.
	Err error
}

// DeadLetters reads the latest dead letters of all queues, at most maximum of each. A queue that does not answer has its Err set.
func (c *Datastore) DeadLetters(ctx context.Context, maximum int) []DeadLetters {
	all := make([]DeadLetters, len(c.queues))
	var wg sync.WaitGroup
	for i, r := range c.queues {
		wg.Go(func() {
			d := &all[i]
			d.Node = r.node
			if d.Latest, d.Total, d.Err = queue.DeadLetters(ctx, r.client, maximum); d.Err != nil {
				d.Err = fmt.Errorf("%s on %s: %w", r.container, r.node, d.Err)
			}
		})
	}
	wg.Wait()
	return all
}
