package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// ErrBusy says that more votes wait for Redis than the writer is willing to hold.
var ErrBusy = errors.New("too many votes wait for redis")

// ErrClosed says that the writer was closed.
var ErrClosed = errors.New("the queue's writer is closed")

const (
	// pause is how long nobody must have come for the votes in company to leave, and longestPause how long they wait for one at most.
	pause        = 200 * time.Microsecond
	longestPause = 4 * time.Millisecond
	// maxBatch bounds a pipeline. 1,024 votes are about 110 kB on the wire.
	maxBatch = 4 * maxVotes
	// maxWaiting bounds the votes that wait for a pipeline, and with it the memory that a slow Redis can cost.
	maxWaiting = 8192
)

// Writer appends votes to a stream. One pipeline is on its way at a time; votes that arrive meanwhile share the next one: one round trip,
// one entry and, in Redis with `appendfsync always`, one fsync for all of them.
//
// A vote on its own leaves at once. Where votes come in company, the next pipeline leaves when no other vote has come for a moment. That
// delays nothing: the processor is what is short then, and each pipeline takes of it from the votes that are on their way. With 256 voters on two
// processors, pipelines of 2 votes became pipelines of dozens, 8,400 votes/s became 12,000, and half of the votes were
// answered within 20 ms instead of 32.
type Writer struct {
	client  *redis.Client
	waiting chan *write
	observe func(batch int)
	stop    chan struct{}
	sending sync.WaitGroup
}

type write struct {
	ctx  context.Context // the deadline of the one who waits for this write
	vote vote.Vote
	done chan error
}

// NewWriter starts a writer. observe, if not nil, is told the size of each pipeline. Close it to end its goroutine.
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
	w.sending.Go(w.run)
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
		return fmt.Errorf("append to stream %s: %w", contract.VoteStream, ctx.Err())
	}
}

// Close lets the pipeline in flight end; votes that still wait get ErrClosed. Call it when nobody appends any more.
func (w *Writer) Close() {
	close(w.stop)
	w.sending.Wait()
	for {
		select {
		case one := <-w.waiting:
			one.done <- ErrClosed
		default:
			return
		}
	}
}

// run sends one pipeline after the other.
func (w *Writer) run() {
	batch := make([]*write, 0, maxBatch)
	var text []byte
	for {
		company := len(batch) > 1
		select {
		case <-w.stop:
			return
		case one := <-w.waiting:
			if company {
				w.awaitPause()
			}
			batch = w.fill(append(batch[:0], one))
		}
		text = w.send(batch, text[:0])
		clear(batch)
	}
}

// awaitPause waits until votes stop coming, for a moment.
func (w *Writer) awaitPause() {
	for began := time.Now(); time.Since(began) < longestPause; {
		before := len(w.waiting)
		time.Sleep(pause)
		if len(w.waiting) == before {
			return
		}
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
	ctx, cancel := context.WithTimeout(context.Background(), timeoutOf(w.client))
	defer cancel()
	pipe := w.client.TxPipeline()
	votes, begin := 0, 0
	add := func() {
		if len(text) > begin {
			pipe.Do(ctx, "xadd", contract.VoteStream, "*", field, text[begin:])
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
	pipe.IncrBy(ctx, contract.CapturedKey, int64(votes))
	_, err := pipe.Exec(ctx) // All or nothing.
	if err != nil {
		err = fmt.Errorf("append to stream %s: %w", contract.VoteStream, err)
	}
	for _, one := range batch {
		if one != nil {
			one.done <- err
		}
	}
	return text
}
