//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
)

// warmUp comes before each run: connections are made, heaps grow.
func warmUp() time.Duration { return *span / 5 }

// site is something to vote on: two servers behind HAProxy.
type site struct {
	name   string
	web    []*program
	front  *balancer
	queues []*testservices.Redis
}

func newSite(t *testing.T, name string, env []string, queues ...*testservices.Redis) *site {
	t.Helper()
	s := &site{name: name, queues: queues}
	for i := range 2 {
		own := append([]string{fmt.Sprintf("WEB_VOTE_NUMBER=%d", i+1)}, env...)
		if len(queues) > 0 {
			own = append(own, "REDIS_ADDR="+queues[i].Addr)
		}
		s.web = append(s.web, start(t, name, "LISTEN", own...))
	}
	s.front = startHAProxy(t, s.web...)
	return s
}

// sample is what one run measured. Processor times are per vote.
type sample struct {
	load.Summary
	web, redis, haproxy, driver time.Duration
	allocs, allocated           float64
	pipelines                   float64
}

func (s *site) measure(t *testing.T, length time.Duration) sample {
	t.Helper()
	drive(t, s.front.addr, regulars, warmUp())
	var web, redis []int
	for _, p := range s.web {
		web = append(web, p.pid())
	}
	for _, q := range s.queues {
		redis = append(redis, q.PID(t))
	}
	read := func() (now sample) {
		now.web, now.redis, now.haproxy, now.driver = cpu(t, web...), cpu(t, redis...), cpu(t, s.front.pid), cpuOfThis(t)
		if s.name == "web-vote-app" || s.name == "nullweb" {
			for _, p := range s.web {
				now.allocs += metric(t, p, "go_memstats_mallocs_total")
				now.allocated += metric(t, p, "go_memstats_alloc_bytes_total")
			}
		}
		if s.name == "web-vote-app" {
			for _, p := range s.web {
				now.pipelines += metric(t, p, "vote_pipeline_votes_count")
			}
		}
		return now
	}
	before := read()
	d := drive(t, s.front.addr, regulars, length)
	after := read()
	n := time.Duration(d.Acknowledged)
	return sample{
		Summary: d, web: (after.web - before.web) / n, redis: (after.redis - before.redis) / n,
		haproxy: (after.haproxy - before.haproxy) / n, driver: (after.driver - before.driver) / n,
		allocs:    (after.allocs - before.allocs) / float64(n),
		allocated: (after.allocated - before.allocated) / float64(n),
		pipelines: after.pipelines - before.pipelines,
	}
}

// TestCapture measures how fast votes are acknowledged, and what each costs.
func TestCapture(t *testing.T) {
	env := secrets(t)
	queues := []*testservices.Redis{testservices.StartRedis(t), testservices.StartRedis(t)}
	sites := []*site{
		newSite(t, "web-vote-app", env, queues...),
		newSite(t, "nullweb", env),
		newSite(t, "noop", env),
		newSite(t, "seedstyle-web", env, queues...),
	}
	samples := map[string][]sample{}
	for run := range *runs {
		for _, s := range sites {
			m := s.measure(t, *span)
			t.Logf("run %d, %s: %.0f votes/s, p50 %.1f ms, p99 %.1f ms, %v; processor time per vote: page %v, Redis %v, HAProxy %v, load %v; %.1f allocations",
				run+1, s.name, m.Rate, m.Latency.P50, m.Latency.P99, m.Troubles, m.web, m.redis, m.haproxy, m.driver, m.allocs)
			samples[s.name] = append(samples[s.name], m)
			for _, q := range queues {
				if err := q.Client(t).FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	median := func(name string, of func(sample) float64) float64 {
		var values []float64
		for _, s := range samples[name] {
			values = append(values, of(s))
		}
		return Median(values)
	}
	rate := func(s sample) float64 { return s.Rate }
	micros := func(of func(sample) time.Duration) func(sample) float64 {
		return func(s sample) float64 { return float64(of(s)) / float64(time.Microsecond) }
	}
	p50 := func(s sample) float64 { return s.Latency.P50 }
	p99 := func(s sample) float64 { return s.Latency.P99 }
	add := func(row Row) {
		row.Part = "capture"
		report.Add(row)
	}
	const app, bare, limit, seed = "web-vote-app", "nullweb", "noop", "seedstyle-web"
	captured := median(app, rate)
	add(Row{Name: "acknowledged", Value: captured, Unit: "votes/s", Of: "same server without Redis", Limit: median(bare, rate), Target: AtLeast(.8)})
	add(Row{Name: "acknowledged", Value: captured, Unit: "votes/s", Of: "HAProxy to a no-op server", Limit: median(limit, rate)})
	add(Row{Name: "acknowledged", Value: captured, Unit: "votes/s", Of: "seed-style page", Limit: median(seed, rate)})
	add(Row{Name: "p50", Value: median(app, p50), Unit: "ms", Of: "same server without Redis", Limit: median(bare, p50)})
	add(Row{Name: "p99", Value: median(app, p99), Unit: "ms", Target: AtMost(25)})
	add(Row{Name: "processor time per vote, page", Value: median(app, micros(func(s sample) time.Duration { return s.web })), Unit: "µs", Target: AtMost(25)})
	add(Row{
		Name: "processor time per vote, page", Value: median(app, micros(func(s sample) time.Duration { return s.web })), Unit: "µs",
		Of: "a no-op server", Limit: median(limit, micros(func(s sample) time.Duration { return s.web })),
	})
	add(Row{Name: "processor time per vote, Redis", Value: median(app, micros(func(s sample) time.Duration { return s.redis })), Unit: "µs"})
	add(Row{Name: "processor time per vote, HAProxy", Value: median(app, micros(func(s sample) time.Duration { return s.haproxy })), Unit: "µs"})
	add(Row{Name: "processor time per vote, load", Value: median(app, micros(func(s sample) time.Duration { return s.driver })), Unit: "µs"})
	add(Row{Name: "votes in a pipeline", Value: median(app, func(s sample) float64 { return float64(s.Acknowledged) / s.pipelines }), Unit: "votes"})
	add(Row{Name: "allocations per vote, page", Value: median(app, func(s sample) float64 { return s.allocs }), Unit: ""})
	add(Row{Name: "allocated per vote, page", Value: median(app, func(s sample) float64 { return s.allocated }), Unit: "bytes"})
}
