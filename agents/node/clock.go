package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/clock"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

var (
	// clockEager and clockCalm are how often the manager is asked for its time, before its first answer and afterwards, give or take
	// a fifth: nodes that came up together must not ask together for ever, for that makes each wait for the others.
	clockEager   = timescale.Scale(time.Second)
	clockCalm    = timescale.Scale(5 * time.Second)
	clockTimeout = timescale.Scale(2 * time.Second)
	// keeperInterval is how often the node is asked what keeps its clock.
	keeperInterval = timescale.Scale(15 * time.Second)
)

// clockWatch measures this node's clock against the manager's. It is safe for concurrent use.
type clockWatch struct {
	nodes []*rolev1.Node
	// reference: this node is the manager.
	reference bool
	keeper    func(context.Context) ClockKeeper
	now       func() clock.Instant
	// refresh has watchers sent a snapshot, tell an event as well.
	refresh func()
	notify  func(action, message string)

	mu       sync.Mutex
	estimate clock.Estimator
	kept     ClockKeeper
	// keptAt is when the keeper was asked, toldAt when watchers were told of told, by the steady clock.
	keptAt, toldAt time.Duration
	told           clock.Reading
	// off is the last verdict that was certain.
	off bool
}

// run measures until the context ends.
func (w *clockWatch) run(ctx context.Context, manager agentv1.AgentServiceClient) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		w.lookAtKeeper(ctx)
		if !w.reference {
			w.measure(ctx, manager)
			w.publish()
		}
		timer.Reset(w.interval())
	}
}

func (w *clockWatch) interval() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	pause := clockCalm
	if !w.reference && !w.estimate.At(w.now()).Known {
		pause = clockEager
	}
	return pause*4/5 + rand.N(pause*2/5) //nolint:gosec // no secret
}

// lookAtKeeper asks what keeps the clock, every now and then.
func (w *clockWatch) lookAtKeeper(ctx context.Context) {
	w.mu.Lock()
	now := w.now().Steady
	due := w.kept.Source == agentv1.ClockSource_CLOCK_SOURCE_UNSPECIFIED || now-w.keptAt >= keeperInterval
	w.mu.Unlock()
	if !due {
		return
	}
	kept := w.keeper(ctx)
	w.mu.Lock()
	changed := kept.Source != w.kept.Source || kept.Tracking.Source != w.kept.Tracking.Source
	w.kept, w.keptAt = kept, now
	w.mu.Unlock()
	if changed {
		w.refresh()
	}
}

// measure makes one exchange. One that fails only lets the estimate grow old.
func (w *clockWatch) measure(ctx context.Context, manager agentv1.AgentServiceClient) {
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	sent := w.now().Steady
	answer, err := manager.Clock(ctx, &agentv1.ClockRequest{})
	received := w.now().Steady
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// An impossible exchange is as good as none.
	_ = w.estimate.Add(clock.Exchange{
		Sent: sent, Arrived: answer.GetArrivedAt().AsTime(), Answered: answer.GetAnsweredAt().AsTime(), Received: received,
	})
}

// publish tells watchers what matters to them: a fresh snapshot when the offset changed, and an event when the clock has begun or
// ceased to be off.
func (w *clockWatch) publish() {
	w.mu.Lock()
	now := w.now()
	r := w.estimate.At(now)
	noteworthy := r.Noteworthy(w.told, now.Steady-w.toldAt)
	if noteworthy {
		w.told, w.toldAt = r, now.Steady
	}
	turned := !r.Stale && r.Off != w.off
	if turned {
		w.off = r.Off
	}
	w.mu.Unlock()
	switch {
	case turned && r.Off:
		w.notify("off", fmt.Sprintf("the node's clock is %+.1f s from the manager's", r.Offset.Seconds()))
	case turned:
		w.notify("right", fmt.Sprintf("the node's clock is %+.1f ms from the manager's", r.Offset.Seconds()*1e3))
	case noteworthy:
		w.refresh()
	}
}

// status is the clock as it is published.
func (w *clockWatch) status() *agentv1.ClockStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	out := &agentv1.ClockStatus{
		Source: w.kept.Source, SynchronizedTo: w.nodeAt(w.kept.Tracking.Source), Error: errorText(w.kept.Err),
	}
	if w.reference {
		out.Reference, out.Offset, out.Bound = true, durationpb.New(0), durationpb.New(0)
		out.MeasuredAt = timestamppb.New(now.Wall)
		return out
	}
	if r := w.estimate.At(now); r.Known {
		out.Offset, out.Bound = durationpb.New(r.Offset), durationpb.New(r.Bound)
		out.MeasuredAt = timestamppb.New(r.MeasuredAt)
		out.Stale, out.Off = r.Stale, r.Off
	}
	return out
}

// nodeAt is the name of the node with an address, or else what was given.
func (w *clockWatch) nodeAt(source string) string {
	for _, n := range w.nodes {
		if n.GetAddress() == source {
			return n.GetName()
		}
	}
	return source
}
