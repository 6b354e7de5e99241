package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/engine/enginetest"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

const (
	lab     = "testlab"
	mynet   = "mynet"
	cluster = "cluster1"
)

// world is a node with an engine in memory, and everything that Actions needs.
type world struct {
	engine  *enginetest.Engine
	files   reconcile.Files
	stopped map[string]bool // manually, by id
	desired reconcile.Desired
}

func (w *world) Provide(_ context.Context, ref string) error {
	w.engine.AddImage(ref, nil)
	return nil
}

func (w *world) Build(_ context.Context, ref, folder string, _ map[string]string) error {
	w.engine.AddImage(ref, map[string]string{reconcile.LabelContext: "hash of " + folder})
	return nil
}

func (w *world) Join(context.Context) (engine.SwarmJoin, error) {
	return engine.SwarmJoin{Address: "192.0.2.20", Manager: "192.0.2.11:2377", Token: cluster}, nil
}

func (w *world) Own(string) error { return nil }

func (w *world) actions() *reconcile.Actions {
	return &reconcile.Actions{
		Containers: w.engine, Networks: w.engine, Swarm: w.engine, Images: w, Invitation: w, Stopper: w, Files: w.files,
		Init: engine.SwarmInit{Address: "192.0.2.11"}, Labels: map[string]string{reconcile.LabelLab: lab},
	}
}

func (w *world) look(ctx context.Context) reconcile.Observed {
	o := reconcile.NewObserver(w.engine, func() {}).Observe(ctx, w.desired)
	o.Settling = "" // as if time had passed since the last look
	for _, c := range o.Containers {
		if w.stopped[c.ID] && !reconcile.Runs(c) {
			o.Stops[c.ID] = reconcile.StopManual
		}
	}
	for i := range w.desired.Containers {
		c := &w.desired.Containers[i]
		o.Written[c.Spec.Name] = w.files.Written(c)
		o.Loaded[c.Spec.Name] = w.files.Loaded(c.Spec.Name, o.Containers[c.Spec.Name].ID)
	}
	return o
}

// settle applies steps until none is ready, one at a time, and returns what is left.
func (w *world) settle(ctx context.Context, t *rapid.T) []reconcile.Step {
	for range 200 {
		steps := reconcile.Diff(w.desired, w.look(ctx))
		ready := reconcile.Ready(steps)
		if len(ready) == 0 {
			return steps
		}
		// Any order must do.
		step := rapid.SampledFrom(ready).Draw(t, "next")
		if err := w.actions().Apply(ctx, step, 0); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	t.Fatalf("it does not settle; still: %v", reconcile.Diff(w.desired, w.look(ctx)))
	return nil
}

func drawPlan(t *rapid.T, files reconcile.Files) []reconcile.Container {
	var plan []reconcile.Container
	for i := range rapid.IntRange(0, 5).Draw(t, "containers") {
		name := fmt.Sprintf("c%d", i)
		c := reconcile.Container{
			Stage: rolev1.Stage(rapid.IntRange(2, 5).Draw(t, "stage")),
			Spec: engine.Spec{
				Name: name, Image: rapid.SampledFrom([]string{"redis:8.0", "postgres:17"}).Draw(t, "image"),
				Env: map[string]string{"N": rapid.SampledFrom([]string{"1", "2"}).Draw(t, "env")},
				Restart: rapid.SampledFrom([]engine.Restart{
					engine.RestartNo, engine.RestartOnFailure, engine.RestartUnlessStopped,
				}).Draw(t, "restart"),
			},
		}
		if rapid.Bool().Draw(t, "built") {
			c.Build, c.Spec.Image = "app", "app:latest"
			c.Context = "hash of app"
		}
		network := rapid.SampledFrom([]string{"bridge", mynet}).Draw(t, "network")
		c.Spec.Networks = []engine.Attachment{{Network: network}}
		if network == mynet {
			c.Stage = rolev1.Stage_STAGE_APPLICATION
		}
		if rapid.Bool().Draw(t, "volume") {
			c.Spec.Mounts = []engine.Mount{{Volume: name + "-data", Target: "/data"}}
		}
		if rapid.Bool().Draw(t, "file") {
			c.Files = []reconcile.File{{
				Path: filepath.Join(files.Root, name, "conf", "x.cfg"), Content: []byte(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "content")),
				Signal: "USR2",
			}}
		}
		for _, earlier := range plan {
			if earlier.Stage <= c.Stage && rapid.IntRange(0, 3).Draw(t, "needs") == 0 {
				c.Needs = append(c.Needs, earlier.Spec.Name)
			}
		}
		c.Spec.Labels = map[string]string{reconcile.LabelLab: lab, reconcile.LabelSpec: c.Hash()}
		plan = append(plan, c)
	}
	return plan
}

