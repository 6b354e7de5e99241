package cli_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/lab/cli"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/nodefiles"
	"github.com/swarmlab/swarmlab/lab/host/nodefiles/nodefilestest"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/lifecycle"
)

// patience bounds what scripts wait for.
const patience = 5 * time.Minute

// TestMain lets this binary play the lab command in scripts; the agents and the voting app that it talks to run in the
// test's own process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lab": func() { os.Exit(lab()) }})
}

// setPace keeps the race detector, where this binary has one, from letting each of its some hundred commands sleep for a second at its end,
// and has commands wait for agents as on a slow machine, which this one may be.
func setPace(env *testscript.Env) {
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	env.Setenv(timescale.Variable, "20")
}

func lab() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	check := func(context.Context, *settings.Lab, func(string)) (string, error) {
		if text := os.Getenv("PREFLIGHT"); text != "" {
			return "", errors.New(text)
		}
		return "", nil
	}
	self, err := os.Executable() // a copy of this binary that is called lab
	if err != nil {
		panic(err)
	}
	return cli.Main(ctx, cli.App{
		Self: self, In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Version: "v-test",
		SteadyWithin: time.Second, Hear: 2 * time.Minute,
		Host: lifecycle.System{Check: check},
	}, os.Args[1:])
}

// keys of values that scripts' commands find again.
type (
	labKey struct{}
	appKey struct{}
)

// TestScripts runs the command against a lab of agents that are none, ready and with an app that counts votes.
func TestScripts(t *testing.T) {
	t.Parallel()
	repo, err := settings.FindDir(".")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			fake := fleettest.New(t)
			env.Values[appKey{}] = fleettest.StartApp(t, fake.Lab)
			for _, a := range fake.Agents {
				a.Lines = map[string][]string{"": {"agent one", "agent two"}, "pg": {"pg one", "pg two", "pg three"}}
			}
			env.Values[labKey{}] = fake
			env.Values[booksKey{}] = &books{}
			setPace(env)
			env.Cd = fake.Dir
			env.Setenv("CLONE", fake.Dir)
			env.Setenv("VOTING", strconv.Itoa(fake.VotingPort()))
			env.Setenv("RESULTS", strconv.Itoa(fake.ResultsPort()))
			return provisioned(t.Context(), repo, fake)
		},
		Cmds: commands(),
	})
}

// TestScriptsWithoutLab runs the command in a fresh clone.
func TestScriptsWithoutLab(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/nolab",
		Setup: func(env *testscript.Env) error {
			clone := filepath.Join(env.WorkDir, "clone")
			if err := os.MkdirAll(filepath.Join(clone, "vagrant"), 0o755); err != nil {
				return err
			}
			setPace(env)
			env.Cd = clone
			env.Setenv("CLONE", clone)
			return os.WriteFile(filepath.Join(clone, "vagrant", "topology.yaml"), []byte(fleettest.Topology), 0o600)
		},
		Cmds: commands(),
	})
}

// provisioned gives the clone something to provision with, and lets the agents say that it is on their nodes.
func provisioned(ctx context.Context, repo string, fake *fleettest.Lab) error {
	script := filepath.Join(repo, "vagrant", "provision", "hash.sh")
	if err := nodefilestest.Make(fake.Lab); err != nil {
		return err
	}
	if err := nodefiles.Lay(fake.Lab); err != nil {
		return err
	}
	for _, n := range fake.Topology.Nodes {
		out, err := exec.CommandContext(ctx, "sh", script, fake.NodeDir(n.Name)).Output()
		if err != nil {
			return err
		}
		fake.Agents[n.Name].Update(nil, func(s *agentv1.NodeSnapshot) { s.Agent.ProvisionHash = strings.TrimSpace(string(out)) })
	}
	return nil
}

