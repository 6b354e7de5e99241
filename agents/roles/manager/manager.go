// Package manager is the role of the node that leads the swarm and runs Consul, in whose catalogue the nodes find each other's services.
package manager

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/internal/planutil"
	"github.com/swarmlab/swarmlab/agents/roles/internal/probe"
)

// config is Consul's configuration; the agent puts the secrets in.
//
//go:embed consul.hcl
var config string

const configFile = "/consul/config/swarmlab.hcl"

// Role implements [role.Role].
type Role struct {
	probe  *probe.Prober
	consul string // host:port
}

var _ role.Role = (*Role)(nil)

// New makes the role.
func New() *Role {
	return &Role{probe: probe.NewProber(), consul: net.JoinHostPort(planutil.Loopback, strconv.Itoa(contract.ConsulPort))}
}

// Describe implements [role.Role].
func (*Role) Describe(context.Context) (*role.Description, error) {
	return &role.Description{Name: "manager", Version: planutil.Version, Summary: "leads the swarm and runs Consul"}, nil
}

// Plan implements [role.Role].
func (*Role) Plan(context.Context, *role.Facts) (*role.Plan, error) {
	return &role.Plan{
		Containers: []*rolev1.Container{{
			Name:  contract.ConsulContainer,
			Image: planutil.Stock("hashicorp/consul:1.22.0"),
			Stage: rolev1.Stage_STAGE_CLUSTER,
			// The image itself names its folders for data and configuration.
			Command: []string{"agent", "-server", "-bootstrap-expect=1", "-client=0.0.0.0", "-ui=false"},
			Ports:   []*rolev1.PublishedPort{planutil.Publish(planutil.Everywhere, contract.ConsulPort, contract.ConsulPort)},
			Mounts: []*rolev1.Mount{
				planutil.Volume("consul-data", "/consul/data"),
				planutil.File(configFile, &rolev1.RenderedFile{Name: "swarmlab.hcl", Content: config}),
			},
			Networks: planutil.On(role.Bridge),
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_UNLESS_STOPPED,
		}},
		Swarm: rolev1.SwarmMembership_SWARM_MEMBERSHIP_MANAGER,
	}, nil
}

// Check implements [role.Role]. Consul does its job if it has a leader (itself) and knows the token with which the nodes register.
// The swarm is the agent's business.
func (r *Role) Check(ctx context.Context, _ *role.Facts, secretsDir string) (*role.Health, error) {
	ctx, cancel := r.probe.Bound(ctx)
	defer cancel()
	token, err := probe.Secret(secretsDir, contract.NodeToken)
	if err != nil {
		return nil, err
	}
	body, err := r.probe.Get(ctx, "http://"+r.consul+"/v1/status/leader")
	if err != nil {
		return &role.Health{Message: fmt.Sprintf("no service can register: Consul: %v", err)}, nil
	}
	var leader string
	if err := json.Unmarshal(body, &leader); err != nil {
		return &role.Health{Message: fmt.Sprintf("no service can register: %s does not answer as Consul does: %v", r.consul, err)}, nil
	}
	if leader == "" {
		return &role.Health{Message: "no service can register: Consul has not elected a leader yet"}, nil
	}
	_, err = r.probe.Get(ctx, "http://"+r.consul+"/v1/acl/token/self", func(req *http.Request) { req.Header.Set("X-Consul-Token", token) })
	switch {
	case err == nil:
		return &role.Health{Healthy: true, Message: "Consul leads, services can register"}, nil
	case strings.Contains(err.Error(), "ACL not found"):
		return &role.Health{Message: "no service can register: Consul does not know the nodes' token yet"}, nil
	}
	return &role.Health{Message: fmt.Sprintf("no service can register: Consul: %v", err)}, nil
}
