// Package frontend is the role of a node that takes votes: the voting page and, beside it, the Redis that keeps the votes until a worker
// fetches them.
package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/internal/planutil"
	"github.com/swarmlab/swarmlab/agents/roles/internal/probe"
)

const usersFile = "redis-users.acl"

// Role implements [role.Role].
type Role struct {
	probe      *probe.Prober
	redis, web string // host:port
}

var _ role.Role = (*Role)(nil)

// New makes the role. It silences the Redis library's own logger: whatever matters comes back as an error.
func New() *Role {
	redis.SetLogger(&logging.VoidLogger{})
	return &Role{
		probe: probe.NewProber(),
		redis: net.JoinHostPort(planutil.Loopback, strconv.Itoa(contract.RedisPort)),
		web:   net.JoinHostPort(planutil.Loopback, strconv.Itoa(contract.VotePort)),
	}
}

// Describe implements [role.Role].
func (*Role) Describe(context.Context) (*role.Description, error) {
	return &role.Description{Name: "frontend", Version: planutil.Version, Summary: "takes votes: the voting page and its Redis queue"}, nil
}

// Plan implements [role.Role].
func (*Role) Plan(_ context.Context, facts *role.Facts) (*role.Plan, error) {
	number, err := planutil.Number(facts.GetNode())
	if err != nil {
		return nil, err
	}
	redisName, webName := "redis"+number, "frontend"+number
	return &role.Plan{
		Containers: []*rolev1.Container{{
			Name:  redisName,
			Image: planutil.Stock("redis:8.0"),
			Stage: rolev1.Stage_STAGE_APPLICATION,
			// A vote is acknowledged once it is on the disk: each write is synced, and nothing is ever evicted.
			Command: []string{
				"redis-server", "--appendonly", "yes", "--appendfsync", "always", "--aclfile", contract.SecretsDir + usersFile,
				"--dir", "/data", "--maxmemory-policy", "noeviction",
			},
			Ports:    []*rolev1.PublishedPort{planutil.Publish(planutil.Loopback, contract.RedisPort, contract.RedisPort)},
			Mounts:   []*rolev1.Mount{planutil.Volume(redisName+"-data", "/data"), planutil.Secret(usersFile)},
			Networks: planutil.On(contract.Network, redisName),
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE,
		}, {
			Name:     webName,
			Image:    planutil.Built(contract.VoteApp),
			Stage:    rolev1.Stage_STAGE_APPLICATION,
			Hostname: "votingapp.local",
			Env:      map[string]string{"WEB_VOTE_NUMBER": number, "OPTION_A": "Cats", "OPTION_B": "Dogs"},
			Ports:    []*rolev1.PublishedPort{planutil.Publish(planutil.Everywhere, contract.VotePort, contract.HTTPPort)},
			Mounts: []*rolev1.Mount{
				planutil.Secret(contract.RedisPassword), planutil.Secret(contract.VoterKey),
				planutil.ClockOffset("/run/clock", fmt.Sprintf("http://%s:%d/clock", planutil.Loopback, contract.VotePort)),
			},
			Networks: planutil.On(contract.Network),
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE,
			Hardened: true,
			Needs:    []string{redisName},
		}},
		Services: []*rolev1.Service{{Name: contract.VoteApp, Container: webName, Port: contract.VotePort, Tags: []string{"http"}}},
		Swarm:    rolev1.SwarmMembership_SWARM_MEMBERSHIP_WORKER,
	}, nil
}

// Check implements [role.Role]. The role does its job if votes can be written: the voting page's own probe says so. Redis is asked for the
// measures, so that they are there as long as Redis is, whatever the page does.
func (r *Role) Check(ctx context.Context, _ *role.Facts, secretsDir string) (*role.Health, error) {
	ctx, cancel := r.probe.Bound(ctx)
	defer cancel()
	password, err := probe.Secret(secretsDir, contract.RedisPassword)
	if err != nil {
		return nil, err
	}
	var (
		q                queue
		redisErr, webErr error
		both             sync.WaitGroup
	)
	both.Go(func() { q, redisErr = r.queue(ctx, password) })
	both.Go(func() { webErr = r.probe.Healthz(ctx, r.web) })
	both.Wait()
	health := &role.Health{}
	if redisErr == nil {
		health.Measures = map[string]float64{
			contract.MeasureCaptured: q.captured, contract.MeasureQueued: q.queued, contract.MeasureDeadLettered: q.dead,
		}
	}
	switch {
	case redisErr != nil:
		health.Message = fmt.Sprintf("no votes are taken: Redis: %v", redisErr)
	case webErr != nil:
		health.Message = fmt.Sprintf("no votes are taken: the voting page: %v", webErr)
	default:
		health.Healthy = true
		health.Message = fmt.Sprintf("takes votes: %s captured, %s waiting", count(q.captured), count(q.queued))
		if q.dead > 0 {
			health.Message += fmt.Sprintf(", %s put aside as unreadable (stream %s)", count(q.dead), contract.DeadStream)
		}
	}
	return health, nil
}

func count(n float64) string { return fmt.Sprintf("%.0f", n) }

// queue is what Redis tells of the votes that passed through it.
type queue struct{ captured, queued, dead float64 }

func (r *Role) queue(ctx context.Context, password string) (queue, error) {
	client := redis.NewClient(&redis.Options{
		Addr: r.redis, Password: password, Protocol: 2, PoolSize: 1, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		DialTimeout: r.probe.Within, ReadTimeout: r.probe.Within, WriteTimeout: r.probe.Within, ContextTimeoutEnabled: true,
	})
	defer func() { _ = client.Close() }()
	var captured, settled *redis.StringCmd
	var length, dead *redis.IntCmd
	// One moment: in a transaction nothing comes between the numbers.
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		captured, settled = p.Get(ctx, contract.CapturedKey), p.Get(ctx, contract.SettledKey)
		length, dead = p.XLen(ctx, contract.VoteStream), p.XLen(ctx, contract.DeadStream)
		return nil
	})
	if errors.Is(err, redis.Nil) { // the first vote makes the counters
		err = errors.Join(length.Err(), dead.Err())
	}
	if err != nil {
		return queue{}, r.wording(err)
	}
	q := queue{captured: number(captured), dead: float64(dead.Val())}
	if n := float64(length.Val()); n > 0 {
		// An entry holds one vote or more; what somebody put there manually is in no counter.
		q.queued = max(q.captured-number(settled), n)
	}
	return q, nil
}

// number is 0 of what is none.
func number(cmd *redis.StringCmd) float64 {
	n, err := cmd.Float64()
	if err != nil {
		return 0
	}
	return n
}

// wording says an error for people.
func (r *Role) wording(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOAUTH"):
		return fmt.Errorf("%s does not take the lab's password: was it started manually with another one?", r.redis)
	case strings.HasPrefix(text, "LOADING"):
		return fmt.Errorf("%s is still reading its data from the disk", r.redis)
	}
	return probe.Unreachable(r.redis, err)
}
