package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// Entry is one delivery of an entry of the stream.
type Entry struct {
	// ID is Redis' id of the entry.
	ID string
	// Votes are those of its votes that can be read and were not rejected.
	Votes []vote.Vote
	// Dead is the rest of it.
	Dead []Letter

	// size is the number of votes that the writer counted for it: 0 of what is not the writer's.
	size int
}

// Letter is a part of an entry that is no vote, or that the store will never take: a dead letter to be.
type Letter struct {
	// Err says why.
	Err error
	// kind is kindVote or kindEntry: what text is.
	kind, text string
}

// Reject makes dead letters of votes that the store will never take, for the reasons given.
func (e *Entry) Reject(reasons map[vote.Vote]error) {
	e.Votes = slices.DeleteFunc(e.Votes, func(v vote.Vote) bool {
		err, rejected := reasons[v]
		if rejected {
			e.Dead = append(e.Dead, Letter{kind: kindVote, text: string(appendVote(nil, v)), Err: err})
		}
		return rejected
	})
}

// Reader reads the stream of one Redis as one consumer of the group. Not safe for concurrent use, but for Settle and State.
type Reader struct {
	client   *redis.Client
	consumer string
	lease    time.Duration
	batch    int
	known    bool
	cursor   string
	// perEntry is how many votes an entry held lately, to ask for as many as make a batch.
	perEntry int
}

// maxEntries bounds the entries of a delivery, whatever was in the last ones.
const maxEntries = 1000

// NewReader prepares a reader. consumer must be unique among all readers that ever live; lease is how long an entry may be unacknowledged
// before another consumer may claim it; batch is about how many votes a delivery shall hold.
func NewReader(client *redis.Client, consumer string, lease time.Duration, batch int) *Reader {
	return &Reader{client: client, consumer: consumer, lease: lease, batch: batch, cursor: "0-0", perEntry: maxVotes}
}

// count is the number of entries to ask for. Redis knows only entries; how much is in them, the last delivery tells. After an error the
// entries are taken for full: it may have been that they were too much for the time.
func (r *Reader) count() int64 { return int64(min(max(r.batch/r.perEntry, 1), maxEntries)) }

// State is what tells one Redis from another, and from itself with older data.
type State struct {
	// Identity is the random name that it was given when it was new.
	Identity string
	// Captured is the number of votes that it ever took.
	Captured int64
}

// State reads the state, and gives Redis its name if it has none.
func (r *Reader) State(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(r.client))
	defer cancel()
	var identity, captured *redis.StringCmd
	_, err := r.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.SetNX(ctx, contract.IdentityKey, rand.Text(), 0)
		identity, captured = pipe.Get(ctx, contract.IdentityKey), pipe.Get(ctx, contract.CapturedKey)
		return nil
	})
	if errors.Is(err, redis.Nil) { // nothing captured yet
		err = identity.Err()
	}
	if err != nil {
		return State{}, fmt.Errorf("identify redis at %s: %w", r.client.Options().Addr, err)
	}
	s := State{Identity: identity.Val()}
	if captured.Err() == nil {
		if s.Captured, err = captured.Int64(); err != nil {
			return State{}, fmt.Errorf("counter %s at %s: %w", contract.CapturedKey, r.client.Options().Addr, err)
		}
	}
	return s, nil
}

// ErrWiped says that a stream that this reader knew is gone: Redis was emptied, or came back without its data ([Reader.State] tells). It is
// reported once; the next read starts on the new stream.
var ErrWiped = errors.New("the stream and its consumer group are gone")

// Read waits up to block for entries that nobody has been given yet. No entries is no error.
func (r *Reader) Read(ctx context.Context, block time.Duration) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, block+timeoutOf(r.client))
	defer cancel()
	if !r.known {
		if err := r.join(ctx); err != nil {
			return nil, err
		}
	}
	streams, err := r.client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: contract.WorkerGroup, Consumer: r.consumer, Streams: []string{contract.VoteStream, ">"}, Count: r.count(), Block: block,
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, r.failed("read", err)
	case len(streams) != 1:
		return nil, fmt.Errorf("read stream %s at %s: %d streams in the answer", contract.VoteStream, r.client.Options().Addr, len(streams))
	}
	return r.entries(streams[0].Messages), nil
}

// Claim takes over entries that were given to some consumer more than the lease ago and never acknowledged: it has died, is frozen, or
// could not reach Redis any more. A consumer that wakes up late does no harm, since counting a vote twice has no effect.
// Each call goes through one batch of what is pending; more says that there is another.
func (r *Reader) Claim(ctx context.Context) (claimed []Entry, more bool, err error) {
	if !r.known {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(r.client))
	defer cancel()
	messages, next, err := r.client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: contract.VoteStream, Group: contract.WorkerGroup, Consumer: r.consumer, MinIdle: r.lease, Start: r.cursor, Count: r.count(),
	}).Result()
	if err != nil {
		return nil, false, r.failed("claim from", err)
	}
	r.cursor = next
	return r.entries(messages), next != "0-0", nil
}

