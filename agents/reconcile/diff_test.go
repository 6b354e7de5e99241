package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/engine"
)

const (
	lab     = "testlab"
	network = "mynet"
)

// stamp gives a container the labels of its making.
func stamp(c Container) Container {
	c.Spec.Labels = map[string]string{LabelLab: lab, LabelSpec: c.Hash()}
	return c
}

func redis() Container {
	return stamp(Container{
		Stage: rolev1.Stage_STAGE_APPLICATION,
		Spec: engine.Spec{
			Name: "redis01", Image: "redis:8.0", Restart: engine.RestartOnFailure,
			Networks: []engine.Attachment{{Network: network, Aliases: []string{"redis01"}}},
			Mounts:   []engine.Mount{{Volume: "redis01-data", Target: "/data"}},
		},
	})
}

func web() Container {
	return stamp(Container{
		Stage: rolev1.Stage_STAGE_APPLICATION, Build: "web-vote-app", Context: "c1", Needs: []string{"redis01"},
		Spec: engine.Spec{
			Name: "frontend01", Image: "web-vote-app:latest", Restart: engine.RestartOnFailure, Hardened: true,
			Networks: []engine.Attachment{{Network: network}},
			Ports:    []engine.Port{{HostAddress: "0.0.0.0", HostPort: 5000, ContainerPort: 80}},
			Env:      map[string]string{"WEB_VOTE_NUMBER": "01"},
		},
	})
}

func balancer(content string) Container {
	return stamp(Container{
		Stage: rolev1.Stage_STAGE_APPLICATION,
		Spec: engine.Spec{
			Name: "interlock", Image: "haproxy:3.0", Restart: engine.RestartUnlessStopped,
			Networks: []engine.Attachment{{Network: "bridge"}},
		},
		Files: []File{{Path: "/rendered/interlock/haproxy.cfg", Content: []byte(content), Signal: "USR2"}},
	})
}

// worker is a worker that wants containers and knows its swarm.
func worker(containers ...Container) Desired {
	return Desired{
		Lab: lab, Stage: rolev1.Stage_STAGE_APPLICATION, Planned: true, Membership: MembershipWorker,
		Cluster:  Cluster{Known: true, ID: "cluster1", NetworkIDs: map[string]string{network: "net1"}},
		Networks: []string{network}, Containers: containers,
	}
}

// joined is a node in that swarm which has the images and nothing else.
func joined(containers ...engine.Container) Observed {
	o := Observed{
		EngineVersion: "26", Swarm: engine.Swarm{State: engine.SwarmActive, NodeID: "me", ClusterID: "cluster1"},
		Networks: map[string]engine.Network{"bridge": {ID: "bridge", Name: "bridge"}},
		Images: map[string]engine.Image{
			"redis:8.0":           {ID: "i1"},
			"haproxy:3.0":         {ID: "i2"},
			"web-vote-app:latest": {ID: "i3", Labels: map[string]string{LabelContext: "c1"}},
		},
		Containers: map[string]engine.Container{}, Busy: map[string]bool{}, Written: map[string]string{},
		Loaded: map[string]string{}, Stops: map[string]Stop{}, Stale: map[string]string{},
	}
	for _, c := range containers {
		o.Containers[c.Spec.Name] = c
	}
	return o
}

// made is a container as the agent made it, in a state.
func made(c Container, state engine.State) engine.Container {
	have := engine.Container{ID: "id-" + c.Spec.Name, State: state, Spec: c.Spec, Endpoints: map[string]engine.Endpoint{}}
	for _, n := range c.Spec.Networks {
		endpoint := engine.Endpoint{}
		if state == engine.StateRunning {
			endpoint = engine.Endpoint{NetworkID: "net1", Address: "10.33.1.2"}
		}
		have.Endpoints[n.Network] = endpoint
	}
	return have
}

// texts shows steps as "start redis01" or "start redis01 (waits: …)".
func texts(steps []Step) []string {
	var out []string
	for _, s := range steps {
		text := s.String()
		if s.Waits != "" {
			text += " (waits: " + s.Waits + ")"
		}
		out = append(out, text)
	}
	return out
}

