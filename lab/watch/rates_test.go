package watch_test

import (
	"errors"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/watch"
)

// Rates are what left and came in between two looks; a queue that does not tell counts with neither.
func TestRates(t *testing.T) {
	t.Parallel()
	queues := func(waiting, left int64) []datastore.Queue {
		return []datastore.Queue{{Node: "frontend01", Waiting: waiting, Left: left}, {Node: "frontend02", Err: errors.New("no answer")}}
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	m, r, ok := watch.Meter{}.Next(queues(10, 100), now)
	if !ok || r.Captured != -1 || r.Counted != -1 || r.Queued["frontend01"] != 10 || r.Waiting() != 10 {
		t.Errorf("a first look tells no rate: %+v", r)
	}
	same, _, ok := m.Next(queues(20, 150), now.Add(500*time.Millisecond))
	if ok {
		t.Error("rates within a second")
	}
	m, r, _ = same.Next(queues(30, 200), now.Add(2*time.Second))
	if r.Captured != 60 || r.Counted != 50 || r.Queued["frontend01"] != 30 || len(r.Queued) != 1 {
		t.Errorf("%+v", r)
	}
	m, r, _ = m.Next(queues(0, 0), now.Add(4*time.Second))
	if r.Captured != 0 || r.Counted != 0 {
		t.Errorf("a queue that was made anew counts from nothing: %+v", r)
	}
	m, r, _ = m.Next([]datastore.Queue{{Node: "frontend01", Err: errors.New("gone")}}, now.Add(6*time.Second))
	if r.Captured != -1 || r.Waiting() != -1 {
		t.Errorf("nobody tells: %+v", r)
	}
	if _, r, _ = m.Next(queues(5, 5), now.Add(8*time.Second)); r.Captured != -1 || r.Waiting() != 5 {
		t.Errorf("it tells again, for the first time: %+v", r)
	}
}
