package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// ErrBusy says that more votes wait for Redis than the writer is willing to hold.
var ErrBusy = errors.New("too many votes wait for redis")

// ErrClosed says that the writer was closed.
var ErrClosed = errors.New("the queue's writer is closed")

const (
	// lanes is the number of pipelines in flight. While one waits for Redis' fsync, the other fills.
	lanes = 2
	// maxBatch bounds a pipeline. 1,024 votes are about 110 kB on the wire.
	maxBatch = 4 * maxVotes
	// maxWaiting bounds the votes that wait for a lane, and with it the memory that a slow Redis can cost.
	maxWaiting = 8192
)

// Writer appends votes to a stream. Votes that arrive while a pipeline is on its way share the next one: one round trip, one entry and, in
// Redis with `appendfsync always`, one fsync for all of them. A vote that finds the lane idle leaves at once; nothing ever waits for company.
type Writer struct {
	client  *redis.Client
	waiting chan *write
	observe func(batch int)
	stop    chan struct{}
	lanes   sync.WaitGroup
}

type write struct {
	ctx  context.Context // the deadline of the one who waits for this write
	vote vote.Vote
	done chan error
}

// NewWriter starts a writer. observe, if not nil, is told the size of each pipeline. Close it to end its goroutines.
func NewWriter(client *redis.Client, observe func(batch int)) *Writer {
	if observe == nil {
		observe = func(int) {}
	}
	w := &Writer{
		client:  client,
		waiting: make(chan *write, maxWaiting),
		observe: observe,
		stop:    make(chan struct{}),
	}
	for range lanes {
		w.lanes.Go(w.lane)
	}
	return w
}

// Append returns nil once Redis has answered that the vote is in the stream; whether it is then on disk is a matter of Redis'
// own settings (appendonly, appendfsync). After any error but ErrBusy and ErrClosed the vote may or may not be there: appending it
// again is harmless, as the workers count it once.
func (w *Writer) Append(ctx context.Context, v vote.Vote) error {
	one := &write{ctx: ctx, vote: v, done: make(chan error, 1)}
	select {
	case <-w.stop:
		return ErrClosed
	default:
	}
	select {
	case w.waiting <- one:
	default:
		return ErrBusy
	}
	select {
	case err := <-one.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("append to stream %s: %w", Stream, ctx.Err())
	}
}

// Close lets the pipelines in flight end; votes that still wait get ErrClosed. Call it when nobody appends any more.
func (w *Writer) Close() {
	close(w.stop)
	w.lanes.Wait()
	for {
		select {
		case one := <-w.waiting:
			one.done <- ErrClosed
		default:
			return
		}
	}
}

func (w *Writer) lane() {
	batch := make([]*write, 0, maxBatch)
	var text []byte
	for {
		select {
		case <-w.stop:
			return
		case one := <-w.waiting:
			batch = w.fill(append(batch[:0], one))
		}
		text = w.send(batch, text[:0])
		clear(batch)
	}
}

func (w *Writer) fill(batch []*write) []*write {
	for len(batch) < maxBatch {
		select {
		case one := <-w.waiting:
			batch = append(batch, one)
		default:
			return batch
		}
	}
	return batch
}

// send appends a batch in one transaction, with text as the room to write it in, and tells those who wait.
func (w *Writer) send(batch []*write, text []byte) []byte {
	// The pipeline serves many requests: it has a deadline of its own, and no one of them can cancel it.
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	pipe := w.client.TxPipeline()
	votes, begin := 0, 0
	add := func() {
		if len(text) > begin {
			pipe.Do(ctx, "xadd", Stream, "*", field, text[begin:])
		}
		begin = len(text)
	}
	text = slices.Grow(text, len(batch)*(maxLine+1)) // Entries are parts of it: it must not move.
	for i, one := range batch {
		if one.ctx.Err() != nil { // Its client was told that Redis is away: don't capture it behind their back.
			one.done <- one.ctx.Err()
			batch[i] = nil
			continue
		}
		if len(text) > begin {
			text = append(text, '\n')
		}
		text = appendVote(text, one.vote)
		if votes++; votes%maxVotes == 0 {
			add()
		}
	}
	add()
	w.observe(votes)
	if votes == 0 {
		return text
	}
	pipe.IncrBy(ctx, CapturedKey, int64(votes))
	_, err := pipe.Exec(ctx) // All or nothing.
	if err != nil {
		err = fmt.Errorf("append to stream %s: %w", Stream, err)
	}
	for _, one := range batch {
		if one != nil {
			one.done <- err
		}
	}
	return text
}
