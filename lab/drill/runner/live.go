package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/powerfault"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
)

const (
	// askAgain is the time between two attempts to reach an agent that has to end a fault.
	askAgain = 300 * time.Millisecond
	// drainWithin is by when all votes of a run must be counted.
	drainWithin = 2 * time.Minute
	// sample is how many voters' histories are checked by Porcupine besides.
	sample = 1000
)

// Breakers break everything: what is on nodes by their agents, nodes' power by the host.
type Breakers struct {
	Agents Agents
	Power  Power
}

var _ Breaker = Breakers{}

// Inject implements Breaker.
func (b Breakers) Inject(ctx context.Context, node string, what drill.Injection, lease time.Duration, holder string) (Broken, error) {
	if slices.Contains(powerfault.Kinds(), powerfault.Kind(what.Fault)) {
		return b.Power.Inject(ctx, node, what, lease, holder)
	}
	return b.Agents.Inject(ctx, node, what, lease, holder)
}

// Renew implements Breaker.
func (b Breakers) Renew(ctx context.Context, f Broken, lease time.Duration) error {
	if f.Power {
		return b.Power.Renew(ctx, f, lease)
	}
	return b.Agents.Renew(ctx, f, lease)
}

// End implements Breaker.
func (b Breakers) End(ctx context.Context, f Broken) error {
	if f.Power {
		return b.Power.End(ctx, f)
	}
	return b.Agents.End(ctx, f)
}

// Power breaks nodes' power.
type Power struct{ Faults *powerfault.PowerFaults }

var _ Breaker = Power{}

// Inject implements Breaker.
func (p Power) Inject(ctx context.Context, node string, what drill.Injection, lease time.Duration, holder string) (Broken, error) {
	f, err := p.Faults.Inject(ctx, powerfault.Kind(what.Fault), node, lease, holder)
	if err != nil {
		return Broken{}, err
	}
	return Broken{Node: node, ID: f.ID, Power: true, What: f.String(), Evidence: f.Evidence}, nil
}

// Renew implements Breaker.
func (p Power) Renew(_ context.Context, b Broken, lease time.Duration) error {
	_, err := p.Faults.Renew(b.ID, lease) //nolint:contextcheck // it only writes a file
	if errors.Is(err, powerfault.ErrUnknown) || errors.Is(err, powerfault.ErrRefused) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}

// End implements Breaker.
func (p Power) End(ctx context.Context, b Broken) error {
	_, err := p.Faults.Heal(ctx, b.ID)
	return err
}

// Agents break what is on nodes.
type Agents struct{ Fleet *fleet.Fleet }

var _ Breaker = Agents{}

// Inject implements Breaker.
func (a Agents) Inject(ctx context.Context, node string, what drill.Injection, lease time.Duration, holder string) (Broken, error) {
	request := &agentv1.InjectRequest{
		Kind: what.Fault, Container: what.Container, Peers: what.Peers, Lease: durationpb.New(lease), Holder: holder,
	}
	what.Tell(request)
	f, err := a.Fleet.Inject(ctx, node, request)
	if err != nil {
		return Broken{}, err
	}
	return Broken{Node: node, ID: f.GetId(), What: faultkind.TextOf(f), Evidence: f.GetEvidence()}, nil
}

// Renew implements Breaker.
func (a Agents) Renew(ctx context.Context, b Broken, lease time.Duration) error {
	_, err := a.Fleet.Renew(ctx, b.Node, b.ID, lease)
	if code := status.Code(errors.Unwrap(err)); code == codes.NotFound || code == codes.FailedPrecondition {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}

// End implements Breaker. An agent that does not answer is asked until it does.
func (a Agents) End(ctx context.Context, b Broken) error {
	for {
		err := a.Fleet.End(ctx, b.Node, b.ID)
		var problem *fleet.Error
		if !errors.As(err, &problem) || problem.Problem == fleet.ProblemOther || problem.Problem == fleet.ProblemTrust {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(askAgain):
		}
	}
}

// LabVoters casts votes and keeps the ledger; the datastore says what was counted.
type LabVoters struct {
	Lab       *settings.Lab
	Datastore verify.Datastore
	// Untimed: the votes have longer to be counted.
	Untimed bool
}

var _ Voters = LabVoters{}

// Cast implements Voters.
func (e LabVoters) Cast(ctx context.Context, plan load.Plan, progress func(load.Progress)) (load.Summary, string, error) {
	described, err := json.Marshal(plan)
	if err != nil {
		return load.Summary{}, "", fmt.Errorf("describe the load: %w", err)
	}
	run := ledger.Run{ID: ledger.NewRunID(), Started: time.Now().UTC(), Lab: e.Lab.Name, Seed: plan.Seed, Plan: described}
	book, err := ledger.Create(e.Lab.LedgerDir(), run)
	if err != nil {
		return load.Summary{}, "", err
	}
	summary, err := load.Run(ctx, plan, run.ID, book, progress)
	return summary, ledger.Path(e.Lab.LedgerDir(), run.ID), errors.Join(err, book.Close())
}

// Judge implements Voters.
func (e LabVoters) Judge(ctx context.Context, path string, say func(missing []string)) (verify.Verdict, error) {
	v := verify.Verifier{Lab: e.Lab, Datastore: e.Datastore}
	timeout := drainWithin
	if e.Untimed {
		timeout *= slower
	}
	return v.Settled(ctx, verify.Options{
		Ledgers: []string{path}, Options: checker.Options{Sample: sample}, Timeout: timeout,
	}, say)
}
