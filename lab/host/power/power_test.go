package power

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/settings"
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

// Vagrant fails on a path whose letters the language of the shell does not have.
func TestLanguage(t *testing.T) {
	lab := fakeVagrant(t, `echo "${LC_ALL:-none}" >>"$(dirname "$0")/language"`)
	folders := []string{filepath.Join(lab.Dir, "plain"), filepath.Join(lab.Dir, "ünï")}
	for _, language := range []string{"C", "C.UTF-8"} {
		t.Setenv("LC_ALL", language)
		for _, folder := range folders {
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			here := *lab
			here.Dir = folder
			if err := New(&here, &bytes.Buffer{}).Up(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := os.ReadFile(filepath.Join(lab.Dir, "language"))
	if want := "C\n" + utf8Locale() + "\nC.UTF-8\nC.UTF-8\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// TestEnvironment: what stands in a shell does not turn vagrant on something else, and proxies are not for the nodes.
func TestEnvironment(t *testing.T) {
	lab := fakeVagrant(t, `env >environ; echo "$PWD" >folder`)
	fakeTool(t, lab, "virsh", `env >"$(dirname "$0")/environ.tool"`+"\n")
	fakeMachine(t, lab, "libvirt", "machine1")
	lab.Subnet = netip.MustParsePrefix("192.168.77.0/24")
	hostile := map[string]string{
		"VAGRANT_CWD": t.TempDir(), "VAGRANT_DOTFILE_PATH": "/nowhere", "VAGRANT_VAGRANTFILE": "Other", "VAGRANT_NO_PLUGINS": "1",
		"DOCKER_DEFAULT_PLATFORM": "linux/s390x", "BASH_ENV": "/nowhere", "RUBYOPT": "-w", "GIT_DIR": "/nowhere", "MAKEFLAGS": "n",
		"GOFLAGS": "-x", "VIRSH_DEFAULT_CONNECT_URI": "test:///default",
	}
	for name, value := range hostile {
		t.Setenv(name, value)
	}
	t.Setenv("HTTPS_PROXY", "http://proxy.example:3128")
	t.Setenv("NO_PROXY", ".example.org")
	t.Setenv("LIBVIRT_DEFAULT_URI", "")
	v := New(lab, &bytes.Buffer{})
	if err := v.Destroy(t.Context(), "store"); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSwitch(lab, &bytes.Buffer{}).State(t.Context(), "store"); err == nil {
		t.Error("virsh said nothing, and a state follows from it")
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(lab.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := strings.TrimSpace(read("folder")); got != lab.Dir {
		t.Errorf("vagrant ran in %s", got)
	}
	given := "\n" + read("environ")
	for name := range hostile {
		if strings.Contains(given, "\n"+name+"=") || strings.Contains("\n"+read("environ.tool"), "\n"+name+"=") {
			t.Errorf("%s was handed on", name)
		}
	}
	for _, want := range []string{
		"HTTPS_PROXY=http://proxy.example:3128", "no_proxy=.example.org,127.0.0.1,::1,localhost,192.168.77.0/24", "LAB_NAME=blue", "LAB_LOCK_HELD=1",
		"VAGRANT_CHECKPOINT_DISABLE=1",
	} {
		if !strings.Contains(given, "\n"+want+"\n") {
			t.Errorf("no %s in%s", want, given)
		}
	}
}

// TestNothingIsDestroyedUnnamed: vagrant takes none for all.
func TestNothingIsDestroyedUnnamed(t *testing.T) {
	lab := fakeVagrant(t, logCall)
	if err := New(lab, &bytes.Buffer{}).Destroy(t.Context()); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(filepath.Join(lab.Dir, "log")); err == nil {
		t.Error("vagrant was called")
	}
}

// upOf is set for a process that takes up the lab of that folder.
const upOf = "POWER_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(upOf); dir != "" {
		_ = New(&settings.Lab{Dir: dir}, io.Discard).Up(context.Background(), "store")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKilled: what was started by a command that is killed keeps the lab locked for as long as it works.
func TestKilled(t *testing.T) {
	lab := fakeVagrant(t, "echo yes >begun\nwhile [ ! -e end ]; do sleep 0.05; done\n")
	t.Cleanup(func() { _ = os.WriteFile(filepath.Join(lab.Dir, "end"), nil, 0o600) })
	command := exec.CommandContext(context.Background(), os.Args[0])
	command.Env = append(os.Environ(), upOf+"="+lab.Dir)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for begun := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > 5*time.Minute {
				t.Fatalf("not so: %s", what)
			}
		}
	}
	await("vagrant runs", func() bool {
		_, err := os.Stat(filepath.Join(lab.Dir, "begun"))
		return err == nil
	})
	_ = command.Process.Kill()
	_ = command.Wait()
	if _, err := lock.Lab(lab, "lab up"); !errors.Is(err, lock.ErrHeld) || !strings.Contains(err.Error(), "`vagrant up --provider= --no-destroy-on-error store`, process ") {
		t.Errorf("while vagrant works: %v", err)
	}
	if err := os.WriteFile(filepath.Join(lab.Dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await("the lab is free", func() bool {
		release, err := lock.Lab(lab, "lab up")
		if err == nil {
			release()
		}
		return err == nil
	})
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
