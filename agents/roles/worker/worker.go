// Package worker is the role of a node that moves votes from the frontends' queues to the store.
package worker

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/internal/planutil"
	"github.com/swarmlab/swarmlab/agents/roles/internal/probe"
)

// port is where the vote-worker serves /healthz and /metrics.
const port = 9100

// Role implements [role.Role].
type Role struct {
	probe   *probe.Prober
	address string
}

var _ role.Role = (*Role)(nil)

// New makes the role.
func New() *Role {
	return &Role{probe: probe.NewProber(), address: net.JoinHostPort(planutil.Loopback, strconv.Itoa(port))}
}

// Describe implements [role.Role].
func (*Role) Describe(context.Context) (*role.Description, error) {
	return &role.Description{Name: "worker", Version: planutil.Version, Summary: "moves votes from the frontends' Redis to Postgres"}, nil
}

// Plan implements [role.Role].
func (*Role) Plan(_ context.Context, facts *role.Facts) (*role.Plan, error) {
	number, err := planutil.Number(facts.GetNode())
	if err != nil {
		return nil, err
	}
	env := map[string]string{"WORKER_NUMBER": number}
	// Without frontends the worker looks for queues by itself.
	if frontends := planutil.Count(facts, planutil.FrontendRole); frontends > 0 {
		env["FROM_REDIS_HOST"], env["TO_REDIS_HOST"] = "1", strconv.Itoa(frontends)
	}
	return &role.Plan{
		Containers: []*rolev1.Container{{
			Name:     "worker" + number,
			Image:    planutil.Built(contract.WorkerApp),
			Stage:    rolev1.Stage_STAGE_APPLICATION,
			Env:      env,
			Ports:    []*rolev1.PublishedPort{planutil.Publish(planutil.Loopback, port, port)},
			Mounts:   []*rolev1.Mount{planutil.Secret(contract.RedisPassword), planutil.Secret(contract.PostgresPassword)},
			Networks: planutil.On(contract.Network),
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE,
			Hardened: true,
		}},
		Swarm: rolev1.SwarmMembership_SWARM_MEMBERSHIP_WORKER,
	}, nil
}

// Check implements [role.Role].
func (r *Role) Check(ctx context.Context, _ *role.Facts, _ string) (*role.Health, error) {
	ctx, cancel := r.probe.Bound(ctx)
	defer cancel()
	health := &role.Health{}
	if page, err := r.probe.Get(ctx, "http://"+r.address+"/metrics"); err == nil {
		health.Measures = measures(string(page))
	}
	if err := r.probe.Healthz(ctx, r.address); err != nil {
		health.Message = fmt.Sprintf("no votes are moved: %v", err)
		return health, nil
	}
	health.Healthy = true
	health.Message = "moves votes to the store"
	if n, ok := health.Measures["votes_merged"]; ok {
		health.Message = fmt.Sprintf("moves votes to the store: %.0f since it started", n)
	}
	return health, nil
}

// measures sums the two counters over all queues. They start at zero with the container.
func measures(page string) map[string]float64 {
	names := map[string]string{"votes_counted_total": "votes_merged", "votes_dead_lettered_total": contract.MeasureDeadLettered}
	found := map[string]float64{}
	for line := range strings.Lines(page) {
		// Prometheus' text format: name{labels} value [timestamp]; the labels' values, host names, hold neither braces nor spaces.
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(line, "#") {
			continue
		}
		metric, _, _ := strings.Cut(fields[0], "{")
		name, ok := names[metric]
		if !ok {
			continue
		}
		if value, err := strconv.ParseFloat(fields[1], 64); err == nil && value >= 0 {
			found[name] += value
		}
	}
	return found
}
