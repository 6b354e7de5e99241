// Package verify holds a lab's ledgers against what it counted: it waits until the queues have drained, reads the ledgers and the
// database in an order in which neither can accuse the other falsely, and has package verdict judge.
//
// It decides nothing about votes, and prints nothing.
package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// Datastore is what is asked of a running lab; *datastore.Datastore answers.
type Datastore interface {
	Queues(ctx context.Context) []datastore.Queue
	Count(ctx context.Context, judge func(datastore.Snapshot) error) error
}

// Options of a verdict.
type Options struct {
	// Ledgers are the files to judge; none: all of the lab.
	Ledgers []string
	// Options of the judge.
	checker.Options
	// Timeout bounds the waiting for loads to end, queues to drain and the database to answer. The judging itself comes on top.
	Timeout time.Duration
}

// Verdict is the judge's report, with what it was made of.
type Verdict struct {
	checker.Report
	At      time.Time `json:"at"`
	Ledgers []Ledger  `json:"ledgers"`
	Queues  []Queue   `json:"queues"`
	// WaitedMS and JudgedMS are how long both took, in milliseconds.
	WaitedMS int64 `json:"waited_ms"`
	JudgedMS int64 `json:"judged_ms"`
}

// Ledger is a file that was judged.
type Ledger struct {
	Path string       `json:"path"`
	Run  ledger.RunID `json:"run"`
	// Writing: its load was still at work.
	Writing bool `json:"writing,omitempty"`
	// TornBytes at the end of the file are an entry whose writer was interrupted.
	TornBytes int64 `json:"torn_bytes,omitempty"`
}

// Queue is a frontend's queue when the verdict was made.
type Queue struct {
	Node string `json:"node"`
	// Waiting votes, and those that were put aside as unreadable.
	Waiting int64 `json:"waiting"`
	Dead    int64 `json:"dead"`
	// Delivered is the number of the queue's entries, each of one vote or many, that are with a worker.
	Delivered int64 `json:"delivered_entries"`
	// Error says why nothing is known of it.
	Error string `json:"error,omitempty"`
}

// ErrNoLedger says that there is nothing to judge by.
var ErrNoLedger = errors.New("there is no ledger to judge by: `lab load` casts votes and keeps one")

// Verifier judges one lab.
type Verifier struct {
	Lab       *settings.Lab
	Datastore Datastore
}

// pollEvery is how often the queues are looked at while they drain.
const pollEvery = 250 * time.Millisecond

// Settled waits until the loads have ended and their votes are counted, and judges. What is not so when the timeout is over keeps the
// verdict from being PASS. say is told what is waited for. The error is one of the ledgers, or of ctx.
func (v *Verifier) Settled(ctx context.Context, o Options, say func(missing []string)) (Verdict, error) {
	begun := time.Now()
	for {
		last := time.Since(begun) >= o.Timeout
		s, err := v.collect(ctx, o)
		if err != nil {
			return Verdict{}, err
		}
		waited := time.Since(begun)
		missing := s.missing
		if len(missing) == 0 || last {
			got, unread, err := v.judge(ctx, s, o)
			if err != nil || last || unread == nil {
				got.WaitedMS = waited.Milliseconds()
				return got, errors.Join(err, s.close())
			}
			missing = []string{unread.Error()}
		}
		if err := s.close(); err != nil {
			return Verdict{}, err
		}
		say(missing)
		select {
		case <-ctx.Done():
			return Verdict{}, fmt.Errorf("wait until all votes are counted: %w", context.Cause(ctx))
		case <-time.After(pollEvery):
		}
	}
}

// Now judges what there is. While votes are on their way the verdict is not PASS, but FAIL if something is certainly wrong.
func (v *Verifier) Now(ctx context.Context, o Options) (Verdict, error) {
	s, err := v.collect(ctx, o)
	if err != nil {
		return Verdict{}, err
	}
	got, _, err := v.judge(ctx, s, o)
	return got, errors.Join(err, s.close())
}

// evidence is what is there before the database is read.
type evidence struct {
	readers []*ledger.Reader
	ledgers []Ledger
	queues  []datastore.Queue
	// missing and due are the judge's.
	missing []string
	due     time.Time
}