// settle acknowledges and deletes entries, counts their votes as settled, and writes their dead letters: for entries that are still there only, so
// that a consumer that wakes up late changes nothing. When nothing is left, all that was captured is settled, whatever hands may have
// done to the stream in between.
var settle = redis.NewScript(`
local stream, dead, captured, settled = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer = ARGV[1], ARGV[2]
local at, votes = 3, 0
local function take()
	at = at + 1
	return ARGV[at - 1]
end
while at <= #ARGV do
	local id, size, letters = take(), tonumber(take()), tonumber(take())
	local there = letters == 0 or #redis.call('XRANGE', stream, id, id) > 0
	for _ = 1, letters do
		local reason, kind, text = take(), take(), take()
		if there then
			redis.call('XADD', dead, '*', 'reason', reason, 'id', id, 'consumer', consumer, kind, text)
		end
	end
	redis.call('XACK', stream, group, id)
	if redis.call('XDEL', stream, id) == 1 then
		votes = votes + size
	end
end
if redis.call('XLEN', stream) == 0 then
	redis.call('SET', settled, redis.call('GET', captured) or 0)
elseif votes > 0 then
	redis.call('INCRBY', settled, votes)
end
return votes`)

// Settle ends the business of entries in one step, all or nothing: they are acknowledged and deleted, and their dead letters are written to the
// dead-letter stream together with the reason. Settling an entry twice is harmless.
func (r *Reader) Settle(ctx context.Context, done []Entry) error {
	if len(done) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(r.client))
	defer cancel()
	args := make([]any, 0, 2+3*len(done))
	args = append(args, contract.WorkerGroup, r.consumer)
	for _, e := range done {
		args = append(args, e.ID, e.size, len(e.Dead))
		for _, l := range e.Dead {
			args = append(args, l.Err.Error(), l.kind, l.text)
		}
	}
	if err := settle.Run(ctx, r.client, []string{contract.VoteStream, contract.DeadStream, contract.CapturedKey, contract.SettledKey}, args...).Err(); err != nil {
		return fmt.Errorf("acknowledge %d entries at %s: %w", len(done), r.client.Options().Addr, err)
	}
	return nil
}

// leave removes consumers that hold nothing: in one step, since to remove one that was just given entries would lose them.
const leave = `
local removed = 0
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
	local name, pending, idle
	for i = 1, #c, 2 do
		if c[i] == 'name' then name = c[i + 1] elseif c[i] == 'pending' then pending = c[i + 1] elseif c[i] == 'idle' then idle = c[i + 1] end
	end
	if pending == 0 and (name == ARGV[2] or idle > tonumber(ARGV[3])) then
		redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
		removed = removed + 1
	end
end
return removed`

// forgetAfter is how long a consumer without entries must have been silent before another one clears its name away.
const forgetAfter = time.Hour

// Leave takes this consumer, and others that went long ago, off the group's list, if they hold no entries.
func (r *Reader) Leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(r.client))
	defer cancel()
	err := r.client.Eval(ctx, leave, []string{contract.VoteStream}, contract.WorkerGroup, r.consumer, forgetAfter.Milliseconds()).Err()
	if err != nil {
		return fmt.Errorf("leave group %s at %s: %w", contract.WorkerGroup, r.client.Options().Addr, err)
	}
	return nil
}

// join makes sure that the group exists. It starts at the beginning of the stream: votes may have come before the first worker.
func (r *Reader) join(ctx context.Context) error {
	err := r.client.XGroupCreateMkStream(ctx, contract.VoteStream, contract.WorkerGroup, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("create group %s at %s: %w", contract.WorkerGroup, r.client.Options().Addr, err)
	}
	r.known = true
	return nil
}

func (r *Reader) failed(what string, err error) error {
	r.perEntry = maxVotes
	// NOGROUP: at the next command; UNBLOCKED: the stream vanished under a waiting reader.
	if strings.HasPrefix(err.Error(), "NOGROUP") || strings.HasPrefix(err.Error(), "UNBLOCKED") {
		r.known, r.cursor = false, "0-0"
		return fmt.Errorf("%s stream %s at %s: %w", what, contract.VoteStream, r.client.Options().Addr, ErrWiped)
	}
	return fmt.Errorf("%s stream %s at %s: %w", what, contract.VoteStream, r.client.Options().Addr, err)
}

func (r *Reader) entries(messages []redis.XMessage) []Entry {
	list := make([]Entry, len(messages))
	votes := 0
	for i, m := range messages {
		list[i] = decode(m.ID, m.Values)
		votes += len(list[i].Votes)
	}
	if len(list) > 0 {
		r.perEntry = max(votes/len(list), 1)
	}
	return list
}
