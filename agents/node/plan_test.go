package node

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/reconcile"
)

// fakeSecrets has every secret but "none".
type fakeSecrets struct{}

func (fakeSecrets) Path(name string) (string, error) {
	if name == "none" {
		return "", errors.New("this node has no secret none")
	}
	return "/secrets/" + name, nil
}

func (fakeSecrets) Render(_, text string) ([]byte, error) {
	return []byte(strings.ReplaceAll(text, "SECRET", "hunter2")), nil
}

func testPlanner() planner {
	return planner{
		lab: "testlab", role: "frontend", renderedRoot: "/rendered", clock: "/state/clock", secrets: fakeSecrets{},
		hash: func(folder string) (string, error) {
			if folder == "missing" {
				return "", errors.New("no such folder")
			}
			return "hash of " + folder, nil
		},
	}
}

func webPlan() *rolev1.Container {
	return &rolev1.Container{
		Name: "frontend01", Image: &rolev1.Image{Reference: "web-vote-app:latest", Build: "web-vote-app"},
		Stage: rolev1.Stage_STAGE_APPLICATION, Hostname: "votingapp.local", Env: map[string]string{"A": "b"},
		Ports: []*rolev1.PublishedPort{{HostAddress: "0.0.0.0", HostPort: 5000, ContainerPort: 80}},
		Mounts: []*rolev1.Mount{
			{Source: &rolev1.Mount_Volume{Volume: "data"}, Target: "/data"},
			{Source: &rolev1.Mount_Secret{Secret: "voter-key"}, Target: "/run/secrets/voter-key"},
			{Source: &rolev1.Mount_File{File: &rolev1.RenderedFile{Name: "app.conf", Content: "x SECRET"}}, Target: "/etc/app.conf"},
			{
				Source: &rolev1.Mount_File{File: &rolev1.RenderedFile{Name: "haproxy.cfg", Content: "y", ReloadSignal: "USR2"}},
				Target: "/usr/local/etc/haproxy/haproxy.cfg",
			},
			{
				Source: &rolev1.Mount_File{File: &rolev1.RenderedFile{Name: "e503.http", Content: "z", ReloadSignal: "USR2"}},
				Target: "/usr/local/etc/haproxy/e503.http",
			},
			{Source: &rolev1.Mount_ClockOffset{ClockOffset: &rolev1.ClockOffset{Url: "http://127.0.0.1:5000/clock"}}, Target: "/run/clock"},
		},
		Networks: []*rolev1.NetworkAttachment{{Network: "mynet", Aliases: []string{"web"}}},
		Restart:  rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE, StopTimeout: durationpb.New(3 * time.Second), StopSignal: "SIGINT",
		Hardened: true, Needs: nil, Tmpfs: []string{"/tmp"}, User: "65532", CapAdd: []string{"NET_BIND_SERVICE"},
	}
}

func TestPlanner(t *testing.T) {
	got, err := testPlanner().containers(&rolev1.PlanResponse{Containers: []*rolev1.Container{webPlan()}})
	if err != nil {
		t.Fatal(err)
	}
	const haproxy = "/rendered/frontend01/usr%2Flocal%2Fetc%2Fhaproxy"
	want := reconcile.Container{
		Stage: rolev1.Stage_STAGE_APPLICATION, Build: "web-vote-app", Context: "hash of web-vote-app",
		Spec: engine.Spec{
			Name: "frontend01", Image: "web-vote-app:latest", Hostname: "votingapp.local", Env: map[string]string{"A": "b"},
			Ports: []engine.Port{{HostAddress: "0.0.0.0", HostPort: 5000, ContainerPort: 80}},
			Mounts: []engine.Mount{
				{Volume: "data", Target: "/data"},
				{Source: "/secrets/voter-key", Target: "/run/secrets/voter-key", ReadOnly: true},
				{Source: "/rendered/frontend01/app.conf", Target: "/etc/app.conf", ReadOnly: true},
				{Source: haproxy, Target: "/usr/local/etc/haproxy", ReadOnly: true},
				{Source: "/state/clock", Target: "/run/clock", ReadOnly: true, Optional: true},
			},
			Networks: []engine.Attachment{{Network: "mynet", Aliases: []string{"web"}}},
			Restart:  engine.RestartOnFailure, StopTimeout: 3 * time.Second, StopSignal: "SIGINT", Hardened: true,
			Tmpfs: []string{"/tmp"}, User: "65532", CapAdd: []string{"NET_BIND_SERVICE"},
		},
		Files: []reconcile.File{
			{Path: "/rendered/frontend01/app.conf", Content: []byte("x hunter2")},
			{Path: haproxy + "/haproxy.cfg", Content: []byte("y"), Signal: "USR2"},
			{Path: haproxy + "/e503.http", Content: []byte("z"), Signal: "USR2"},
		},
	}
	labels := map[string]string{reconcile.LabelLab: "testlab", reconcile.LabelRole: "frontend", reconcile.LabelSpec: got[0].Hash()}
	want.Spec.Labels = labels
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, value := range got[0].Spec.Labels {
		if strings.Contains(value, "hunter2") {
			t.Errorf("a secret in the labels: %v", got[0].Spec.Labels)
		}
	}
}

