package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
)

// watcher turns the outcomes of probes into a metric, and changes of them into log lines.
type watcher struct {
	client *redis.Client
	log    *slog.Logger
	up     prometheus.Gauge
	known  bool
	good   bool
}

func (w *watcher) probed(err error) {
	good := err == nil
	changed := !w.known || good != w.good
	w.known, w.good = true, good
	switch {
	case good:
		w.up.Set(1)
	default:
		w.up.Set(0)
	}
	switch {
	case !changed:
	case good:
		w.log.Info("redis can be written")
		w.warnIfVolatile()
	default:
		w.log.Warn("votes are refused", "error", err)
	}
}

// warnIfVolatile says so when this Redis does not keep what it acknowledges. Somebody may have started it manually.
func (w *watcher) warnIfVolatile() {
	ctx, cancel := context.WithTimeout(context.Background(), queue.Timeout)
	defer cancel()
	problem, err := queue.Durability(ctx, w.client)
	switch {
	case err != nil:
		w.log.Warn("cannot tell how durable redis is", "error", err)
	case problem != "":
		w.log.Warn("acknowledged votes can be lost in a crash", "problem", problem)
	}
}
