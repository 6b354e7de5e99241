// Package store is the role of the node that keeps the counted votes: Postgres and, beside it, the results page.
package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/internal/planutil"
	"github.com/swarmlab/swarmlab/agents/roles/internal/probe"
)

// Role implements [role.Role].
type Role struct {
	probe             *probe.Prober
	postgres, results string // host:port
}

var _ role.Role = (*Role)(nil)

// New makes the role.
func New() *Role {
	return &Role{
		probe:    probe.NewProber(),
		postgres: net.JoinHostPort(planutil.Loopback, strconv.Itoa(contract.PostgresPort)),
		results:  net.JoinHostPort(planutil.Loopback, strconv.Itoa(contract.HTTPPort)),
	}
}

// Describe implements [role.Role].
func (*Role) Describe(context.Context) (*role.Description, error) {
	return &role.Description{Name: "store", Version: planutil.Version, Summary: "keeps the counted votes: Postgres and the results page"}, nil
}

// Plan implements [role.Role].
func (*Role) Plan(context.Context, *role.Facts) (*role.Plan, error) {
	return &role.Plan{
		Containers: []*rolev1.Container{{
			Name:  contract.PostgresContainer,
			Image: planutil.Stock("postgres:17"),
			Stage: rolev1.Stage_STAGE_APPLICATION,
			Env:   map[string]string{"POSTGRES_DB": "votes", "POSTGRES_PASSWORD_FILE": contract.SecretsDir + contract.PostgresPassword},
			Ports: []*rolev1.PublishedPort{planutil.Publish(planutil.Loopback, contract.PostgresPort, contract.PostgresPort)},
			Mounts: []*rolev1.Mount{
				planutil.Volume("pg-data", "/var/lib/postgresql/data"), planutil.Secret(contract.PostgresPassword),
			},
			Networks: planutil.On(contract.Network, contract.StoreAlias),
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE,
			// Postgres' fast shutdown; on SIGTERM it would wait for its clients to leave.
			StopSignal: "SIGINT",
		}, {
			Name:     contract.ResultsContainer,
			Image:    planutil.Built(contract.ResultsApp),
			Stage:    rolev1.Stage_STAGE_APPLICATION,
			Env:      map[string]string{"OPTION_A": "Cats", "OPTION_B": "Dogs"},
			Ports:    []*rolev1.PublishedPort{planutil.Publish(planutil.Everywhere, contract.HTTPPort, contract.HTTPPort)},
			Mounts:   []*rolev1.Mount{planutil.Secret(contract.PostgresPassword)},
			Networks: planutil.On(contract.Network),
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_ON_FAILURE,
			Hardened: true,
			Needs:    []string{contract.PostgresContainer},
		}},
		Services: []*rolev1.Service{{Name: contract.ResultsApp, Container: contract.ResultsContainer, Port: contract.HTTPPort, Tags: []string{"http"}}},
		Swarm:    rolev1.SwarmMembership_SWARM_MEMBERSHIP_WORKER,
	}, nil
}

// Check implements [role.Role]. The role does its job if Postgres answers and the results page can read from it.
func (r *Role) Check(ctx context.Context, _ *role.Facts, secretsDir string) (*role.Health, error) {
	ctx, cancel := r.probe.Bound(ctx)
	defer cancel()
	password, err := probe.Secret(secretsDir, contract.PostgresPassword)
	if err != nil {
		return nil, err
	}
	var (
		t              tally
		pgErr, pageErr error
		both           sync.WaitGroup
	)
	both.Go(func() { t, pgErr = r.tally(ctx, password) })
	both.Go(func() { pageErr = r.probe.Healthz(ctx, r.results) })
	both.Wait()
	health := &role.Health{}
	if pgErr == nil {
		health.Measures = map[string]float64{contract.MeasureCounted: t.a + t.b, "a": t.a, "b": t.b}
		for queue, n := range t.incidents {
			health.Measures[contract.MeasureIncidents+queue] = n
		}
	}
	switch {
	case pgErr != nil:
		health.Message = fmt.Sprintf("no votes are counted: Postgres: %v", pgErr)
	case pageErr != nil:
		health.Message = fmt.Sprintf("votes are counted, but the results page does not work: %v", pageErr)
	default:
		health.Healthy = true
		health.Message = fmt.Sprintf("%.0f votes counted: %.0f for a, %.0f for b", t.a+t.b, t.a, t.b)
	}
	return health, nil
}

type tally struct {
	a, b float64
	// incidents of each queue that had any.
	incidents map[string]float64
}

// goodbye is what closing a connection may take, after a check's time is over.
const goodbye = 200 * time.Millisecond

// Postgres' codes of conditions that are no surprise.
const (
	undefinedTable   = "42P01"
	wrongPassword    = "28P01"
	noSuchDatabase   = "3D000"
	cannotConnectNow = "57P03"
)

// tally reads the sum of all votes. The triggers of the voting app keep it equal to a count of the rows, which would cost more each time.
func (r *Role) tally(ctx context.Context, password string) (tally, error) {
	cfg, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return tally{}, err
	}
	host, port, err := net.SplitHostPort(r.postgres)
	if err != nil {
		return tally{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return tally{}, err
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database = host, uint16(n), "postgres", password, "votes"
	cfg.Fallbacks = nil
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // one round trip, for a connection that asks once
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return tally{}, r.wording(err)
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		_ = conn.Close(bye)
	}()
	var t tally
	err = conn.QueryRow(ctx, "SELECT coalesce(sum(a), 0)::float8, coalesce(sum(b), 0)::float8 FROM tally").Scan(&t.a, &t.b)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == undefinedTable {
		return tally{}, nil // the first worker makes it
	}
	if err != nil {
		return tally{}, r.wording(err)
	}
	t.incidents = map[string]float64{}
	rows, _ := conn.Query(ctx, "SELECT queue, count(*)::float8 FROM incidents GROUP BY queue") // ForEachRow returns its error.
	var (
		queue string
		times float64
	)
	_, err = pgx.ForEachRow(rows, []any{&queue, &times}, func() error {
		t.incidents[queue] = times
		return nil
	})
	if errors.As(err, &pg) && pg.Code == undefinedTable {
		return t, nil // a worker of the time before made the others
	}
	if err != nil {
		return tally{}, r.wording(err)
	}
	return t, nil
}

func (r *Role) wording(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return probe.Unreachable(r.postgres, err)
	}
	switch pg.Code {
	case wrongPassword:
		return fmt.Errorf("%s does not take the lab's password: was the volume pg-data made with another one?", r.postgres)
	case noSuchDatabase:
		return fmt.Errorf("%s has no database votes (yet)", r.postgres)
	case cannotConnectNow:
		return fmt.Errorf("%s is starting, recovering or shutting down: %s", r.postgres, pg.Message)
	}
	return fmt.Errorf("%s: %s", r.postgres, pg.Message)
}
