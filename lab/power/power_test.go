package power

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/settings"
)

func TestParseStates(t *testing.T) {
	t.Parallel()
	const text = `1763690000,manager,metadata,provider,libvirt
1763690000,manager,provider-name,libvirt
1763690000,manager,state,running
1763690000,manager,state-human-long,"The Libvirt domain is running. To stop this machine%!(VAGRANT_COMMA) you can run ""vagrant halt""."
1763690000,store,state,shutoff
1763690000,worker01,state,not_created
1763690000,frontend01,state,paused
1763690000,frontend02,state,aborted
1763690000,frontend03,state,host_state_unknown
1763690000,frontend04,state,inaccessible
1763690000,,ui,info,Current machine states
`
	got, err := parseStates(text)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]State{
		"manager": StateRunning, "store": StateOff, "worker01": StateAbsent, "frontend01": StatePaused, "frontend02": StateOff,
		"frontend03": StateUnknown, "frontend04": StateUnknown,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// fakeVagrant puts a script of that name first on the path, and returns a lab to run it in.
func fakeVagrant(t *testing.T, script string) *settings.Lab {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vagrant"), []byte("#!/bin/sh\n"+script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return &settings.Lab{Dir: dir, Settings: settings.Settings{Name: "blue", PortBase: 21000, Frontends: 2, Workers: 1, Provider: "docker", Stage: settings.StageImages}}
}

func TestCommands(t *testing.T) {
	lab := fakeVagrant(t, `echo "$PWD $LAB_NAME $LAB_PORT_BASE $PROVIDER held=$LAB_LOCK_HELD: $*" >> log; test "$1" != provision`)
	var out bytes.Buffer
	v := New(lab, &out)
	ctx := t.Context()
	for _, err := range []error{v.Up(ctx), v.Up(ctx, "store"), v.Sync(ctx, "store"), v.Destroy(ctx, "store", "manager")} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := v.Provision(ctx, "store"); err == nil || err.Error() != "vagrant provision: exit status 1" {
		t.Errorf("got %v", err)
	}
	log, err := os.ReadFile(filepath.Join(lab.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	prefix := lab.Dir + " blue 21000 docker held=1: "
	want := prefix + "up --provider=docker --no-destroy-on-error --no-color\n" +
		prefix + "up --provider=docker --no-destroy-on-error store --no-color\n" +
		prefix + "rsync store --no-color\n" +
		prefix + "destroy --force store manager --no-color\n" +
		prefix + "provision store --no-color\n"
	if diff := cmp.Diff(want, string(log)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(out.String(), "$ vagrant provision store\n") {
		t.Errorf("the log does not say what was run:\n%s", &out)
	}
}

// TestInterrupt: vagrant is asked to stop, once, and may put things in order.
func TestInterrupt(t *testing.T) {
	lab := fakeVagrant(t, "trap 'echo orderly; exit 1' INT\necho ready\nwhile :; do sleep 0.05; done\n")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// As lab does: else a process whose parent ignores interrupts ignores them too.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	defer signal.Stop(signals)
	out := &trigger{on: "ready", do: cancel}
	if err := New(lab, out).Up(ctx); err == nil || ctx.Err() != context.Canceled {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out.String(), "orderly") {
		t.Errorf("output:\n%s", out)
	}
}

// trigger is a writer that does something when it sees a word.
type trigger struct {
	seen bytes.Buffer
	on   string
	do   func()
}

func (t *trigger) String() string { return t.seen.String() }

func (t *trigger) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(t.on)) {
		t.do()
	}
	return t.seen.Write(p)
}

func TestMissing(t *testing.T) {
	lab := fakeVagrant(t, "")
	t.Setenv("PATH", t.TempDir())
	if err := New(lab, &bytes.Buffer{}).Up(t.Context()); err == nil || !strings.Contains(err.Error(), "vagrant is not installed") {
		t.Errorf("got %v", err)
	}
}

func TestParseError(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"failed":  {"1795246703,,ui,error,no\n1795246703,,error-exit,Vagrant::Errors::X,Call failed%!(VAGRANT_COMMA) try\\nagain\n", "Call failed, try again"},
		"no word": {"1795246703,store,state,running\n", ""},
		"cut off": {"1795246703,,error-exit", ""},
		"nothing": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseError(tt.text); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
