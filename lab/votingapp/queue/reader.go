package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// Entry is one delivery of an entry of the stream.
type Entry struct {
	// ID is Redis' id of the entry.
	ID string
	// Vote is what it says, if Err is nil.
	Vote vote.Vote
	// Err says why the entry is no vote.
	Err error

	fields map[string]any
}

// Reader reads the stream of one Redis as one consumer of the group. Not safe for concurrent use, but for Settle.
type Reader struct {
	client   *redis.Client
	consumer string
	lease    time.Duration
	batch    int64
	known    bool
	cursor   string
}

// NewReader prepares a reader. consumer must be unique among all readers that ever live; lease is how long an entry may be unacknowledged
// before another consumer may claim it; batch bounds the entries of one delivery.
func NewReader(client *redis.Client, consumer string, lease time.Duration, batch int) *Reader {
	return &Reader{client: client, consumer: consumer, lease: lease, batch: int64(batch), cursor: "0-0"}
}

// ErrWiped says that a stream that this reader knew is gone: Redis was emptied, or came back without its data. Votes that it
// had acknowledged may be lost. It is reported once; the next read starts on the new stream.
var ErrWiped = errors.New("the stream and its consumer group are gone: redis came back without its data")

// Read waits up to block for entries that nobody has been given yet. No entries is no error.
func (r *Reader) Read(ctx context.Context, block time.Duration) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, block+Timeout)
	defer cancel()
	if !r.known {
		if err := r.join(ctx); err != nil {
			return nil, err
		}
	}
	streams, err := r.client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: Group, Consumer: r.consumer, Streams: []string{Stream, ">"}, Count: r.batch, Block: block,
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, r.failed("read", err)
	case len(streams) != 1:
		return nil, fmt.Errorf("read stream %s at %s: %d streams in the answer", Stream, r.client.Options().Addr, len(streams))
	}
	return entries(streams[0].Messages), nil
}

// Claim takes over entries that were given to some consumer more than the lease ago and never acknowledged: it has died, is frozen, or
// could not reach Redis any more. A consumer that wakes up late does no harm, since counting a vote twice has no effect.
// Each call goes through one batch of what is pending; more says that there is another.
func (r *Reader) Claim(ctx context.Context) (claimed []Entry, more bool, err error) {
	if !r.known {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	messages, next, err := r.client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: Stream, Group: Group, Consumer: r.consumer, MinIdle: r.lease, Start: r.cursor, Count: r.batch,
	}).Result()
	if err != nil {
		return nil, false, r.failed("claim from", err)
	}
	r.cursor = next
	return entries(messages), next != "0-0", nil
}

// Settle ends the business of a batch in one step, all or nothing: counted entries and dead ones are acknowledged and deleted, and
// dead ones are written to the dead-letter stream together with the reason. Settling an entry twice is harmless, but for a second
// dead letter.
func (r *Reader) Settle(ctx context.Context, counted, dead []Entry) error {
	if len(counted)+len(dead) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	ids := make([]any, 0, len(counted)+len(dead))
	for _, e := range counted {
		ids = append(ids, e.ID)
	}
	_, err := r.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, e := range dead {
			ids = append(ids, e.ID)
			letter := []any{"xadd", DeadStream, "*", "reason", e.Err.Error(), "id", e.ID, "consumer", r.consumer}
			for name, value := range e.fields {
				letter = append(letter, "entry."+name, value)
			}
			pipe.Do(ctx, letter...)
		}
		pipe.Do(ctx, append([]any{"xack", Stream, Group}, ids...)...)
		pipe.Do(ctx, append([]any{"xdel", Stream}, ids...)...)
		return nil
	})
	if err != nil {
		return fmt.Errorf("acknowledge %d entries at %s: %w", len(ids), r.client.Options().Addr, err)
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
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err := r.client.Eval(ctx, leave, []string{Stream}, Group, r.consumer, forgetAfter.Milliseconds()).Err()
	if err != nil {
		return fmt.Errorf("leave group %s at %s: %w", Group, r.client.Options().Addr, err)
	}
	return nil
}

// join makes sure that the group exists. It starts at the beginning of the stream: votes may have come before the first worker.
func (r *Reader) join(ctx context.Context) error {
	err := r.client.XGroupCreateMkStream(ctx, Stream, Group, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("create group %s at %s: %w", Group, r.client.Options().Addr, err)
	}
	r.known = true
	return nil
}

func (r *Reader) failed(what string, err error) error {
	// NOGROUP: at the next command; UNBLOCKED: the stream vanished under a waiting reader.
	if strings.HasPrefix(err.Error(), "NOGROUP") || strings.HasPrefix(err.Error(), "UNBLOCKED") {
		r.known, r.cursor = false, "0-0"
		return fmt.Errorf("%s stream %s at %s: %w", what, Stream, r.client.Options().Addr, ErrWiped)
	}
	return fmt.Errorf("%s stream %s at %s: %w", what, Stream, r.client.Options().Addr, err)
}

func entries(messages []redis.XMessage) []Entry {
	list := make([]Entry, len(messages))
	for i, m := range messages {
		list[i] = Entry{ID: m.ID, fields: m.Values}
		list[i].Vote, list[i].Err = decode(m.Values)
	}
	return list
}
