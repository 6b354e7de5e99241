package worker

import "github.com/prometheus/client_golang/prometheus"

// Metrics are a worker's metrics.
type Metrics struct {
	up                                               *prometheus.GaugeVec
	read, claimed, counted, changed, dead, incidents *prometheus.CounterVec
	mergeErrors                                      prometheus.Counter
	mergeSeconds, batchVotes                         prometheus.Histogram
}

// NewMetrics registers the metrics of a worker.
func NewMetrics(registry *prometheus.Registry) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"queue"})
		registry.MustRegister(c)
		return c
	}
	m := &Metrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "queue_readable", Help: "1 if the last read of the queue succeeded.",
		}, []string{"queue"}),
		read:    counter("votes_read_total", "Votes read, redelivered ones included."),
		claimed: counter("votes_claimed_total", "Votes taken over from a consumer whose lease ran out."),
		counted: counter("votes_counted_total", "Votes counted and acknowledged."),
		changed: counter("votes_changed_rows_total", "Rows of voters that were added or changed."),
		dead:    counter("votes_dead_lettered_total", "Votes that could not be counted and were put aside."),
		incidents: counter("queue_incidents_total",
			"Times that Redis came back without what it had acknowledged, as far as this worker was the first to see it."),
		mergeErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vote_merge_errors_total", Help: "Transactions that failed or whose outcome is unknown.",
		}),
		mergeSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vote_merge_seconds", Help: "Time of a transaction.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		batchVotes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vote_merge_votes", Help: "Votes per transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 14),
		}),
	}
	registry.MustRegister(m.up, m.mergeErrors, m.mergeSeconds, m.batchVotes)
	return m
}

// queueMetrics are those of one queue.
type queueMetrics struct {
	up                                               prometheus.Gauge
	read, claimed, counted, changed, dead, incidents prometheus.Counter
}

func (m *Metrics) of(queue string) queueMetrics {
	return queueMetrics{
		up:        m.up.WithLabelValues(queue),
		read:      m.read.WithLabelValues(queue),
		claimed:   m.claimed.WithLabelValues(queue),
		counted:   m.counted.WithLabelValues(queue),
		changed:   m.changed.WithLabelValues(queue),
		dead:      m.dead.WithLabelValues(queue),
		incidents: m.incidents.WithLabelValues(queue),
	}
}