func TestPlannerErrors(t *testing.T) {
	file := func(target, name, signal string) []*rolev1.Mount {
		return []*rolev1.Mount{{
			Source: &rolev1.Mount_File{File: &rolev1.RenderedFile{Name: name, ReloadSignal: signal}}, Target: target,
		}}
	}
	tests := []struct {
		name   string
		change func(c *rolev1.Container)
		want   string
	}{
		{"name", func(c *rolev1.Container) { c.Name = "a/b" }, "no name of a container"},
		{"image", func(c *rolev1.Container) { c.Image = nil }, "no image"},
		{"folder", func(c *rolev1.Container) { c.Image.Build = "missing" }, "no such folder"},
		{"folder elsewhere", func(c *rolev1.Container) { c.Image.Build = "../../etc" }, "no folder below the app directory"},
		{"port", func(c *rolev1.Container) { c.Ports[0].HostPort = 70000 }, "70000 is no port"},
		{"no port", func(c *rolev1.Container) { c.Ports[0].ContainerPort = 0 }, "0 is no port"},
		{"address", func(c *rolev1.Container) { c.Ports[0].HostAddress = "here" }, `"here", which is no address`},
		{"secret", func(c *rolev1.Container) { c.Mounts[1].Source = &rolev1.Mount_Secret{Secret: "none"} }, "no secret none"},
		{"mount of nothing", func(c *rolev1.Container) { c.Mounts[0].Source = nil }, "has no source"},
		{"relative target", func(c *rolev1.Container) { c.Mounts[0].Target = "data" }, "absolute path"},
		{"root as target", func(c *rolev1.Container) { c.Mounts[0].Target = "/" }, "absolute path"},
		{"file name", func(c *rolev1.Container) { c.Mounts = file("/a/b", "../x", "") }, "no name of a rendered file"},
		{"file without a name", func(c *rolev1.Container) { c.Mounts = file("/a/b", "", "") }, "no name of a rendered file"},
		{"hidden file", func(c *rolev1.Container) { c.Mounts = file("/a/b", ".loaded", "") }, "no name of a rendered file"},
		{"directory of the image", func(c *rolev1.Container) { c.Mounts = file("/etc/app.conf", "app.conf", "HUP") }, "give it a directory of its own"},
		{"need", func(c *rolev1.Container) { c.Needs = []string{"redis01"} }, "needs redis01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := webPlan()
			tt.change(c)
			_, err := testPlanner().containers(&rolev1.PlanResponse{Containers: []*rolev1.Container{c}})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "frontend") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestOverlayMTU(t *testing.T) {
	for mtu, want := range map[int]string{1500: "", 9000: "", 1450: "1400", 1280: "1230", 0: "", 40: ""} {
		if got := overlayMTU(mtu); got != want {
			t.Errorf("%d: %q, want %q", mtu, got, want)
		}
	}
}