func (s *evidence) close() error {
	var errs []error
	for _, r := range s.readers {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// collect opens the ledgers and reads the queues. The order matters: when a load is over before its queues are found empty, all of its votes
// have left them.
func (v *Verifier) collect(ctx context.Context, o Options) (*evidence, error) {
	s := &evidence{}
	if err := v.open(s, o.Ledgers); err != nil {
		return nil, errors.Join(err, s.close())
	}
	for _, l := range s.ledgers {
		if l.Writing {
			s.missing = append(s.missing, fmt.Sprintf("the load %s goes on", l.Run))
		}
	}
	s.queues = v.Datastore.Queues(ctx)
	for i, q := range s.queues {
		switch {
		case q.Err != nil:
			s.missing = append(s.missing, fmt.Sprintf("the queue of %s cannot be read: %v", q.Node, q.Err))
		case q.Waiting > 0:
			s.missing = append(s.missing, fmt.Sprintf("the queue of %s holds votes that are not counted yet: %d", q.Node, q.Waiting))
		}
		// Zero, the time of a queue of which nothing is known, is before all others.
		if i == 0 || q.Settled.Before(s.due) {
			s.due = q.Settled
		}
	}
	return s, nil
}

func (v *Verifier) open(s *evidence, paths []string) error {
	if len(paths) == 0 {
		var err error
		if paths, err = ledger.Find(v.Lab.LedgerDir()); err != nil {
			return err
		}
		if len(paths) == 0 {
			return ErrNoLedger
		}
	}
	for _, path := range paths {
		r, err := ledger.Open(path)
		if err != nil {
			return err
		}
		s.readers = append(s.readers, r)
		if of := r.Run().Lab; of != v.Lab.Name {
			return fmt.Errorf("%s is a ledger of the lab %q, and this one is %q", path, of, v.Lab.Name)
		}
		writing, err := r.Live()
		if err != nil {
			return err
		}
		s.ledgers = append(s.ledgers, Ledger{Path: path, Run: r.Run().ID, Writing: writing})
	}
	return nil
}

// judge reads the database, then the ledgers: what was sent in between is in the ledgers and not in the rows, which is no violation, where
// the other way round would be. The first error says why the database could not be read.
func (v *Verifier) judge(ctx context.Context, s *evidence, o Options) (got Verdict, unread, err error) {
	begun := time.Now()
	got = Verdict{At: begun, Ledgers: s.ledgers, Queues: make([]Queue, len(s.queues))}
	for i, q := range s.queues {
		got.Queues[i] = Queue{Node: q.Node, Waiting: q.Waiting, Delivered: q.Delivered, Dead: q.Dead}
		if q.Err != nil {
			got.Queues[i].Error = q.Err.Error()
		}
	}
	sources := make([]checker.Source, len(s.readers))
	for i, r := range s.readers {
		sources[i] = r
	}
	unread = v.Datastore.Count(ctx, func(snapshot datastore.Snapshot) error {
		e := checker.Evidence{Tally: snapshot.Tally, Missing: s.missing, Due: s.due}
		var broken error
		e.Rows = func(yield func(checker.Row, error) bool) {
			for row, err := range snapshot.Rows {
				if err != nil {
					broken = err
				}
				if !yield(row, err) {
					return
				}
			}
		}
		got.Report, err = checker.Judge(sources, e, o.Options)
		if broken != nil {
			err = nil
		}
		return broken
	})
	if unread != nil && ctx.Err() == nil {
		none := checker.Evidence{
			Rows:    func(func(checker.Row, error) bool) {},
			Missing: append(s.missing, fmt.Sprintf("the database cannot be read: %v", unread)),
		}
		got.Report, err = checker.Judge(sources, none, o.Options)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("read what was counted: %w", context.Cause(ctx))
	}
	for i, r := range s.readers {
		got.Ledgers[i].TornBytes = r.Torn()
	}
	got.JudgedMS = time.Since(begun).Milliseconds()
	return got, unread, err
}
