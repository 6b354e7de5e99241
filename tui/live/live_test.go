package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
	"github.com/swarmlab/swarmlab/lab/watch"
)

// fake is a lab that is well, and whose faults are noted.
type fake struct {
	*settings.Lab
	mu sync.Mutex
	// broken are the faults in force.
	broken map[string]bool
	// hang keeps faults from ending for as long as somebody waits for it.
	hang bool
}

func (f *fake) view() fleet.View {
	v := fleet.View{Lab: f.Name}
	for _, n := range f.Topology.Nodes {
		snap := &agentv1.NodeSnapshot{Name: n.Name, Ready: true, DesiredStage: rolev1.Stage(settings.StageApplication), Engine: &agentv1.EngineStatus{Up: true}}
		names := []string{n.Name}
		if n.Role == topology.RoleFrontend {
			names = append(names, fmt.Sprintf("redis%02d", n.Ordinal))
		}
		for _, name := range names {
			snap.Containers = append(snap.Containers, &agentv1.ContainerStatus{Name: name, State: "running", Pid: 7})
		}
		v.Nodes = append(v.Nodes, fleet.NodeView{Node: n, Snapshot: snap})
	}
	return v
}

func (f *fake) Watch(ctx context.Context) <-chan fleet.Update {
	updates := make(chan fleet.Update)
	go func() {
		defer close(updates)
		for view := f.view(); ctx.Err() == nil; {
			for _, n := range view.Nodes {
				select {
				case updates <- fleet.Update{Node: n.Node.Name, View: view}:
				case <-ctx.Done():
				}
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return updates
}

func (f *fake) Servers(context.Context) (map[string]bool, error) {
	return map[string]bool{"frontend01": true, "frontend02": true}, nil
}

func (f *fake) Queues(context.Context) []datastore.Queue {
	return []datastore.Queue{{Node: "frontend01"}, {Node: "frontend02"}}
}

func (f *fake) Statuses(context.Context) (page, results int) { return 200, 200 }

func (f *fake) Inject(_ context.Context, node string, what drill.Injection, _ time.Duration, _ string) (runner.Broken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken[what.Target()] = true
	return runner.Broken{Node: node, ID: what.Target(), What: what.Fault + " " + what.Target()}, nil
}

func (f *fake) Renew(context.Context, runner.Broken, time.Duration) error { return nil }

func (f *fake) End(ctx context.Context, b runner.Broken) error {
	if f.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(time.Second)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.broken, b.ID)
	return nil
}

func (f *fake) Cast(ctx context.Context, plan load.Plan, progress func(load.Progress)) (load.Summary, string, error) {
	var sum load.Summary
	for begun := time.Now(); ; {
		select {
		case <-ctx.Done():
			return sum, "ledger", nil
		case <-time.After(500 * time.Millisecond):
			sum.Acknowledged += int64(plan.Rate / 2)
			progress(load.Progress{Elapsed: time.Since(begun), Rate: plan.Rate, Counts: sum.Counts})
		}
	}
}

func (f *fake) Judge(context.Context, string, func([]string)) (verify.Verdict, error) {
	return verify.Verdict{}, nil
}

const stopDrill = `
id: mine
title: A title
section: Redis failures
story: A story.
inject: [{fault: stop, container: redis01, for: 60s}]
expect: [{see: it is seen, when: 'queued >= 0', within: 2s}]
debrief: A debrief.
fix: A fix.
`

// A drill that is under way when the UI ends is aborted and heals; it has ended when its journal says so.
func TestEndDrill(t *testing.T) {
	nodes, err := topology.Load("../../vagrant/topology.yaml", topology.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := drill.Parse("mine.yaml", []byte(stopDrill))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		// after is when the UI ends.
		after      time.Duration
		hang, left bool
		// journal: there is one.
		journal bool
		reason  string
	}{
		"in the steady state":       {after: 0},
		"while something is broken": {after: 10 * time.Second, journal: true, reason: "the terminal UI was closed"},
		"and nobody waits":          {after: 10 * time.Second, hang: true, left: true, journal: true, reason: "was not waited for"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, ".lab"), 0o700); err != nil {
				t.Fatal(err)
			}
			lab := &settings.Lab{Dir: dir, Settings: settings.Settings{Name: "blue", Provider: settings.ProviderDocker, Stage: settings.StageApplication}, Topology: nodes}
			f := &fake{Lab: lab, broken: map[string]bool{}, hang: tt.hang}
			synctest.Test(t, func(t *testing.T) {
				l := &Backend{Lab: lab, Runner: &runner.Runner{
					Lab: lab, Breaker: f, Voters: f, By: "somebody@here", Source: watch.Source{Nodes: f, Servers: f, Queues: f, Pages: f},
				}}
				go func() { _, _ = l.Drill(context.Background(), d, func(runner.Update) {}) }() // its journal tells
				time.Sleep(tt.after)
				synctest.Wait()
				id, over, abandon := l.EndDrill()
				if id != "mine" || over == nil {
					t.Fatalf("there is no drill to wait for: %q", id)
				}
				select {
				case <-over:
					if tt.left {
						t.Error("it did not wait until it is healed")
					}
				case <-time.After(5 * time.Second):
					if !tt.left {
						t.Error("it does not end")
					}
					abandon()
					<-over
				}
				if len(f.broken) > 0 != tt.hang {
					t.Errorf("is broken: %v", f.broken)
				}
				if _, err := l.Drill(context.Background(), d, func(runner.Update) {}); !errors.Is(err, runner.ErrRefused) {
					t.Errorf("another one begins: %v", err)
				}
				if _, over, _ := l.EndDrill(); over != nil {
					t.Error("there is still one to wait for")
				}
			})
			all, err := journal.IDs(lab.JournalDir())
			if err != nil || len(all) > 0 != tt.journal {
				t.Fatalf("journals: %v, %v", all, err)
			}
			for _, id := range all {
				j, err := journal.Read(lab.JournalDir(), id)
				if err != nil {
					t.Fatal(err)
				}
				if j.Result != journal.Aborted || !strings.Contains(strings.Join(j.Reasons, "; "), tt.reason) {
					t.Errorf("%s %q", j.Result, j.Reasons)
				}
			}
		})
	}
}
