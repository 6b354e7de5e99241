package power

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// fakeTool puts a script beside the vagrant of a lab.
func fakeTool(t *testing.T, lab *settings.Lab, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(lab.Dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
}

// fakeMachine lets Vagrant know a machine of node store.
func fakeMachine(t *testing.T, lab *settings.Lab, provider, id string) {
	t.Helper()
	lab.Provider = provider
	dir := filepath.Join(lab.Dir, ".vagrant", "machines", "store", provider)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "id"), []byte(id), 0o600); err != nil {
		t.Fatal(err)
	}
}

// logged returns what the lab's fake programs were called with.
func logged(t *testing.T, lab *settings.Lab) []string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(lab.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(log)), "\n")
}

const logCall = `echo "$(basename "$0") $*" >> "$(dirname "$0")/log"` + "\n"

// TestSwitch: each provider's machine is switched by the provider's own means.
func TestSwitch(t *testing.T) {
	for provider, want := range map[string][]string{
		"docker": {
			"docker exec machine1 sh -c " + strings.Split(thawScript, "\n")[0], strings.Split(thawScript, "\n")[1],
			"docker kill --signal KILL machine1", "docker start machine1", "docker pause machine1", "docker unpause machine1",
		},
		"libvirt": {
			"virsh --quiet --connect qemu:///system destroy machine1",
			"vagrant halt --force store --no-color", "vagrant up --provider=libvirt --no-destroy-on-error --no-provision store --no-color",
			"virsh --quiet --connect qemu:///system suspend machine1", "virsh --quiet --connect qemu:///system resume machine1",
		},
		"virtualbox": {
			"VBoxManage controlvm machine1 poweroff", "vagrant up --provider=virtualbox --no-destroy-on-error --no-provision store --no-color",
			"VBoxManage controlvm machine1 pause", "VBoxManage controlvm machine1 resume",
		},
		"parallels": {
			"vagrant halt --force store --no-color", "vagrant up --provider=parallels --no-destroy-on-error --no-provision store --no-color",
			"vagrant suspend store --no-color", "vagrant resume store --no-color",
		},
	} {
		t.Run(provider, func(t *testing.T) {
			t.Setenv("LIBVIRT_DEFAULT_URI", "")
			lab := fakeVagrant(t, logCall)
			fakeMachine(t, lab, provider, "machine1")
			for _, name := range []string{"virsh", "VBoxManage"} {
				fakeTool(t, lab, name, logCall)
			}
			fakeDocker(t, lab, "running")
			s := NewSwitch(lab, &bytes.Buffer{})
			for _, do := range []func(context.Context, string) error{s.Off, s.On, s.Freeze, s.Thaw} {
				if err := do(t.Context(), "store"); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(want, logged(t, lab)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// fakeDocker knows one container: the node store of this clone.
func fakeDocker(t *testing.T, lab *settings.Lab, state string) {
	t.Helper()
	fakeTool(t, lab, "docker", `case "$1 $2" in
"ps --all") echo machine1 ;;
"info --format") cat "$(dirname "$0")/cgroups" 2>/dev/null || echo 1 ;;
"container inspect") echo '[{"Id":"machine1","Name":"/blue-store","State":{"Status":"`+state+`"},"Config":{"Labels":{"swarmlab.lab":"blue","swarmlab.folder":"`+
		lab.Dir+`","swarmlab.node":"store"}}}]' ;;
*) `+logCall+` ;;
esac`)
}

// TestNothingIsFrozen: where SIGKILL reaches also what is frozen, nothing is done about that.
func TestNothingIsFrozen(t *testing.T) {
	lab := fakeVagrant(t, "")
	if err := os.WriteFile(filepath.Join(lab.Dir, "cgroups"), []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fakeDocker(t, lab, "running")
	if err := NewSwitch(lab, &bytes.Buffer{}).Off(t.Context(), "store"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"docker kill --signal KILL machine1"}, logged(t, lab)); diff != "" {
		t.Error(diff)
	}
}

func TestSwitchState(t *testing.T) {
	for name, tt := range map[string]struct {
		provider, says string
		want           State
		wrong          string
	}{
		"container":       {"docker", "running", StateRunning, ""},
		"dead container":  {"docker", "exited", StateOff, ""},
		"pausedcontainer": {"docker", "paused", StatePaused, ""},
		"domain":          {"libvirt", "running", StateRunning, ""},
		"destroyed":       {"libvirt", "shut off", StateOff, ""},
		"suspended":       {"libvirt", "paused", StatePaused, ""},
		"of another kind": {"libvirt", "dancing", StateUnknown, `virsh domstate says "dancing"`},
		"box":             {"virtualbox", "name=\"x\"\nVMState=\"running\"\n", StateRunning, ""},
		"box, off":        {"virtualbox", "VMState=\"aborted\"", StateOff, ""},
		"box, paused":     {"virtualbox", "VMState=\"paused\"", StatePaused, ""},
		"box, mute":       {"virtualbox", "name=\"x\"", StateUnknown, "tells no state"},
		"box, snapshot":   {"virtualbox", "VMState=\"livesnapshotting\"", StateUnknown, "livesnapshotting"},
		"container, gone": {"docker", "vanishing", StateUnknown, ""},
		"vagrant, lost":   {"vmware_desktop", "1,store,state,inaccessible", StateUnknown, "could not tell whether store runs"},
		"vagrant, silent": {"vmware_desktop", "1,manager,state,running", StateUnknown, "could not tell whether store runs"},
		"vagrant":         {"vmware_desktop", "1,store,state,not_running", StateOff, ""},
	} {
		t.Run(name, func(t *testing.T) {
			lab := fakeVagrant(t, "cat <<'END'\n"+tt.says+"\nEND\n")
			fakeMachine(t, lab, tt.provider, "machine1")
			for _, tool := range []string{"virsh", "VBoxManage"} {
				fakeTool(t, lab, tool, "cat <<'END'\n"+tt.says+"\nEND\n")
			}
			fakeDocker(t, lab, tt.says)
			got, err := NewSwitch(lab, &bytes.Buffer{}).State(t.Context(), "store")
			if got != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestSwitchOfNothing(t *testing.T) {
	for _, provider := range []string{"docker", "libvirt", "virtualbox"} {
		lab := fakeVagrant(t, "")
		lab.Provider = provider
		fakeDocker(t, lab, "running")
		s := NewSwitch(lab, &bytes.Buffer{})
		if state, err := s.State(t.Context(), "worker01"); state != StateAbsent || err != nil {
			t.Errorf("%s: %v, %v", provider, state, err)
		}
		if err := s.Off(t.Context(), "worker01"); err == nil || !strings.Contains(err.Error(), "node worker01 has no ") {
			t.Errorf("%s: %v", provider, err)
		}
	}
}

func TestSwitchWithoutTool(t *testing.T) {
	lab := fakeVagrant(t, "")
	fakeMachine(t, lab, "libvirt", "machine1")
	t.Setenv("PATH", lab.Dir)
	if _, err := NewSwitch(lab, &bytes.Buffer{}).State(t.Context(), "store"); err == nil || !strings.Contains(err.Error(), "virsh is not installed") {
		t.Errorf("got %v", err)
	}
}
