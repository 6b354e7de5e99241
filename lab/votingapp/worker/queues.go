package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// MaxQueues is the highest number of a queue.
const MaxQueues = 99

// QueueHost is the host name of the queue of frontend n.
func QueueHost(n int) string { return fmt.Sprintf("redis%02d", n) }

// Open connects to the queue on a host; the function that it returns disconnects.
type Open func(host string) (Queue, func())

// All drains the queues on hosts until ctx ends.
func (w *Worker) All(ctx context.Context, hosts []string, open Open) {
	var drains sync.WaitGroup
	for _, host := range hosts {
		drains.Go(func() { w.drainHost(ctx, host, open) })
	}
	drains.Wait()
}

func (w *Worker) drainHost(ctx context.Context, host string, open Open) {
	q, disconnect := open(host)
	defer disconnect()
	w.Drain(ctx, host, q)
}

// Resolver looks host names up, as [net.Resolver] does.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

const (
	// lookAhead is how many numbers beyond the highest known one are tried: a gap of some frontends is no end of the list.
	lookAhead = 8
	// goneAfter is how many times in a row a name must be unknown before its queue is left alone: a container that restarts is
	// unknown for a moment.
	goneAfter = 3
)

var (
	discoverEvery = timescale.Scale(5 * time.Second)
	lookupTimeout = timescale.Scale(2 * time.Second)
)

// Discover drains every queue whose host name is known, as they come and go, until ctx ends.
func (w *Worker) Discover(ctx context.Context, resolver Resolver, open Open) {
	type running struct {
		stop   context.CancelFunc
		missed int
	}
	var drains sync.WaitGroup
	defer drains.Wait()
	known := map[int]*running{}
	tick := time.NewTicker(discoverEvery)
	defer tick.Stop()
	for {
		highest := 0
		for n := range known {
			highest = max(highest, n)
		}
		found := lookup(ctx, resolver, min(highest+lookAhead, MaxQueues))
		for n, state := range found {
			r := known[n]
			switch {
			case state == present && r == nil:
				w.log.Info("queue appeared", "queue", QueueHost(n))
				draining, stop := context.WithCancel(ctx)
				known[n] = &running{stop: stop}
				drains.Go(func() { w.drainHost(draining, QueueHost(n), open) })
			case state == present:
				r.missed = 0
			case state == absent && r != nil:
				if r.missed++; r.missed == goneAfter {
					w.log.Info("queue disappeared", "queue", QueueHost(n))
					r.stop()
					delete(known, n)
				}
			}
		}
		select {
		case <-ctx.Done():
			for _, r := range known {
				r.stop()
			}
			return
		case <-tick.C:
		}
	}
}

type presence int

const (
	unclear presence = iota
	present
	absent
)

// lookup looks for the hosts 1 to last, several at once.
func lookup(ctx context.Context, resolver Resolver, last int) map[int]presence {
	states := make([]presence, last+1)
	var group errgroup.Group
	group.SetLimit(lookAhead)
	for n := 1; n <= last; n++ {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			_, err := resolver.LookupHost(ctx, QueueHost(n))
			var dns *net.DNSError
			switch {
			case err == nil:
				states[n] = present
			case errors.As(err, &dns) && dns.IsNotFound:
				states[n] = absent
			}
			return nil
		})
	}
	_ = group.Wait() // None of them returns an error.
	found := make(map[int]presence, last)
	for n := 1; n <= last; n++ {
		found[n] = states[n]
	}
	return found
}
