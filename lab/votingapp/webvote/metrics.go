package webvote

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
)

type metrics struct {
	votesA, votesB prometheus.Counter
	refused        *prometheus.CounterVec
	cookies        *prometheus.CounterVec
	seconds        prometheus.Histogram
}

func newMetrics(registry *prometheus.Registry) *metrics {
	captured := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "votes_captured_total", Help: "Votes that were acknowledged, by answer.",
	}, []string{"vote"})
	m := &metrics{
		votesA: captured.WithLabelValues("a"),
		votesB: captured.WithLabelValues("b"),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "votes_refused_total", Help: "Requests to vote that were not acknowledged, by reason.",
		}, []string{"reason"}),
		cookies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voter_cookies_refused_total", Help: "Voter cookies that were not accepted, by reason.",
		}, []string{"reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vote_capture_seconds", Help: "Time from the request to the queue's acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12),
		}),
	}
	registry.MustRegister(captured, m.refused, m.cookies, m.seconds)
	return m
}

func (m *metrics) captured(c vote.Choice, took time.Duration) {
	if c == vote.A {
		m.votesA.Inc()
	} else {
		m.votesB.Inc()
	}
	m.seconds.Observe(took.Seconds())
}

func (m *metrics) cookieRefused(err error) {
	reason := "damaged"
	switch {
	case errors.Is(err, voter.ErrVersion):
		reason = "version"
	case errors.Is(err, voter.ErrForged):
		reason = "forged"
	case errors.Is(err, voter.ErrDuplicate):
		reason = "duplicate"
	}
	m.cookies.WithLabelValues(reason).Inc()
}
