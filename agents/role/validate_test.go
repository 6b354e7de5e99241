package role_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/role"
)

// valid is a plan with one of everything.
func valid() *role.Plan {
	return &role.Plan{
		Containers: []*rolev1.Container{{
			Name: "redis01", Image: &rolev1.Image{Reference: "redis:8.0"}, Stage: rolev1.Stage_STAGE_IMAGES,
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE,
			Networks: []*rolev1.NetworkAttachment{{Network: "mynet", Aliases: []string{"redis01"}}},
			Mounts:   []*rolev1.Mount{{Source: &rolev1.Mount_Volume{Volume: "data"}, Target: "/data"}},
		}, {
			Name: "web", Image: &rolev1.Image{Reference: "web:latest", Build: "web"}, Stage: rolev1.Stage_STAGE_APPLICATION,
			Restart: rolev1.RestartPolicy_RESTART_POLICY_UNLESS_STOPPED,
			Env:     map[string]string{"A": "b"}, StopSignal: "SIGRTMIN+3", StopTimeout: durationpb.New(time.Second),
			Ports:    []*rolev1.PublishedPort{{HostAddress: "0.0.0.0", HostPort: 80, ContainerPort: 80}},
			Networks: []*rolev1.NetworkAttachment{{Network: "bridge"}},
			Needs:    []string{"redis01"},
			Tmpfs:    []string{"/tmp"},
			Mounts: []*rolev1.Mount{
				{Source: &rolev1.Mount_Secret{Secret: "pw"}, Target: "/run/secrets/pw"},
				{Source: &rolev1.Mount_File{File: &rolev1.RenderedFile{
					Name: "x.cfg", Content: `a {{secret "pw"}} {{ sha512crypt "pw" }}`, ReloadSignal: "HUP",
				}}, Target: "/etc/x/x.cfg"},
			},
		}},
		Services: []*rolev1.Service{{Name: "web-app", Container: "web", Port: 80}},
		Follow:   []string{"web-app"},
		Swarm:    rolev1.SwarmMembership_SWARM_MEMBERSHIP_WORKER,
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := role.Validate(valid()); err != nil {
		t.Fatalf("a good plan: %v", err)
	}
	if err := role.Validate(nil); err == nil {
		t.Error("no plan at all is taken")
	}
	for name, c := range map[string]struct {
		spoil func(p *role.Plan, first, second *rolev1.Container)
		want  string
	}{
		"no name":        {func(_ *role.Plan, a, _ *rolev1.Container) { a.Name = "" }, `container "": Docker allows no such name`},
		"bad name":       {func(_ *role.Plan, a, _ *rolev1.Container) { a.Name = "a b" }, "Docker allows no such name"},
		"same name":      {func(_ *role.Plan, _, b *rolev1.Container) { b.Name = "redis01" }, "there twice"},
		"no image":       {func(_ *role.Plan, a, _ *rolev1.Container) { a.Image = nil }, "no image"},
		"build outside":  {func(_ *role.Plan, _, b *rolev1.Container) { b.Image.Build = "../x" }, "build folder"},
		"no stage":       {func(_ *role.Plan, a, _ *rolev1.Container) { a.Stage = 0 }, "stage"},
		"early stage":    {func(_ *role.Plan, a, _ *rolev1.Container) { a.Stage = rolev1.Stage_STAGE_INFRASTRUCTURE }, "CLUSTER or a later"},
		"overlay early":  {func(_ *role.Plan, a, _ *rolev1.Container) { a.Stage = rolev1.Stage_STAGE_CLUSTER }, "before networks exist"},
		"overlay always": {func(_ *role.Plan, a, _ *rolev1.Container) { a.Restart = 3 }, "starts it at boot"},
		"overlay alone": {func(p *role.Plan, _, _ *rolev1.Container) {
			p.Swarm = rolev1.SwarmMembership_SWARM_MEMBERSHIP_NONE
		}, "not to join the swarm"},
		"no restart":   {func(_ *role.Plan, a, _ *rolev1.Container) { a.Restart = 0 }, "restart policy is not set"},
		"no swarm":     {func(p *role.Plan, _, _ *rolev1.Container) { p.Swarm = 0 }, "swarm membership"},
		"env name":     {func(_ *role.Plan, _, b *rolev1.Container) { b.Env["A-B"] = "" }, `environment variable "A-B"`},
		"env secret":   {func(_ *role.Plan, _, b *rolev1.Container) { b.Env["PW"] = `{{secret "pw"}}` }, "docker inspect shows"},
		"port zero":    {func(_ *role.Plan, _, b *rolev1.Container) { b.Ports[0].HostPort = 0 }, "1 to 65535"},
		"port big":     {func(_ *role.Plan, _, b *rolev1.Container) { b.Ports[0].ContainerPort = 70000 }, "1 to 65535"},
		"port address": {func(_ *role.Plan, _, b *rolev1.Container) { b.Ports[0].HostAddress = "" }, "0.0.0.0 means all"},
		"port twice":   {func(_ *role.Plan, a, b *rolev1.Container) { a.Ports = b.Ports }, "0.0.0.0:80 is published by"},
		"target":       {func(_ *role.Plan, a, _ *rolev1.Container) { a.Mounts[0].Target = "data" }, "not an absolute path"},
		"target root":  {func(_ *role.Plan, a, _ *rolev1.Container) { a.Mounts[0].Target = "/" }, "not an absolute path"},
		"target twice": {func(_ *role.Plan, _, b *rolev1.Container) { b.Mounts[0].Target = b.Mounts[1].Target }, "mounted on /etc/x/x.cfg already"},
		"no source":    {func(_ *role.Plan, a, _ *rolev1.Container) { a.Mounts[0].Source = nil }, "no volume, secret, file or clock's offset"},
		"volume path":  {func(_ *role.Plan, a, _ *rolev1.Container) { a.Mounts[0].Source = &rolev1.Mount_Volume{Volume: "/etc"} }, `volume "/etc"`},
		"clock that tells no time": {func(_ *role.Plan, a, _ *rolev1.Container) {
			a.Mounts[0].Source = &rolev1.Mount_ClockOffset{ClockOffset: &rolev1.ClockOffset{Url: "file:///etc/passwd"}}
		}, "not where a container could tell its time"},
		"secret path":     {func(_ *role.Plan, a, _ *rolev1.Container) { a.Mounts[0].Source = &rolev1.Mount_Secret{Secret: "../x"} }, `secret "../x"`},
		"file path":       {func(_ *role.Plan, _, b *rolev1.Container) { b.Mounts[1].GetFile().Name = "a/b" }, `file "a/b"`},
		"file template":   {func(_ *role.Plan, _, b *rolev1.Container) { b.Mounts[1].GetFile().Content = "{{env}}" }, "only {{secret"},
		"file open":       {func(_ *role.Plan, _, b *rolev1.Container) { b.Mounts[1].GetFile().Content = "x {{secret" }, "not closed"},
		"file signal":     {func(_ *role.Plan, _, b *rolev1.Container) { b.Mounts[1].GetFile().ReloadSignal = "hup; rm" }, "reload signal"},
		"network twice":   {func(_ *role.Plan, a, _ *rolev1.Container) { a.Networks = append(a.Networks, a.Networks[0]) }, "network mynet is there twice"},
		"bridge alias":    {func(_ *role.Plan, _, b *rolev1.Container) { b.Networks[0].Aliases = []string{"x"} }, "no aliases"},
		"stop signal":     {func(_ *role.Plan, a, _ *rolev1.Container) { a.StopSignal = "9 " }, "stop signal"},
		"stop timeout":    {func(_ *role.Plan, a, _ *rolev1.Container) { a.StopTimeout = durationpb.New(-1) }, "stop timeout"},
		"tmpfs":           {func(_ *role.Plan, _, b *rolev1.Container) { b.Tmpfs = []string{"tmp"} }, `tmpfs "tmp"`},
		"need unknown":    {func(_ *role.Plan, _, b *rolev1.Container) { b.Needs = []string{"pg"} }, `needs "pg", which the plan lacks`},
		"need itself":     {func(_ *role.Plan, _, b *rolev1.Container) { b.Needs = []string{"web"} }, "does not come before it"},
		"need later":      {func(_ *role.Plan, a, b *rolev1.Container) { a.Stage, b.Stage = b.Stage, a.Stage }, "later stage"},
		"service name":    {func(p *role.Plan, _, _ *rolev1.Container) { p.Services[0].Name = "Web App" }, `service "Web App"`},
		"service twice":   {func(p *role.Plan, _, _ *rolev1.Container) { p.Services = append(p.Services, p.Services[0]) }, "there twice"},
		"service of none": {func(p *role.Plan, _, _ *rolev1.Container) { p.Services[0].Container = "x" }, "which the plan lacks"},
		"service port":    {func(p *role.Plan, _, _ *rolev1.Container) { p.Services[0].Port = 0 }, "1 to 65535"},
		"follow":          {func(p *role.Plan, _, _ *rolev1.Container) { p.Follow = []string{""} }, `followed service ""`},
		"follow twice":    {func(p *role.Plan, _, _ *rolev1.Container) { p.Follow = []string{"a", "a"} }, "followed twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := valid()
			c.spoil(p, p.Containers[0], p.Containers[1])
			err := role.Validate(p)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want an error with %q, got: %v", c.want, err)
			}
		})
	}
}
