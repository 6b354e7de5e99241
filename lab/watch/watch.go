// Package watch looks at a lab from outside, again and again: at its nodes by their agents, at the balancer, the queues and the pages
// themselves. What it sees is handed on; it keeps nothing and judges nothing.
package watch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
)

// How often the app's parts are asked, and how long each may take to answer.
const (
	serversEvery = 200 * time.Millisecond
	queuesEvery  = 500 * time.Millisecond
	pagesEvery   = 400 * time.Millisecond
	lookTimeout  = 2 * time.Second
)

// Source are what is looked at, each on its own, so that one that hangs hides none of the others.
type Source struct {
	// Nodes streams what the agents tell; *fleet.Fleet does.
	Nodes interface {
		Watch(ctx context.Context) <-chan fleet.Update
	}
	// Servers are the balancer's; *balancer.Balancer.
	Servers interface {
		Servers(ctx context.Context) (map[string]bool, error)
	}
	// Queues are read in Redis itself; *datastore.Datastore.
	Queues interface {
		Queues(ctx context.Context) []datastore.Queue
	}
	// Pages are the app's; *client.Client.
	Pages interface {
		Statuses(ctx context.Context) (page, results int)
	}
}

// Observer takes what is seen, from several goroutines at once.
type Observer interface {
	Node(u fleet.Update)
	// Servers by frontend, whether the balancer sends it voters; nil when it does not answer.
	Servers(servers map[string]bool)
	Queues(queues []datastore.Queue)
	// Pages are the HTTP statuses of the voting page and of the tally; 0 for no answer.
	Pages(voting, results int)
}

// Run looks until ctx ends.
func (s Source) Run(ctx context.Context, sink Observer) {
	var all sync.WaitGroup
	all.Go(func() {
		for update := range s.Nodes.Watch(ctx) {
			sink.Node(update)
		}
	})
	all.Go(func() {
		every(ctx, serversEvery, func(ctx context.Context) func() {
			servers, err := s.Servers.Servers(ctx)
			if err != nil {
				servers = nil
			}
			return func() { sink.Servers(servers) }
		})
	})
	all.Go(func() {
		every(ctx, queuesEvery, func(ctx context.Context) func() {
			queues := s.Queues.Queues(ctx)
			return func() { sink.Queues(queues) }
		})
	})
	all.Go(func() {
		every(ctx, pagesEvery, func(ctx context.Context) func() {
			page, results := s.Pages.Statuses(ctx)
			return func() { sink.Pages(page, results) }
		})
	})
	all.Wait()
}

// every looks again and again until ctx ends, and hands on what was seen, unless that was cut off by the end.
func every(ctx context.Context, interval time.Duration, look func(context.Context) (tell func())) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, lookTimeout)
		tell := look(once)
		cut := errors.Is(ctx.Err(), context.Canceled)
		cancel()
		if !cut {
			tell()
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
