package reconcile_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/engine/enginetest"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

// start makes a container run.
func start(t *testing.T, e *enginetest.Engine, spec engine.Spec) string {
	t.Helper()
	e.AddImage(spec.Image, nil)
	id, err := e.Create(t.Context(), spec)
	if err == nil {
		err = e.Start(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestObserverAsksOnlyForWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a look waits only so long for its answers
		e := enginetest.New()
		a := start(t, e, engine.Spec{Name: "a", Image: "x"})
		start(t, e, engine.Spec{Name: "b", Image: "x"})
		o := reconcile.NewObserver(e, func() {})
		desired := reconcile.Desired{}
		look := func(why string, asks int) reconcile.Observed {
			t.Helper()
			before := e.Calls("Container") + e.Calls("Containers") + e.Calls("Info") + e.Calls("Networks")
			got := o.Observe(t.Context(), desired)
			after := e.Calls("Container") + e.Calls("Containers") + e.Calls("Info") + e.Calls("Networks")
			if after-before != asks {
				t.Errorf("%s: %d questions, want %d", why, after-before, asks)
			}
			return got
		}
		look("first look", 5) // info, networks, list, two containers
		look("nothing happened", 0)
		if err := e.Crash(a, 1); err != nil {
			t.Fatal(err)
		}
		if !o.Notice(engine.Event{Type: "container", Action: "die", ID: a}) {
			t.Error("a death is no news")
		}
		if o.Notice(engine.Event{Type: "container", Action: "exec_start: sh", ID: a}) {
			t.Error("an exec is news")
		}
		got := look("one died", 3) // list, it, and the swarm
		if got.Containers["a"].State != engine.StateExited || got.Containers["b"].State != engine.StateRunning {
			t.Errorf("saw %+v", got.Containers)
		}
		if err := e.Remove(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		o.Notice(engine.Event{Type: "container", Action: "destroy", ID: a})
		if got := look("one is gone", 1); len(got.Containers) != 1 {
			t.Errorf("saw %+v", got.Containers)
		}
		o.Forget()
		look("all anew", 4)
	})
}

func TestObserverImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a look waits only so long for its answers
		e := enginetest.New()
		desired := reconcile.Desired{Containers: []reconcile.Container{{Spec: engine.Spec{Name: "a", Image: "redis:8.0"}}}}
		o := reconcile.NewObserver(e, func() {})
		if got := o.Observe(t.Context(), desired); len(got.Images) != 0 {
			t.Errorf("saw %v", got.Images)
		}
		e.AddImage("redis:8.0", nil)
		o.Notice(engine.Event{Type: "image", Action: "load"})
		if got := o.Observe(t.Context(), desired); len(got.Images) != 1 {
			t.Errorf("saw %v", got.Images)
		}
	})
}

func TestObserverEngineAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a look waits only so long for its answers
		e := enginetest.New()
		start(t, e, engine.Spec{Name: "a", Image: "x"})
		o := reconcile.NewObserver(e, func() {})
		o.Observe(t.Context(), reconcile.Desired{})
		e.Die()
		o.Forget()
		if got := o.Observe(t.Context(), reconcile.Desired{}); got.EngineError == "" {
			t.Error("the engine is down, and nobody noticed")
		}
		e.Boot()
		got := o.Observe(t.Context(), reconcile.Desired{})
		if got.EngineError != "" || got.Containers["a"].State != engine.StateExited {
			t.Errorf("saw %+v", got)
		}
	})
}

// slowEngine leaves questions about one container unanswered until it is released.
type slowEngine struct {
	*enginetest.Engine
	slow    string
	release chan struct{}
}

func (s *slowEngine) Container(ctx context.Context, id string) (engine.Container, error) {
	if id == s.slow {
		select {
		case <-s.release:
		case <-ctx.Done():
			return engine.Container{}, ctx.Err()
		}
	}
	return s.Engine.Container(ctx, id)
}

func TestObserverDoesNotWaitForABusyContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &slowEngine{Engine: enginetest.New(), release: make(chan struct{})}
		e.slow = start(t, e.Engine, engine.Spec{Name: "slow", Image: "x"})
		start(t, e.Engine, engine.Spec{Name: "quick", Image: "x"})
		var late atomic.Int32
		o := reconcile.NewObserver(e, func() { late.Add(1) })
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		got := o.Observe(ctx, reconcile.Desired{})
		if took := time.Since(began); took > time.Second {
			t.Errorf("the look took %v", took)
		}
		if !got.Busy["slow"] || got.Busy["quick"] || got.Containers["quick"].State != engine.StateRunning {
			t.Errorf("saw %+v, busy %v", got.Containers, got.Busy)
		}
		time.Sleep(10 * time.Second)
		close(e.release)
		synctest.Wait()
		if late.Load() != 1 {
			t.Errorf("told %d times of the late answer", late.Load())
		}
		if got := o.Observe(ctx, reconcile.Desired{}); got.Busy["slow"] || got.Containers["slow"].PID == 0 {
			t.Errorf("saw %+v", got.Containers["slow"])
		}
		cancel()
		o.Wait()
	})
}

func TestObserverSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := enginetest.New()
		e.SetSwarm(engine.Swarm{State: engine.SwarmActive, NodeID: "me"})
		o := reconcile.NewObserver(e, func() {})
		settling := func() bool { return o.Observe(t.Context(), reconcile.Desired{}).Settling != "" }
		if !settling() {
			t.Error("a node that has just come into the swarm may not join networks at once")
		}
		time.Sleep(1100 * time.Millisecond)
		if settling() {
			t.Error("its peers know it by now")
		}
		o.Lost()
		if !settling() {
			t.Error("another life of the engine begins anew")
		}
	})
}

func TestFiles(t *testing.T) {
	root := t.TempDir() + "/rendered"
	files := reconcile.Files{Root: root}
	c := reconcile.Container{Spec: engine.Spec{Name: "interlock"}, Files: []reconcile.File{
		{Path: root + "/interlock/etc/haproxy.cfg", Content: []byte("one"), Signal: "USR2"},
	}}
	if got := files.Written(&c); got != "" {
		t.Errorf("nothing was written: %q", got)
	}
	if err := files.Write(&c); err != nil {
		t.Fatal(err)
	}
	if files.Written(&c) != c.FilesHash() {
		t.Error("what lies there is not what was written")
	}
	next := c
	next.Files = []reconcile.File{{Path: c.Files[0].Path, Content: []byte("two"), Signal: "USR2"}}
	if files.Written(&next) == next.FilesHash() {
		t.Error("it was not written yet")
	}
	if err := files.SetLoaded("interlock", "id1", c.FilesHash()); err != nil {
		t.Fatal(err)
	}
	if files.Loaded("interlock", "id1") != c.FilesHash() || files.Loaded("interlock", "id2") != "" {
		t.Error("loaded is per container")
	}
	outside := reconcile.Container{Spec: engine.Spec{Name: "a"}, Files: []reconcile.File{{Path: root + "/b/x", Content: nil}}}
	if err := files.Write(&outside); err == nil {
		t.Error("wrote into the directory of another container")
	}
	if err := errors.Join(files.Remove(), files.Remove()); err != nil {
		t.Fatal(err)
	}
	if files.Written(&c) != "" || files.Loaded("interlock", "id1") != "" {
		t.Error("something is left")
	}
}