func TestDiff(t *testing.T) {
	byHand := made(redis(), engine.StateRunning)
	byHand.Spec.Labels = map[string]string{"mine": "yes"}
	wrong := byHand
	wrong.Spec.Image = "redis:7.0"
	old := made(redis(), engine.StateRunning)
	old.Spec.Labels = map[string]string{LabelLab: lab, LabelSpec: "old"}
	oldStopped := old
	oldStopped.State = engine.StateExited
	detached := made(redis(), engine.StateRunning)
	detached.Endpoints = map[string]engine.Endpoint{network: {}}
	lost := made(redis(), engine.StateRunning)
	lost.Endpoints = nil
	lostByHand := lost
	lostByHand.Spec.Labels = nil
	lostByHand.Spec.Networks = []engine.Attachment{{Network: network}}
	former := made(redis(), engine.StateRunning)
	former.Endpoints = map[string]engine.Endpoint{network: {NetworkID: "net0", Address: "10.33.1.9"}}
	foreign := engine.Container{ID: "f", State: engine.StateExited, Spec: engine.Spec{Name: "mine", Restart: engine.RestartAlways}}
	foreignOnFailure := foreign
	foreignOnFailure.Spec.Restart = engine.RestartOnFailure

	tests := []struct {
		name    string
		desired func(d *Desired)
		observe func(o *Observed)
		plan    []Container
		have    []engine.Container
		want    []string
	}{
		{
			name: "nothing to do", plan: []Container{redis(), web()},
			have: []engine.Container{made(redis(), engine.StateRunning), made(web(), engine.StateRunning)},
		},
		{
			name: "engine away", plan: []Container{redis()}, observe: func(o *Observed) { o.EngineError = "it is down" },
			want: []string{"reach the engine (waits: it is down)"},
		},
		{
			name: "held", plan: []Container{redis()}, desired: func(d *Desired) { d.Hold = "retired" },
			want: []string{"hold everything (waits: retired)"},
		},
		{
			name: "missing", plan: []Container{redis()}, want: []string{"create redis01"},
		},
		{
			name: "created", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateCreated)},
			want: []string{"start redis01"},
		},
		{
			name: "crashed for good, exit code 0 too", plan: []Container{redis()},
			have: []engine.Container{made(redis(), engine.StateExited)}, want: []string{"start redis01"},
		},
		{
			name: "stopped manually", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateExited)},
			observe: func(o *Observed) { o.Stops["id-redis01"] = StopManual },
		},
		{
			name: "stopped manually, and outdated", plan: []Container{redis()}, have: []engine.Container{oldStopped},
			observe: func(o *Observed) { o.Stops["id-redis01"] = StopManual },
		},
		{
			name: "stopped by nobody knows whom", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateExited)},
			observe: func(o *Observed) { o.Stops["id-redis01"] = StopOpen },
			want:    []string{"start redis01 (waits: the engine has not said yet who stopped it)"},
		},
		{
			name: "Docker mends it", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateRestarting)},
			want: []string{"mind redis01 (waits: Docker restarts it after exit code 0)"},
		},
		{
			name: "paused", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StatePaused)},
			want: []string{"mind redis01 (waits: it is paused; `lab heal` lets it go on)"},
		},
		{
			name: "needs wait", plan: []Container{redis(), web()},
			have: []engine.Container{made(redis(), engine.StateCreated), made(web(), engine.StateCreated)},
			want: []string{"start redis01", "start frontend01 (waits: it needs redis01, which does not run yet)"},
		},
		{
			name: "needs one stopped manually", plan: []Container{redis(), web()},
			have:    []engine.Container{made(redis(), engine.StateExited), made(web(), engine.StateCreated)},
			observe: func(o *Observed) { o.Stops["id-redis01"] = StopManual },
			want:    []string{"start frontend01 (waits: it needs redis01, which was stopped manually)"},
		},
		{
			name: "a need that stops takes nothing with it", plan: []Container{redis(), web()},
			have: []engine.Container{made(redis(), engine.StateRestarting), made(web(), engine.StateRunning)},
			want: []string{"mind redis01 (waits: Docker restarts it after exit code 0)"},
		},
		{
			name: "outdated", plan: []Container{redis()}, have: []engine.Container{old}, want: []string{"replace redis01"},
		},
		{
			name: "outdated, its image not there", plan: []Container{redis()}, have: []engine.Container{old},
			observe: func(o *Observed) { delete(o.Images, "redis:8.0") },
			want:    []string{"provide image redis:8.0", "replace redis01 (waits: image redis:8.0 is not there yet)"},
		},
		{
			name: "outdated, the manager away: better old than none", plan: []Container{redis()}, have: []engine.Container{old},
			desired: func(d *Desired) { d.Cluster.Away = "the manager is away" },
			want:    []string{"replace redis01 (waits: the manager is away)"},
		},
		{name: "adopted", plan: []Container{redis()}, have: []engine.Container{byHand}},
		{
			name: "different", plan: []Container{redis()}, have: []engine.Container{wrong},
			want: []string{"mind redis01 (waits: it was started manually and is left alone: its image is redis:7.0, not redis:8.0)"},
		},
		{
			name: "no address", plan: []Container{redis()}, have: []engine.Container{detached}, want: []string{"attach redis01"},
		},
		{name: "off its network", plan: []Container{redis()}, have: []engine.Container{lost}, want: []string{"attach redis01"}},
		{
			name: "off its network, once started manually", plan: []Container{redis()}, have: []engine.Container{lostByHand},
			want: []string{"attach redis01"},
		},
		{
			name: "on the network of a former swarm", plan: []Container{redis()}, have: []engine.Container{former},
			want: []string{"attach redis01"},
		},
		{
			name: "cut off", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateRunning)},
			observe: func(o *Observed) { o.Stale["redis01"] = "it does not reach pg" }, want: []string{"attach redis01"},
		},
		{
			name: "no address, too early", plan: []Container{redis()}, have: []engine.Container{detached},
			observe: func(o *Observed) { o.Settling = "settling" }, want: []string{"attach redis01 (waits: settling)"},
		},
		{
			name: "starts wait until peers know the node", plan: []Container{redis()},
			have:    []engine.Container{made(redis(), engine.StateExited)},
			observe: func(o *Observed) { o.Settling = "settling" }, want: []string{"start redis01 (waits: settling)"},
		},
		{
			name: "busy", plan: []Container{redis()}, have: []engine.Container{{ID: "x", Spec: engine.Spec{Name: "redis01"}}},
			observe: func(o *Observed) { o.Busy["redis01"] = true },
			want:    []string{"mind redis01 (waits: the engine is busy with it)"},
		},
		{
			name: "its folder changed", plan: []Container{redis(), web()},
			have: []engine.Container{made(redis(), engine.StateRunning), made(web(), engine.StateRunning)},
			observe: func(o *Observed) {
				o.Images["web-vote-app:latest"] = engine.Image{ID: "i3", Labels: map[string]string{LabelContext: "c0"}}
			},
			want: []string{"build image web-vote-app:latest"},
		},
		{
			name: "file changed", plan: []Container{balancer("b")}, have: []engine.Container{made(balancer("a"), engine.StateRunning)},
			want: []string{"reload interlock"},
		},
		{
			name: "file written, the process not told", plan: []Container{balancer("b")},
			have: []engine.Container{made(balancer("a"), engine.StateRunning)},
			observe: func(o *Observed) {
				b, a := balancer("b"), balancer("a")
				o.Written["interlock"], o.Loaded["interlock"] = b.FilesHash(), a.FilesHash()
			},
			want: []string{"reload interlock"},
		},
		{
			name: "file loaded", plan: []Container{balancer("b")}, have: []engine.Container{made(balancer("a"), engine.StateRunning)},
			observe: func(o *Observed) {
				b := balancer("b")
				o.Written["interlock"], o.Loaded["interlock"] = b.FilesHash(), b.FilesHash()
			},
		},
		{
			name: "not in the swarm", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateCreated)},
			observe: func(o *Observed) { o.Swarm = engine.Swarm{State: engine.SwarmInactive} },
			want: []string{
				"join the swarm", "use network mynet (waits: this node is not in the swarm yet)",
				"start redis01 (waits: this node is not in the swarm yet)",
			},
		},
		{
			name: "in a foreign swarm", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateRunning)},
			observe: func(o *Observed) { o.Swarm.ClusterID = "cluster0" },
			want:    []string{"leave the swarm", "use network mynet (waits: this node is not in the manager's swarm)"},
		},
		{
			name: "struck from the list", observe: func(o *Observed) {}, desired: func(d *Desired) { d.Cluster.Excluded = "removed" },
			want: []string{"leave the swarm"},
		},
		{
			name: "the manager away, all runs", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateRunning)},
			desired: func(d *Desired) { d.Cluster.Away = "it is away" },
		},
		{
			name: "no network yet", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateCreated)},
			desired: func(d *Desired) { d.Cluster.NetworkIDs = nil },
			want: []string{
				"use network mynet (waits: the manager has not created network mynet yet)",
				"start redis01 (waits: the manager has not created network mynet yet)",
			},
		},
		{
			name: "a namesake of the network", plan: []Container{redis()}, have: []engine.Container{made(redis(), engine.StateCreated)},
			observe: func(o *Observed) { o.Networks[network] = engine.Network{ID: "x", Name: network} },
			want: []string{
				"use network mynet (waits: the network mynet that exists is not an attachable overlay; remove it: docker network rm mynet)",
				"start redis01 (waits: the network mynet of this node is not an attachable overlay)",
			},
		},
		{
			name: "manager founds", desired: func(d *Desired) { d.Membership, d.Cluster = MembershipManager, Cluster{} },
			observe: func(o *Observed) { o.Swarm = engine.Swarm{State: engine.SwarmInactive} },
			want:    []string{"found the swarm", "create network mynet (waits: the swarm is not founded yet)"},
		},
		{
			name: "manager makes the network", desired: func(d *Desired) { d.Membership, d.Cluster = MembershipManager, Cluster{} },
			observe: func(o *Observed) { o.Swarm.Manager = true }, want: []string{"create network mynet"},
		},
		{
			name: "members that came back as others, and one that never came", desired: func(d *Desired) { d.Membership, d.Cluster = MembershipManager, Cluster{} },
			observe: func(o *Observed) {
				o.Swarm.Manager = true
				o.Members = []engine.Member{
					{ID: "1", Hostname: "store", State: engine.MemberDown},
					{ID: "2", Hostname: "store", State: engine.MemberReady},
					{ID: "3", Hostname: "worker01", State: engine.MemberDown},
					{ID: "4", State: "unknown"},
					{ID: "5", State: "unknown", Abandoned: true},
				}
			},
			want: []string{"forget former store", "forget former member 5", "create network mynet"},
		},
		{
			name: "a manager that was made a worker elsewhere", desired: func(d *Desired) { d.Membership, d.Cluster = MembershipManager, Cluster{} },
			want: []string{"leave the swarm", "create network mynet (waits: the swarm is not founded yet)"},
		},
		{
			name: "out of band", plan: []Container{balancer("a")}, desired: func(d *Desired) { d.Membership = MembershipNone },
			observe: func(o *Observed) { o.Swarm = engine.Swarm{State: engine.SwarmInactive} }, want: []string{"create interlock"},
		},
		{
			name: "stage infrastructure", plan: []Container{redis()}, desired: func(d *Desired) { d.Stage = rolev1.Stage_STAGE_INFRASTRUCTURE },
			observe: func(o *Observed) { o.Swarm = engine.Swarm{State: engine.SwarmInactive}; o.Images = nil },
		},
		{
			name: "stage images", plan: []Container{redis()}, desired: func(d *Desired) { d.Stage = rolev1.Stage_STAGE_IMAGES },
			observe: func(o *Observed) { o.Images = nil }, want: []string{"provide image redis:8.0"},
		},
		{
			name: "a lower stage takes nothing down", plan: []Container{redis()}, desired: func(d *Desired) { d.Stage = rolev1.Stage_STAGE_NETWORK },
			have: []engine.Container{made(redis(), engine.StateRunning)},
		},
		{
			name: "foreign, as Docker would have", have: []engine.Container{foreign}, want: []string{"start mine"},
		},
		{name: "foreign, as Docker would not have", have: []engine.Container{foreignOnFailure}},
		{
			name: "foreign, stopped manually", have: []engine.Container{foreign}, observe: func(o *Observed) { o.Stops["f"] = StopManual },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			desired, observed := worker(tt.plan...), joined(tt.have...)
			if tt.desired != nil {
				tt.desired(&desired)
			}
			if tt.observe != nil {
				tt.observe(&observed)
			}
			if diff := cmp.Diff(tt.want, texts(Diff(desired, observed))); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReached(t *testing.T) {
	all := func() (Desired, Observed) {
		return worker(redis(), web()), joined(made(redis(), engine.StateRunning), made(web(), engine.StateRunning))
	}
	tests := []struct {
		name   string
		change func(d *Desired, o *Observed)
		want   rolev1.Stage
	}{
		{"everything", func(*Desired, *Observed) {}, rolev1.Stage_STAGE_APPLICATION},
		{"whatever is desired", func(d *Desired, _ *Observed) { d.Stage = rolev1.Stage_STAGE_CLUSTER }, rolev1.Stage_STAGE_APPLICATION},
		{"engine away", func(_ *Desired, o *Observed) { o.EngineError = "down" }, rolev1.Stage_STAGE_UNSPECIFIED},
		{"no plan", func(d *Desired, _ *Observed) { d.Planned, d.Containers = false, nil }, rolev1.Stage_STAGE_INFRASTRUCTURE},
		{"no swarm", func(_ *Desired, o *Observed) { o.Swarm.State = engine.SwarmInactive }, rolev1.Stage_STAGE_INFRASTRUCTURE},
		{"no network", func(d *Desired, _ *Observed) { d.Cluster.NetworkIDs = nil }, rolev1.Stage_STAGE_CLUSTER},
		{"no image", func(_ *Desired, o *Observed) { delete(o.Images, "redis:8.0") }, rolev1.Stage_STAGE_NETWORK},
		{"an old image", func(_ *Desired, o *Observed) { o.Images["web-vote-app:latest"] = engine.Image{} }, rolev1.Stage_STAGE_NETWORK},
		{"one stopped", func(_ *Desired, o *Observed) { o.Containers["redis01"] = made(redis(), engine.StateExited) }, rolev1.Stage_STAGE_IMAGES},
		{"one cut off", func(_ *Desired, o *Observed) { o.Stale["redis01"] = "cut off" }, rolev1.Stage_STAGE_IMAGES},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, o := all()
			tt.change(&d, &o)
			if got := Reached(d, o); got != tt.want {
				t.Errorf("reached %v, want %v", got, tt.want)
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	want := engine.Spec{
		Name: "pg", Image: "postgres:17", Command: []string{"postgres", "-c", "x"}, Restart: engine.RestartOnFailure, Hardened: true,
		Env:      map[string]string{"POSTGRES_DB": "votes", "OTHER": "1"},
		Ports:    []engine.Port{{HostAddress: "127.0.0.1", HostPort: 5432, ContainerPort: 5432}},
		Networks: []engine.Attachment{{Network: network, Aliases: []string{"store", "pg"}}},
		Mounts: []engine.Mount{
			{Volume: "pg-data", Target: "/data"},
			{Source: "/etc/swarmlab/secrets/postgres-password", Target: "/run/secrets/postgres-password", ReadOnly: true},
			{Source: "/var/lib/swarmlab/clock", Target: "/run/clock", ReadOnly: true, Optional: true},
		},
	}
	tests := []struct {
		name   string
		change func(s *engine.Spec)
		want   []string
	}{
		{"equal", func(*engine.Spec) {}, nil},
		{"image by another spelling", func(s *engine.Spec) { s.Image = engine.Reference("postgres:17") }, nil},
		{"another image", func(s *engine.Spec) { s.Image = "postgres:16" }, []string{"its image is postgres:16, not postgres:17"}},
		{"command", func(s *engine.Spec) { s.Command = []string{"postgres"} }, []string{`its command is "postgres", not "postgres -c x"`}},
		{"more environment", func(s *engine.Spec) { s.Env["EXTRA"] = "1" }, nil},
		{"less environment", func(s *engine.Spec) { delete(s.Env, "OTHER") }, []string{"the environment variable OTHER=1 is missing"}},
		{"a password in the environment is not repeated", func(s *engine.Spec) { s.Env["POSTGRES_DB"] = "hunter2" }, []string{"the environment variable POSTGRES_DB is not votes"}},
		{"port closed", func(s *engine.Spec) { s.Ports = nil }, []string{"port 5432 is not published on 127.0.0.1:5432"}},
		{
			"port open to all", func(s *engine.Spec) {
				s.Ports = []engine.Port{{HostAddress: "0.0.0.0", HostPort: 5432, ContainerPort: 5432}}
			},
			[]string{"port 5432 is not published on 127.0.0.1:5432", "port 5432 is published on 0.0.0.0:5432, which the plan does not have"},
		},
		{"no volume", func(s *engine.Spec) { s.Mounts = s.Mounts[1:] }, []string{"volume pg-data is not mounted at /data"}},
		{"an anonymous volume", func(s *engine.Spec) { s.Mounts[0].Volume = "f00" }, []string{"at /data it has volume f00, not volume pg-data"}},
		{
			"secret writable", func(s *engine.Spec) { s.Mounts[1].ReadOnly = false },
			[]string{"/etc/swarmlab/secrets/postgres-password at /run/secrets/postgres-password is writable"},
		},
		{"without what is optional", func(s *engine.Spec) { s.Mounts = s.Mounts[:2] }, nil},
		{
			"with another thing in its place", func(s *engine.Spec) { s.Mounts[2].Source = "/tmp" },
			[]string{"at /run/clock it has /tmp, not /var/lib/swarmlab/clock"},
		},
		{"no network", func(s *engine.Spec) { s.Networks = nil }, []string{"it is not on network mynet"}},
		{
			"on the bridge too", func(s *engine.Spec) { s.Networks = append(s.Networks, engine.Attachment{Network: "bridge"}) },
			[]string{"it is on network bridge, which the plan does not have"},
		},
		{"no alias; its own name needs none", func(s *engine.Spec) { s.Networks[0].Aliases = nil }, []string{"it has not the name store on network mynet"}},
		{"no policy is fine", func(s *engine.Spec) { s.Restart = engine.RestartNo }, nil},
		{"a policy that blocks the boot", func(s *engine.Spec) { s.Restart = engine.RestartAlways }, []string{"its restart policy is always, not on-failure"}},
		{"writable root", func(s *engine.Spec) { s.Hardened = false }, []string{"its root file system is not read-only"}},
		{"what is nobody's business", func(s *engine.Spec) { s.Hostname, s.User, s.StopSignal = "x", "y", "z" }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have := want
			have.Env = map[string]string{"POSTGRES_DB": "votes", "OTHER": "1", "PATH": "/bin"}
			have.Mounts = slices.Clone(want.Mounts)
			have.Networks = slices.Clone(want.Networks)
			tt.change(&have)
			if diff := cmp.Diff(tt.want, Differences(want, have)); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		plan []Container
		want string
	}{
		{[]Container{redis(), web()}, ""},
		{[]Container{web(), redis()}, "needs redis01, which does not stand before it"},
		{[]Container{redis(), redis()}, "redis01 is twice in the plan"},
		{[]Container{{}}, "no name or no image"},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			d := worker(tt.plan...)
			err := d.Check()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestHash(t *testing.T) {
	base := web()
	changed := map[string]func(c *Container){
		"environment":                func(c *Container) { c.Spec.Env = map[string]string{"WEB_VOTE_NUMBER": "02"} },
		"context":                    func(c *Container) { c.Context = "c2" },
		"a file that has no signal":  func(c *Container) { c.Files = []File{{Path: "/x", Content: []byte("1")}} },
		"the content of such a file": func(c *Container) { c.Files = []File{{Path: "/x", Content: []byte("2")}} },
	}
	seen := map[string]string{base.Hash(): "unchanged"}
	for name, change := range changed {
		c := web()
		change(&c)
		if other, ok := seen[c.Hash()]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[c.Hash()] = name
	}
	same := map[string]func(c *Container){
		"labels":               func(c *Container) { c.Spec.Labels = map[string]string{"a": "b"} },
		"a reloadable file":    func(c *Container) { c.Files = []File{{Path: "/x", Content: []byte("1"), Signal: "HUP"}} },
		"the order it's in":    func(c *Container) { c.Needs = nil },
		"the stage it's in":    func(c *Container) { c.Stage = rolev1.Stage_STAGE_CLUSTER },
		"the folder it's from": func(c *Container) { c.Build = "other" },
	}
	for name, change := range same {
		c := web()
		change(&c)
		if c.Hash() != base.Hash() {
			t.Errorf("%s changes the hash", name)
		}
	}
}
