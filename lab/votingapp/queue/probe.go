package queue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// Prober finds out, again and again, whether Redis can be written. Reading would not do: a Redis with a full disk, or one that is
// read-only, still answers reads and PING.
type Prober struct {
	client *redis.Client
	health atomic.Pointer[health]
	// observe is told the outcome of each probe, for metrics and the log.
	observe func(err error)
}

type health struct {
	err    error
	lastOK time.Time
}

// ProbeInterval is the time between two probes.
var ProbeInterval = timescale.Scale(250 * time.Millisecond)

// NewProber prepares a prober; Run makes it work. Until the first probe has ended, Redis counts as away.
func NewProber(client *redis.Client, observe func(error)) *Prober {
	p := &Prober{client: client, observe: observe}
	p.health.Store(&health{err: errors.New("redis has not been tried yet")})
	return p
}

// Run probes until ctx ends.
func (p *Prober) Run(ctx context.Context) {
	tick := time.NewTicker(ProbeInterval)
	defer tick.Stop()
	for {
		err := p.probe(ctx)
		if ctx.Err() != nil {
			return
		}
		now := &health{err: err, lastOK: p.health.Load().lastOK}
		if err == nil {
			now.lastOK = time.Now()
		}
		p.health.Store(now)
		p.observe(err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Prober) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(p.client))
	defer cancel()
	if err := p.client.Set(ctx, contract.ProbeKey, time.Now().UnixMilli(), 0).Err(); err != nil {
		return fmt.Errorf("redis at %s cannot be written: %w", p.client.Options().Addr, err)
	}
	return nil
}

// Err is nil while Redis can be written. It turns as soon as a write fails, or after its client's timeout without one that succeeded: a frozen Redis
// does not answer at all.
func (p *Prober) Err() error {
	h := p.health.Load()
	if h.err != nil {
		return h.err
	}
	if silent := time.Since(h.lastOK); silent > timeoutOf(p.client) {
		return fmt.Errorf("redis at %s has not answered a write for %v",
			p.client.Options().Addr, silent.Round(100*time.Millisecond))
	}
	return nil
}

// Durability tells how Redis keeps what it has acknowledged: a problem in words, or "" if every acknowledged write is on disk.
func Durability(ctx context.Context, client *redis.Client) (string, error) {
	set, err := client.ConfigGet(ctx, "append*").Result()
	switch {
	case err != nil:
		return "", fmt.Errorf("ask redis at %s for its settings: %w", client.Options().Addr, err)
	case set["appendonly"] != "yes":
		return "redis keeps votes in memory only (appendonly is " + set["appendonly"] + ")", nil
	case set["appendfsync"] != "always":
		return "redis acknowledges votes before they are on disk (appendfsync is " + set["appendfsync"] + ")", nil
	default:
		return "", nil
	}
}
