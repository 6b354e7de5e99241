package doctor_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/doctor"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// open is a clone in which no lab is up, whatever is up in the one that is tested.
func open(t *testing.T, env ...string) doctor.Options {
	t.Helper()
	root := t.TempDir()
	for _, file := range []string{"vagrant/topology.yaml", "go.mod"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lab, err := settings.Open(root, func(name string) string {
		for i := 0; i+1 < len(env); i += 2 {
			if env[i] == name {
				return env[i+1]
			}
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Options{Root: root, Settings: lab.Settings, Topology: *lab.Topology}
}

// TestRun examines this host, whatever it is like: it must end, and say something sane about everything.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, provider := range settings.Providers() {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			o := open(t, settings.EnvProvider, provider)
			start := time.Now()
			findings := doctor.Run(t.Context(), o)
			t.Logf("took %s", time.Since(start))
			sane(t, findings)
			for _, f := range findings {
				t.Logf("%-4s %t %-8s %s   [%s]", f.Status, f.Blocking, f.Check, f.Message, f.Fix)
			}
		})
	}
}

// TestRunCancelled: who is not given any time says so, and blocks nothing for it.
func TestRunCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	findings := doctor.Run(ctx, open(t))
	sane(t, findings)
	if blocking := doctor.Blocking(findings); len(blocking) > 0 {
		t.Errorf("nothing was looked at, yet it blocks: %v", blocking)
	}
}

func sane(t *testing.T, findings []doctor.Finding) {
	t.Helper()
	for _, check := range []string{
		"engine", "memory", "disk", "inotify", "kernel", "name", "subnet", "ports", "vagrant", "provider", "machines", "go", "images", "state",
	} {
		if !slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Check == check }) {
			t.Errorf("no finding on %s", check)
		}
	}
	for _, f := range findings {
		switch f.Status {
		case doctor.OK, doctor.Skip:
			if f.Fix != "" || f.Blocking {
				t.Errorf("nothing is wrong, but there is something to do: %+v", f)
			}
		case doctor.Warn, doctor.Fail:
			if f.Fix == "" {
				t.Errorf("no fix: %+v", f)
			}
		default:
			t.Errorf("status %q: %+v", f.Status, f)
		}
		if f.Check == "" || f.Message == "" || f.Blocking && f.Status != doctor.Fail {
			t.Errorf("not in order: %+v", f)
		}
	}
}

// TestRunHanging: every command hangs, and leaves a child behind that keeps its output open. That it ends at all is what
// is tested: who waited for one of them would wait for the end of the test.
func TestRunHanging(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are shell scripts")
	}
	dir, hung := t.TempDir(), filepath.Join(t.TempDir(), "hung")
	if err := os.WriteFile(hung, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(hung) })
	for _, command := range []string{"docker", "vagrant", "ip", "bash", "go", "lsof", "netstat", "sysctl", "virsh", "VBoxManage", "systemd-detect-virt"} {
		// As long as the test lasts.
		script := "#!/bin/sh\n(while [ -e " + hung + " ]; do /bin/sleep 0.2; done) &\nwhile [ -e " + hung + " ]; do /bin/sleep 0.2; done\n"
		if err := os.WriteFile(filepath.Join(dir, command), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	for provider, check := range map[string]string{"docker": "engine", "libvirt": "provider", "virtualbox": "vagrant"} {
		o := open(t, settings.EnvProvider, provider)
		o.Quick, o.Patient = 200*time.Millisecond, 400*time.Millisecond
		findings := doctor.Run(t.Context(), o)
		sane(t, findings)
		// What is read from files, as whether QEMU is installed, is known; so is an interface of the lab's subnet, which is
		// in the way of machines whosever it is.
		asked := []string{"engine", "name", "vagrant", "images", "machines"}
		if provider == settings.ProviderDocker {
			asked = append(asked, "subnet")
		}
		for _, f := range doctor.Blocking(findings) {
			if slices.Contains(asked, f.Check) {
				t.Errorf("%s: nothing answered, yet it blocks: %+v", provider, f)
			}
		}
		if status := statusOf(findings, check); status == doctor.OK || status == "" {
			t.Errorf("%s: the %s hangs, and that is %q", provider, check, status)
		}
	}
}

// TestRunBare: nothing is installed.
func TestRunBare(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(settings.EnvProvider, "")
	findings := doctor.Run(t.Context(), open(t))
	sane(t, findings)
	for _, check := range []string{"engine", "vagrant", "go"} {
		if status := statusOf(findings, check); status != doctor.Fail {
			t.Errorf("%s is not installed, and that is %q", check, status)
		}
	}
	for _, provider := range settings.Providers()[1:] {
		findings := doctor.Run(t.Context(), open(t, settings.EnvProvider, provider))
		sane(t, findings)
		if blocking := doctor.Blocking(findings); !slices.ContainsFunc(blocking, func(f doctor.Finding) bool { return f.Check == "provider" }) {
			t.Errorf("%s: no hypervisor is installed, and that does not block: %v", provider, blocking)
		}
	}
}

func statusOf(findings []doctor.Finding, check string) doctor.Status {
	for _, f := range findings {
		if f.Check == check {
			return f.Status
		}
	}
	return ""
}
