// Package interlock is the role of the node that voters reach: HAProxy, which spreads requests over the frontends that discovery knows and
// sends one that fails to the next.
package interlock

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/haproxystats"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/interlock/haproxy"
	"github.com/swarmlab/swarmlab/agents/roles/internal/planutil"
	"github.com/swarmlab/swarmlab/agents/roles/internal/probe"
)

const (
	// configFile is where the image's own command looks. It runs HAProxy as master and workers.
	configFile = "/usr/local/etc/haproxy/haproxy.cfg"
	pageFile   = "/usr/local/etc/haproxy/unavailable.html"
)

// Role implements [role.Role].
type Role struct {
	probe   *probe.Prober
	haproxy string // host:port
	times   haproxy.Times
	files   uint64 // how many may be open at a time; 0 where that is unknown
}

var _ role.Role = (*Role)(nil)

// New makes the role.
func New() *Role {
	return &Role{probe: probe.NewProber(), haproxy: net.JoinHostPort(planutil.Loopback, strconv.Itoa(contract.HTTPPort)), times: haproxy.MachineTimes(), files: openFiles()}
}

// Describe implements [role.Role].
func (*Role) Describe(context.Context) (*role.Description, error) {
	return &role.Description{Name: "interlock", Version: planutil.Version, Summary: "balances voters over the frontends with HAProxy"}, nil
}

// Plan implements [role.Role]. With other instances only the configuration changes, and HAProxy takes that over without dropping a request.
func (r *Role) Plan(_ context.Context, facts *role.Facts) (*role.Plan, error) {
	config, err := r.config(servers(facts.GetInstances())).Render()
	if err != nil {
		return nil, fmt.Errorf("render haproxy.cfg: %w", err)
	}
	const reload = "USR2"
	return &role.Plan{
		Containers: []*rolev1.Container{{
			Name:  contract.InterlockContainer,
			Image: planutil.Stock("haproxy:3.0"),
			Stage: rolev1.Stage_STAGE_APPLICATION,
			Ports: []*rolev1.PublishedPort{planutil.Publish(planutil.Everywhere, contract.HTTPPort, contract.HTTPPort)},
			Mounts: []*rolev1.Mount{
				planutil.File(configFile, &rolev1.RenderedFile{Name: "haproxy.cfg", Content: config, ReloadSignal: reload}),
				planutil.File(pageFile, &rolev1.RenderedFile{Name: "unavailable.html", Content: haproxy.Unavailable(), ReloadSignal: reload}),
			},
			Networks: planutil.On(role.Bridge),
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_UNLESS_STOPPED,
			// Soft stop: requests in flight are finished.
			StopSignal:  "SIGUSR1",
			StopTimeout: durationpb.New(5 * time.Second),
		}},
		Follow: []string{contract.VoteApp},
		Swarm:  rolev1.SwarmMembership_SWARM_MEMBERSHIP_NONE,
	}, nil
}

// Check implements [role.Role]. It comes in at the door that voters use, and reads the statistics.
func (r *Role) Check(ctx context.Context, _ *role.Facts, secretsDir string) (*role.Health, error) {
	ctx, cancel := r.probe.Bound(ctx)
	defer cancel()
	password, err := probe.Secret(secretsDir, contract.StatsPassword)
	if err != nil {
		return nil, err
	}
	page, err := r.probe.Get(ctx, "http://"+r.haproxy+"/haproxy?stats;csv", func(req *http.Request) { req.SetBasicAuth(contract.StatsUser, password) })
	if err != nil {
		return &role.Health{Message: r.withLimit(fmt.Sprintf("no voter gets through: HAProxy: %v", err))}, nil
	}
	servers, err := haproxystats.Parse(string(page), contract.VoteApp)
	if err != nil {
		return &role.Health{Message: fmt.Sprintf("cannot tell who gets through: HAProxy's statistics: %v", err)}, nil
	}
	var up, down []string
	for _, s := range servers {
		if s.Up {
			up = append(up, s.Name)
		} else {
			down = append(down, s.Name)
		}
	}
	health := &role.Health{
		Healthy:  len(up) > 0,
		Measures: map[string]float64{"servers_up": float64(len(up)), "servers_total": float64(len(up) + len(down))},
	}
	switch {
	case len(up)+len(down) == 0:
		health.Message = "no voter gets through: Consul has told of no frontend yet"
	case len(up) == 0:
		health.Message = "no voter gets through: all frontends are down: " + strings.Join(down, ", ")
	case len(down) > 0:
		health.Message = fmt.Sprintf("voters reach %s; down: %s", strings.Join(up, ", "), strings.Join(down, ", "))
	default:
		health.Message = "voters reach " + strings.Join(up, ", ")
	}
	health.Message = r.withLimit(health.Message)
	return health, nil
}

// withLimit adds to a message what the limit of open files takes from HAProxy.
func (r *Role) withLimit(message string) string {
	if few := r.fewConnections(); few != "" {
		return message + "; " + few
	}
	return message
}