// commands of the scripts:
//
//	exits STATUS COMMAND…     runs a command that ends with exactly this status
//	await FILE PATTERN        waits until a line of a file matches
//	app refuse STATUS         has the voting app answer votes with this status; 0: take them again
//	node NAME off             switches a node off
//	node NAME on              switches it on again, ready
//	node NAME manualstop NAME stops a container manually
//	node NAME crash NAME      lets a container be down
//	node NAME stage NAME      moves a node to a stage
//	node NAME clock OFFSET    sets its clock this far from the manager's
//	node NAME clock stale|unknown
//	                          has the manager not answer it for 40 s, or never
//	node NAME refuse TEXT     refuses to inject faults, for this reason
//	node NAME calls TEXT      the agent was asked for exactly this, in order, separated by commas
//	stranger                  gives the clone keys of an authority that the agents do not know
//	ledger VERB…              see ledgerCommand
//	journal RUN…              leaves the journals of these runs: passed, failed, running, foreign
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": func(ts *testscript.TestScript, _ bool, args []string) {
			got := 0
			if err := ts.Exec(args[1], args[2:]...); err != nil {
				var exit *exec.ExitError
				if !errors.As(err, &exit) {
					ts.Fatalf("%v: %v", args[1:], err)
				}
				got = exit.ExitCode()
			}
			if strconv.Itoa(got) != args[0] {
				ts.Fatalf("%v ended with status %d, want %s", args[1:], got, args[0])
			}
		},
		"await": func(ts *testscript.TestScript, _ bool, args []string) {
			pattern := regexp.MustCompile(args[1])
			for begun := time.Now(); time.Since(begun) < patience; time.Sleep(20 * time.Millisecond) {
				data, err := os.ReadFile(ts.MkAbs(args[0]))
				if err == nil && pattern.Match(data) {
					return
				}
			}
			ts.Fatalf("no %q in %s: %s", args[1], args[0], ts.ReadFile(args[0]))
		},
		"app": func(ts *testscript.TestScript, _ bool, args []string) {
			app, _ := ts.Value(appKey{}).(*fleettest.App)
			status, err := strconv.Atoi(args[1])
			ts.Check(err)
			app.Refuse(status)
		},
		"node": func(ts *testscript.TestScript, _ bool, args []string) {
			fake, _ := ts.Value(labKey{}).(*fleettest.Lab)
			if args[1] == "on" {
				ts.Check(switchOn(ts, fake, args[0]))
				return
			}
			node(ts, fake.Agents[args[0]], args[1], strings.Join(args[2:], " "))
		},
		"stranger": func(ts *testscript.TestScript, _ bool, _ []string) {
			fake, _ := ts.Value(labKey{}).(*fleettest.Lab)
			ts.Check(os.RemoveAll(fake.Path("pki")))
			ts.Check(pki.Prepare(fake.Lab, time.Now(), func(string) bool { return false }))
		},
		"ledger":  ledgerCommand,
		"journal": journalCommand,
	}
}

// switchOn starts the agent of a node again, as provisioned as it was.
func switchOn(ts *testscript.TestScript, fake *fleettest.Lab, node string) error {
	n, _ := fake.Topology.Node(node)
	agent, err := fleettest.StartAgent(fake.Lab, n)
	if err != nil {
		return err
	}
	ts.Defer(agent.Stop)
	before, err := fake.Agents[node].Snapshot(context.Background(), nil)
	if err != nil {
		return err
	}
	agent.Update(nil, func(s *agentv1.NodeSnapshot) { s.Agent = before.GetNode().GetAgent() })
	fake.Agents[node] = agent
	return nil
}

func setClock(c *agentv1.ClockStatus, how string) error {
	switch how {
	case "stale":
		c.Stale, c.MeasuredAt = true, timestamppb.New(time.Now().Add(-40*time.Second))
	case "unknown":
		c.Offset, c.Bound, c.MeasuredAt = nil, nil, nil
	default:
		offset, err := time.ParseDuration(how)
		if err != nil {
			return err
		}
		c.Offset, c.Off = durationpb.New(offset), offset.Abs() > time.Second
		c.Source = agentv1.ClockSource_CLOCK_SOURCE_CHRONY
	}
	return nil
}

func node(ts *testscript.TestScript, agent *fleettest.Agent, verb, what string) {
	container := func(change func(*agentv1.ContainerStatus)) {
		agent.Update(nil, func(s *agentv1.NodeSnapshot) {
			s.Ready = false
			for _, c := range s.GetContainers() {
				if c.GetName() == what {
					change(c)
				}
			}
		})
	}
	switch verb {
	case "off":
		agent.Stop()
	case "manualstop":
		container(func(c *agentv1.ContainerStatus) { c.State, c.ManuallyStopped = "exited", true })
		agent.Hook(func(h *fleettest.Hooks) { h.OnHeal = func() []string { return []string{what} } })
	case "refuse":
		agent.Hook(func(h *fleettest.Hooks) {
			h.OnInject = func() error { return status.Error(codes.FailedPrecondition, what) }
		})
	case "crash":
		container(func(c *agentv1.ContainerStatus) {
			c.State, c.ExitCode, c.Error = "exited", 137, "killed for want of memory"
		})
	case "stage":
		stage, err := settings.ParseStage(what)
		ts.Check(err)
		agent.Update(nil, func(s *agentv1.NodeSnapshot) { s.DesiredStage = rolev1.Stage(stage) })
	case "clock":
		agent.Update(nil, func(s *agentv1.NodeSnapshot) { ts.Check(setClock(s.GetClock(), what)) })
	case "incidents":
		agent.Update(nil, func(s *agentv1.NodeSnapshot) {
			for _, queue := range strings.Split(what, ",") {
				s.Role.Measures["queue_incidents:"+queue]++
			}
		})
	case "calls":
		if got := strings.Join(agent.Calls(), ","); got != what {
			ts.Fatalf("the agent was asked %q, want %q", got, what)
		}
	default:
		ts.Fatalf("node: unknown verb %s", verb)
	}
}
