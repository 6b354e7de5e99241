package verify_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
)

// fakeCensus answers what a test says.
type fakeDatastore struct {
	queues func() []datastore.Queue
	count  func() ([]checker.Row, error)
	// broken is the error after the rows.
	broken error
}

var _ verify.Datastore = (*fakeDatastore)(nil)

func (f *fakeDatastore) Queues(context.Context) []datastore.Queue { return f.queues() }

func (f *fakeDatastore) Count(_ context.Context, judge func(datastore.Snapshot) error) error {
	rows, err := f.count()
	if err != nil {
		return err
	}
	s := datastore.Snapshot{Tally: checker.Tally{A: int64(len(rows))}, Rows: func(yield func(checker.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
		if f.broken != nil {
			yield(checker.Row{}, f.broken)
		}
	}}
	return judge(s)
}

var voter = uuid.New()

// one is a lab with a ledger of one acknowledged vote for a, and the row of it.
func one(t *testing.T) (*settings.Lab, *ledger.Writer, checker.Row) {
	t.Helper()
	lab := &settings.Lab{Dir: t.TempDir(), Settings: settings.Settings{Name: "swarmlab"}}
	run := ledger.Run{ID: ledger.NewRunID(), Started: time.Now(), Lab: lab.Name}
	w, err := ledger.Create(lab.LedgerDir(), run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	err = errors.Join(w.Sent(0, 0, 'a', 1), w.Answered(0, 0, ledger.Outcome{Kind: ledger.Acknowledged, VoterID: voter}, 2))
	if err != nil {
		t.Fatal(err)
	}
	return lab, w, checker.Row{VoterID: voter, VoteID: run.ID.VoteID(0, 0), Choice: 'a'}
}

func drained() []datastore.Queue { return []datastore.Queue{{Node: "frontend01", Settled: time.Now()}} }

func waiting() []datastore.Queue {
	return []datastore.Queue{{Node: "frontend01", Waiting: 7, Delivered: 2, Settled: time.Now().Add(-time.Hour)}}
}

var options = verify.Options{Timeout: time.Minute}

func TestSettledWaitsForTheQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, w, row := one(t)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		looks := 0
		var said []string
		f := &fakeDatastore{
			queues: func() []datastore.Queue {
				if looks++; looks < 4 {
					return waiting()
				}
				return drained()
			},
			count: func() ([]checker.Row, error) { return []checker.Row{row}, nil },
		}
		got, err := (&verify.Verifier{Lab: lab, Datastore: f}).Settled(t.Context(), options, func(missing []string) { said = append(said, missing...) })
		if err != nil || got.Result != checker.Pass || looks != 4 || got.WaitedMS != 750 {
			t.Errorf("%+v after %d looks: %v", got, looks, err)
		}
		if len(said) != 3 || said[0] != "the queue of frontend01 holds votes that are not counted yet: 7" {
			t.Errorf("%q", said)
		}
		if len(got.Ledgers) != 1 || got.Ledgers[0].Writing || got.Queues[0] != (verify.Queue{Node: "frontend01"}) {
			t.Errorf("%+v", got)
		}
	})
}

func TestSettledInTheEnd(t *testing.T) {
	away := errors.New("the node is off")
	for _, tt := range []struct {
		name      string
		writes    bool
		datastore fakeDatastore
		result    checker.Result
		why       string
	}{
		{
			name:      "the queues hold votes",
			datastore: fakeDatastore{queues: waiting, count: func() ([]checker.Row, error) { return nil, nil }},
			result:    checker.Unknown, why: "not counted yet: 7",
		},
		{
			name: "a queue is away",
			datastore: fakeDatastore{
				queues: func() []datastore.Queue { return append(drained(), datastore.Queue{Node: "frontend02", Err: away}) },
				count:  func() ([]checker.Row, error) { return nil, nil },
			},
			result: checker.Unknown, why: "the queue of frontend02 cannot be read: the node is off",
		},
		{
			name:      "the database is away",
			datastore: fakeDatastore{queues: drained, count: func() ([]checker.Row, error) { return nil, away }},
			result:    checker.Unknown, why: "the database cannot be read: the node is off",
		},
		{
			name:      "the database goes away",
			datastore: fakeDatastore{queues: drained, count: func() ([]checker.Row, error) { return nil, nil }, broken: away},
			result:    checker.Unknown, why: "the database cannot be read: the node is off",
		},
		{
			name:      "a load goes on",
			writes:    true,
			datastore: fakeDatastore{queues: waiting, count: func() ([]checker.Row, error) { return nil, nil }},
			result:    checker.Unknown, why: "goes on",
		},
		{
			name: "not drained, but the vote had left the queues and is not counted",
			datastore: fakeDatastore{
				queues: func() []datastore.Queue {
					return []datastore.Queue{{Node: "frontend01", Waiting: 1, Settled: time.Now()}}
				},
				count: func() ([]checker.Row, error) { return nil, nil },
			},
			result: checker.Fail, why: "not counted yet: 1",
		},
		{
			name:      "drained, and the vote is not counted",
			datastore: fakeDatastore{queues: drained, count: func() ([]checker.Row, error) { return nil, nil }},
			result:    checker.Fail,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lab, w, _ := one(t)
				if !tt.writes {
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
				}
				begun := time.Now()
				got, err := (&verify.Verifier{Lab: lab, Datastore: &tt.datastore}).Settled(t.Context(), options, func([]string) {})
				if err != nil || got.Result != tt.result || !strings.Contains(strings.Join(got.Missing, "\n"), tt.why) {
					t.Errorf("%s %q: %v", got.Result, got.Missing, err)
				}
				if waited := time.Since(begun); len(got.Missing) > 0 && (waited < options.Timeout || waited > options.Timeout+time.Second) {
					t.Errorf("waited %v", waited)
				}
				if got.Ledgers[0].Writing != tt.writes {
					t.Errorf("%+v", got.Ledgers)
				}
				if err := w.Close(); err != nil && !errors.Is(err, ledger.ErrClosed) {
					t.Error(err)
				}
			})
		})
	}
}

