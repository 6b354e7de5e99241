package docker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeDocker puts a script of that name first on the path.
func fakeDocker(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestContainers(t *testing.T) {
	fakeDocker(t, `case "$1 $2" in
"ps --all") test "$6" = "label=swarmlab.lab=blue" && echo one two ;;
"container inspect") test "$*" = "container inspect one two" && echo '[{"Id":"1","Name":"/blue-store","State":{"Status":"running"},
  "Config":{"Labels":{"swarmlab.node":"store"}},"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8081"}],"22/tcp":[{"HostPort":""}]}}}]'
  echo 'Error: No such container: two' >&2; exit 1 ;;
*) exit 9 ;;
esac`)
	got, err := Engine{}.Containers(t.Context(), "blue")
	if err != nil {
		t.Fatal(err)
	}
	want := []Container{{ID: "1", Name: "blue-store", State: "running", Labels: map[string]string{"swarmlab.node": "store"}, HostPorts: []string{"8081"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRemoveWhatIsGone(t *testing.T) {
	fakeDocker(t, `case "$*" in
*one) echo 'Error: No such container: one' >&2; exit 1 ;;
*two) echo 'Error: removal of container two is already in progress' >&2; exit 1 ;;
*three) echo 'Error response from daemon: permission denied' >&2; exit 1 ;;
esac`)
	e := Engine{}
	if err := e.RemoveContainers(t.Context(), []string{"one", "two", "four"}); err != nil {
		t.Error(err)
	}
	err := e.RemoveVolumes(t.Context(), []string{"three"})
	if err == nil || err.Error() != "docker volume rm --force three: Error response from daemon: permission denied" {
		t.Errorf("got %v", err)
	}
}

// TestSilentEngine: an engine that does not answer is not taken for one without anything.
func TestSilentEngine(t *testing.T) {
	hung := filepath.Join(t.TempDir(), "hung")
	if err := os.WriteFile(hung, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(hung) })
	fakeDocker(t, "echo one\nwhile [ -e "+hung+" ]; do sleep 0.1; done\n")
	e := Engine{Quick: 100 * time.Millisecond, Patient: 300 * time.Millisecond}
	for what, ask := range map[string]func() (int, error){
		"containers": func() (int, error) { all, err := e.Containers(t.Context(), ""); return len(all), err },
		"networks":   func() (int, error) { all, err := e.Networks(t.Context()); return len(all), err },
		"volumes":    func() (int, error) { all, err := e.Volumes(t.Context(), "blue"); return len(all), err },
	} {
		n, err := ask()
		if n != 0 || !errors.Is(err, ErrNoAnswer) ||
			!strings.Contains(err.Error(), "could not tell which "+what+" there are: the Docker engine did not answer within 300ms") {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
}

// TestLateEngine: an engine that is late the first time is heard the second time.
func TestLateEngine(t *testing.T) {
	dir := t.TempDir()
	fakeDocker(t, `cd `+dir+`
case "$1" in
volume) if [ ! -e "$2" ]; then touch "$2"; echo 'error during connect: context deadline exceeded' >&2; exit 1; fi ;;
esac
case "$2" in
ls) echo blue-store ;;
inspect) echo '[{"Name":"blue-store"}]' ;;
esac`)
	volumes, err := Engine{}.Volumes(t.Context(), "blue")
	if err != nil || len(volumes) != 1 {
		t.Errorf("%v, %v", volumes, err)
	}
}

// TestNoEngineIsNotGone: where the engine's socket or its command is not there, nothing has been removed.
func TestNoEngineIsNotGone(t *testing.T) {
	fakeDocker(t, `echo 'failed to connect to the docker API at unix:///var/run/docker.sock: dial unix: connect: no such file or directory' >&2; exit 1`)
	for _, path := range []string{os.Getenv("PATH"), t.TempDir()} {
		t.Setenv("PATH", path)
		if err := (Engine{}).RemoveContainers(t.Context(), []string{"one"}); err == nil {
			t.Errorf("with the path %s a container is taken to be gone", path)
		}
	}
}

// The kernel tells of a folder that a container has mounted whether it was deleted, and where it is by now.
func TestSourceDeleted(t *testing.T) {
	t.Parallel()
	const (
		there   = "1511 1500 254:1 /home/me/lab/.lab/nodes/store /opt/swarmlab ro,relatime - ext4 /dev/vda1 rw\n"
		deleted = "1511 1500 254:1 /home/me/lab/.lab/nodes/store//deleted /opt/swarmlab ro,relatime - ext4 /dev/vda1 rw\n"
		other   = "1512 1500 254:1 /x//deleted /var/lib/docker rw - ext4 /dev/vda1 rw\nshort\n"
	)
	for text, want := range map[string]bool{other + there: false, other + deleted: true, other: false, "": false} {
		if got := sourceDeleted(text, "/opt/swarmlab"); got != want {
			t.Errorf("%v of %q", got, text)
		}
	}
}

// TestEnvironment: what stands in a shell does not turn the command on something else.
func TestEnvironment(t *testing.T) {
	fakeDocker(t, `echo "platform=$DOCKER_DEFAULT_PLATFORM script=$BASH_ENV host=$DOCKER_HOST"`)
	t.Setenv("DOCKER_DEFAULT_PLATFORM", "linux/s390x")
	t.Setenv("BASH_ENV", "/nowhere")
	t.Setenv("DOCKER_HOST", "unix:///own.sock")
	out, err := Engine{}.run(t.Context(), "x")
	if err != nil || string(out) != "platform= script= host=unix:///own.sock\n" {
		t.Errorf("%q, %v", out, err)
	}
}