// mess puts containers of all makings and in all states onto the engine.
func (w *world) mess(ctx context.Context, t *rapid.T) (different map[string]string) {
	different = map[string]string{}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, image := range []string{"redis:8.0", "postgres:17", "app:latest", "redis:7.0"} {
		if rapid.Bool().Draw(t, "have "+image) {
			w.engine.AddImage(image, nil)
		}
	}
	switch rapid.IntRange(0, 3).Draw(t, "swarm") {
	case 0:
		w.engine.SetSwarm(engine.Swarm{State: engine.SwarmActive, NodeID: "n1", ClusterID: cluster, Manager: w.desired.Membership == reconcile.MembershipManager})
	case 1:
		w.engine.SetSwarm(engine.Swarm{State: engine.SwarmActive, NodeID: "n2", ClusterID: "other"})
	}
	for _, c := range w.desired.Containers {
		making := rapid.IntRange(0, 4).Draw(t, c.Spec.Name)
		spec := c.Spec
		switch making {
		case 0:
			continue
		case 1: // manually, and right
			spec.Labels = nil
		case 2: // manually, and wrong
			spec.Labels, spec.Image = nil, "redis:7.0"
		case 3: // by the agent, from another plan
			spec.Labels = map[string]string{reconcile.LabelLab: lab, reconcile.LabelSpec: "old"}
		}
		w.engine.AddImage(spec.Image, nil)
		id, err := w.engine.Create(ctx, spec)
		must(err)
		if making == 2 {
			different[c.Spec.Name] = id
		}
		if err := w.engine.Start(ctx, id); err != nil {
			continue // on an overlay that is not there
		}
		switch rapid.IntRange(0, 3).Draw(t, "end") {
		case 0:
			must(w.engine.Crash(id, rapid.IntRange(0, 1).Draw(t, "code")))
		case 1:
			must(w.engine.Kill(id))
			w.stopped[id] = true
		case 2:
			must(w.engine.Detach(id, spec.Networks[0].Network))
		}
	}
	return different
}

// TestSettles: whatever a node looks like, doing the steps in any order comes to an end, after which nothing can be done
// and all is as desired, except for what a hand has claimed.
func TestSettles(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		w := &world{engine: enginetest.New(), files: reconcile.Files{Root: filepath.Join(t.TempDir(), "rendered")}, stopped: map[string]bool{}}
		w.desired = reconcile.Desired{
			Lab: lab, Planned: true, Networks: []string{mynet}, Stage: rolev1.Stage(rapid.IntRange(1, 5).Draw(rt, "desired stage")),
			Membership: rapid.SampledFrom([]reconcile.Membership{reconcile.MembershipWorker, reconcile.MembershipManager}).Draw(rt, "membership"),
			Containers: drawPlan(rt, w.files),
		}
		if w.desired.Membership == reconcile.MembershipWorker {
			w.desired.Cluster = reconcile.Cluster{Known: true, ID: cluster, NetworkIDs: map[string]string{mynet: mynet + "-id"}}
		}
		different := w.mess(ctx, rt)
		before := w.look(ctx)
		left := slices.DeleteFunc(w.settle(ctx, rt), func(s reconcile.Step) bool {
			return s.Container == nil && s.Kind == reconcile.StartContainer // it may wait for what lies above the stage
		})
		after := w.look(ctx)
		for name, id := range different {
			if after.Containers[name].ID != id {
				rt.Errorf("%s was started manually and is not what it was", name)
			}
		}
		for id := range w.stopped {
			for _, c := range after.Containers {
				if c.ID == id && c.State == engine.StateRunning {
					rt.Errorf("%s was stopped manually and runs", c.Spec.Name)
				}
			}
		}
		for _, c := range w.desired.Containers {
			name := c.Spec.Name
			if _, there := after.Containers[name]; c.Stage > w.desired.Stage && !there {
				if _, was := before.Containers[name]; was {
					rt.Errorf("%s lies above the stage and was removed", name)
				}
			}
		}
		if len(different) == 0 && len(w.stopped) == 0 {
			// One from above the stage may wait for ever, for a network that is not made at this one.
			left = slices.DeleteFunc(left, func(s reconcile.Step) bool {
				return s.Waits != "" && slices.ContainsFunc(w.desired.Containers, func(c reconcile.Container) bool {
					return c.Spec.Name == s.Subject && c.Stage > w.desired.Stage
				})
			})
			if len(left) > 0 {
				rt.Errorf("nobody interfered, and yet this is left: %v %+v", left, left[0].Waits)
			}
			if reached := reconcile.Reached(w.desired, after); reached < w.desired.Stage {
				rt.Errorf("reached %v of %v", reached, w.desired.Stage)
			}
		}
		if n := w.engine.Calls("RemoveVolume"); n > 0 {
			rt.Errorf("%d volumes were removed", n)
		}
	})
}

// brokenNetworks refuses to make endpoints for containers that run.
type brokenNetworks struct {
	*enginetest.Engine
	err error
}

func (b *brokenNetworks) Connect(context.Context, string, engine.Attachment) error { return b.err }

func TestAttachEndsByMakingAnew(t *testing.T) {
	e := enginetest.New()
	w := &world{engine: e, files: reconcile.Files{Root: t.TempDir()}}
	spec := engine.Spec{Name: "a", Image: "x", Networks: []engine.Attachment{{Network: "bridge"}}}
	id := start(t, e, spec)
	step := reconcile.Step{
		Kind: reconcile.AttachContainer, Subject: "a", ID: id, Network: "bridge", Container: &reconcile.Container{Spec: spec},
	}
	broken := errors.New("no endpoint to be had")
	actions := w.actions()
	actions.Networks = &brokenNetworks{e, broken}
	for attempt := range 2 {
		// The second time it is off the network already, which is no obstacle.
		if err := actions.Apply(t.Context(), step, attempt); !errors.Is(err, broken) {
			t.Fatalf("attempt %d: %v", attempt, err)
		}
	}
	byHand := step
	byHand.Keep = true
	if err := actions.Apply(t.Context(), byHand, 9); !errors.Is(err, broken) {
		t.Fatalf("one that was started manually: %v", err)
	}
	if err := actions.Apply(t.Context(), step, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Container(t.Context(), id); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
}