func TestNow(t *testing.T) {
	lab, w, row := one(t)
	judge := func(queues func() []datastore.Queue, rows ...checker.Row) verify.Verdict {
		f := &fakeDatastore{queues: queues, count: func() ([]checker.Row, error) { return rows, nil }}
		got, err := (&verify.Verifier{Lab: lab, Datastore: f}).Now(t.Context(), verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := judge(waiting); got.Result != checker.Unknown || !got.Ledgers[0].Writing {
		t.Errorf("%+v", got)
	}
	// The writer keeps outcomes back for a moment. Closing gives them away.
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := judge(drained, row); got.Result != checker.Pass || got.Ledgers[0].Writing {
		t.Errorf("%+v", got)
	}
	if got := judge(drained); got.Result != checker.Fail || got.Found[checker.Lost] != 1 {
		t.Errorf("%+v", got)
	}
}

func TestLedgers(t *testing.T) {
	lab, w, row := one(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := &fakeDatastore{queues: drained, count: func() ([]checker.Row, error) { return []checker.Row{row}, nil }}
	v := &verify.Verifier{Lab: lab, Datastore: f}
	ledgers, err := ledger.Find(lab.LedgerDir())
	if err != nil || len(ledgers) != 1 {
		t.Fatal(ledgers, err)
	}
	data, err := os.ReadFile(ledgers[0])
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	settled := func(paths ...string) (verify.Verdict, error) {
		return v.Settled(t.Context(), verify.Options{Ledgers: paths}, func([]string) {})
	}

	torn := write("torn.ledger", append(slices.Clone(data), 1, 2, 3))
	if got, err := settled(torn); err != nil || got.Ledgers[0].TornBytes != 3 || got.Ledgers[0].Path != torn {
		t.Errorf("%+v %v", got, err)
	}
	twice := []string{ledgers[0], torn}
	if _, err := settled(twice...); !errors.Is(err, checker.ErrContradiction) {
		t.Errorf("the same run twice: %v", err)
	}
	damaged := slices.Clone(data)
	damaged[len(damaged)-60]++ // in the first of the two records
	var e *ledger.DamagedError
	if _, err := settled(write("damaged.ledger", damaged)); !errors.As(err, &e) {
		t.Errorf("a damaged one: %v", err)
	}
	if _, err := settled(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	lab.Name = "other"
	if _, err := settled(); err == nil || !strings.Contains(err.Error(), `ledger of the lab "swarmlab"`) {
		t.Errorf("another lab's: %v", err)
	}
	if err := os.Remove(ledgers[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := settled(); !errors.Is(err, verify.ErrNoLedger) {
		t.Errorf("no ledger: %v", err)
	}
	if _, err := v.Now(t.Context(), verify.Options{}); !errors.Is(err, verify.ErrNoLedger) {
		t.Errorf("no ledger: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	lab, w, _ := one(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	f := &fakeDatastore{queues: waiting}
	_, err := (&verify.Verifier{Lab: lab, Datastore: f}).Settled(ctx, options, func([]string) { cancel(enough) })
	if !errors.Is(err, enough) {
		t.Error(err)
	}
}
