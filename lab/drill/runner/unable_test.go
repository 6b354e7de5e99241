package runner

import (
	"strings"
	"testing"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

func TestUnable(t *testing.T) {
	t.Parallel()
	view := func(impossible map[string]string) fleet.View {
		return fleet.View{Nodes: []fleet.NodeView{{
			Node: topology.Node{Name: "frontend01"},
			Snapshot: &agentv1.NodeSnapshot{
				Containers: []*agentv1.ContainerStatus{{Name: "redis01"}}, ImpossibleFaults: impossible,
			},
		}}}
	}
	delay := drill.Injection{Fault: "delay", Container: "redis01"}
	lacks := map[string]string{"delay": "no netem"}
	for name, c := range map[string]struct {
		drill    drill.Drill
		provider string
		view     fleet.View
		want     string
	}{
		"it can":                     {drill.Drill{Inject: []drill.Injection{delay}}, settings.ProviderDocker, view(nil), ""},
		"the kernel lacks something": {drill.Drill{Inject: []drill.Injection{delay}}, settings.ProviderDocker, view(lacks), "frontend01 cannot do delay: no netem"},
		"so does a machine's":        {drill.Drill{Inject: []drill.Injection{delay}}, "libvirt", view(lacks), "no netem"},
		"named by its node":          {drill.Drill{Inject: []drill.Injection{{Fault: "delay", Node: "frontend01"}}}, settings.ProviderDocker, view(lacks), "no netem"},
		"another fault":              {drill.Drill{Inject: []drill.Injection{{Fault: "kill", Container: "redis01"}}}, settings.ProviderDocker, view(lacks), ""},
		"no answer":                  {drill.Drill{Inject: []drill.Injection{delay}}, settings.ProviderDocker, fleet.View{}, ""},
		"machines only":              {drill.Drill{Machines: true}, settings.ProviderDocker, view(nil), "virtual machines"},
		"on machines":                {drill.Drill{Machines: true}, "libvirt", view(nil), ""},
	} {
		got := Unable(&c.drill, c.provider, c.view)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
