package docker

import (
	"os"
	"path/filepath"
	"testing"

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
