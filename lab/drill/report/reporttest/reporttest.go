// Package reporttest makes journals of runs that never were, for tests of what is made of journals.
package reporttest

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
)

// Begun is when all of these runs began.
func Begun() time.Time { return time.Date(2026, 3, 1, 9, 30, 0, 250_000_000, time.UTC) }

// RedisStop is a run of 60 s that passed: one of two frontends has its Redis stopped from 12 to 27 s, leaves the balancer, comes back, and
// its queue drains. Half a second a sample, 200 votes a second. The same at each call.
func RedisStop() *journal.Journal {
	limit := func(v float64) *float64 { return &v }
	j := &journal.Journal{
		Format: journal.Format, ID: journal.NewID(Begun(), "redis-stop"), Lab: "swarmlab", Provider: "docker", Version: "v1.4.0-12-gabcdef0",
		By: "ann@classroom", Begun: Begun(), LengthMS: 60_000, Result: journal.Passed, Drill: drill(),
		Phases: []journal.Phase{
			{Name: "steady state", BegunMS: 0, EndedMS: 3_000},
			{Name: "load", BegunMS: 3_000, EndedMS: 12_000},
			{Name: "fault", BegunMS: 12_000, EndedMS: 27_000},
			{Name: "recovery", BegunMS: 27_000, EndedMS: 52_000},
			{Name: "verdict", BegunMS: 52_000, EndedMS: 60_000},
		},
		Faults: []journal.Fault{{
			What: "stop redis01", Node: "frontend01", InjectedMS: 12_040, SeenMS: 12_410, EndedMS: 27_050, HealedMS: 28_320,
			Evidence: "redis01 is exited (0) by the engine's own word, and nothing listens on its port",
		}},
		Checks: []journal.Check{
			{See: "both frontends are in the balancer", When: "balancer.up == 2", Phase: "steady state", WithinMS: 5_000, Held: true, AfterMS: 120},
			{See: "frontend01 leaves the balancer", When: `balancer["frontend01"] == "down"`, Phase: "fault", FromMS: 12_410, WithinMS: 2_000, Held: true, AfterMS: 1_310},
			{See: "votes go on", When: "accepted_per_s > 150", Phase: "fault", FromMS: 14_410, WithinMS: 12_640, Always: true, Held: true},
			{See: "frontend01 is back in the balancer", When: `balancer["frontend01"] == "up"`, Phase: "recovery", FromMS: 28_320, WithinMS: 2_000, Held: true, AfterMS: 1_720},
			{See: "all queues are empty", When: "queued == 0", Phase: "recovery", FromMS: 28_320, WithinMS: 20_000, Held: true, AfterMS: 5_180},
		},
		Annotations: []journal.Annotation{
			{AtMS: 12_410, Name: "detected", Text: "redis01 is seen to be down"},
			{AtMS: 13_720, Name: "ejected", Text: "HAProxy has taken frontend01 out"},
			{AtMS: 14_100, Name: "errors end", Text: "no try failed since"},
			{AtMS: 27_050, Name: "healed", Text: "redis01 is started"},
			{AtMS: 30_040, Name: "recovered", Text: "frontend01 takes votes again"},
			{AtMS: 33_500, Name: "drained", Text: "no vote waits"},
		},
		Events: []journal.Event{
			{AtMS: 12_310, Node: "frontend01", Subject: "redis01", Action: "die", Message: "exit code 0"},
			{AtMS: 12_900, Node: "frontend01", Subject: "frontend01", Action: "unhealthy", Message: "redis01:6379: connection refused"},
			{AtMS: 13_720, Node: "interlock", Subject: "frontend01", Action: "down", Message: "layer 7 check failed, status 503"},
			{AtMS: 28_120, Node: "frontend01", Subject: "redis01", Action: "start"},
			{AtMS: 30_040, Node: "interlock", Subject: "frontend01", Action: "up"},
		},
		Metrics: []journal.Metric{
			{Name: "time until frontend01 left the balancer", Value: 1_310, Unit: "ms", Limit: limit(2_000)},
			{Name: "time with errors", Value: 1_690, Unit: "ms", Limit: limit(2_000)},
			{Name: "time until frontend01 was back", Value: 1_720, Unit: "ms", Limit: limit(2_000)},
			{Name: "longest queue", Value: 121, Unit: "votes"},
		},
		Verdict: &verify.Verdict{
			Report: checker.Report{
				Result: checker.Pass, Sent: checker.Votes{Voters: 7_845, Votes: 9_806, Acknowledged: 9_803, Refused: 0, Unknown: 3},
				Rows: 7_846, Others: 1, Tally: checker.Tally{A: 3_950, B: 3_896}, Counted: checker.Tally{A: 3_950, B: 3_896},
				Found: map[checker.Kind]int64{
					checker.Lost: 0, checker.Stale: 0, checker.Phantom: 0, checker.Double: 0, checker.TallyOff: 0, checker.Recovered: 2, checker.Overtaken: 0,
				},
				Register: checker.Register{Voters: 1_000, Seed: 7},
			},
			At: Begun().Add(55 * time.Second),
		},
		Load: &load.Summary{
			Run: ledger.RunID{1}, Counts: load.Counts{Votes: 9_806, Acknowledged: 9_803, Unknown: 3, Retried: 171}, Tries: 9_990, Voters: 7_845,
			Seconds: 49.1, Rate: 199.7,
			Latency:  load.Latency{Min: 1.9, Mean: 14.2, P50: 4.2, P90: 9.6, P99: 310.1, P999: 1_480, Max: 2_140},
			ServedBy: map[string]int64{"frontend01": 3_340, "frontend02": 6_463},
			Troubles: map[string]int64{"status 503": 158, "connection reset": 26},
		},
	}
	j.Samples = samples()
	return j
}

func drill() journal.Drill {
	return journal.Drill{
		ID: "redis-stop", Title: "Stop the Redis of a frontend", Section: "Redis",
		Story: "It is half past nine, the vote is open, and somebody stops `redis01` for an upgrade that nobody announced. " +
			"A frontend acknowledges a vote only when it is on its own Redis's disk.\n\n" +
			"What do voters notice, and what becomes of the votes that wait in its queue?",
		Questions: []journal.Question{
			{Ask: "How long do voters see errors?", Answer: "Until the balancer's check fails: `/healthz` is asked every second, so at most 2 s. A try that failed is made again on `frontend02`."},
			{Ask: "Are votes lost that were in the queue of `redis01`?", Answer: "No. They are on its disk, and are counted once it is back:\n\n- the append-only file is read at its start\n- the worker claims what was with it"},
		},
		Debrief: "The pair of frontend and Redis is the unit of failure. The balancer took it out as a whole, without a vote lost.\n\nVotes in the queue " +
			"waited 15 s to be counted. Nobody was told so: the page says `counted` only later.",
		Fix: "A second Redis for each frontend, with `WAIT`, would keep the pair in service; it costs a network round trip for each vote.",
	}
}

// samples of RedisStop.
func samples() []journal.Sample {
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same at each call
	var all []journal.Sample
	one, two, counted := 0.0, 0.0, 0.0
	for at := int64(500); at <= 60_000; at += 500 {
		s := journal.Sample{AtMS: at, Queued: map[string]float64{}}
		down, ejected, back := at > 12_000 && at <= 28_000, at > 14_000 && at <= 30_000, at > 30_000
		if at > 3_000 && at <= 52_000 {
			s.Accepted = math.Round(196 + 8*rnd.Float64())
			p50, p99 := 3.5+2*rnd.Float64(), 9+8*rnd.Float64()
			switch {
			case at > 12_000 && at <= 12_500:
				s.Accepted, s.Errors = 0, 64
			case at > 12_500 && at <= 14_000:
				s.Accepted, s.Errors = math.Round(70+60*rnd.Float64()), math.Round(20+50*rnd.Float64())
				p50, p99 = 120+200*rnd.Float64(), 900+1200*rnd.Float64()
			case ejected:
				p50, p99 = 5+3*rnd.Float64(), 18+20*rnd.Float64()
			case back && at <= 33_000:
				p99 = 40 + 30*rnd.Float64()
			}
			if s.Accepted > 0 {
				s.P50MS, s.P99MS = &p50, &p99
			}
		}
		arrived := s.Accepted / 2
		switch {
		case at > 12_000 && ejected, down:
			two += arrived * 0.04
			counted += arrived * 0.96
			if at == 12_500 {
				one = 121
			}
		default:
			moved := one + two
			if at > 28_000 && at <= 33_000 {
				moved = (one + two) * 0.45
			}
			one, two = max(one-moved, 0), 0
			counted += arrived + moved
		}
		if !down {
			s.Queued["frontend01"] = math.Round(one + 3*rnd.Float64()*boolean(s.Accepted > 0))
		}
		s.Queued["frontend02"] = math.Round(two + 4*rnd.Float64()*boolean(s.Accepted > 0))
		total := math.Round(counted)
		s.Counted = &total
		all = append(all, s)
	}
	return all
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Failed is RedisStop with a worse end: a check did not hold, a figure passed its limit and votes are lost.
func Failed() *journal.Journal {
	j := RedisStop()
	j.ID = journal.NewID(Begun().Add(time.Hour), "redis-stop")
	j.Begun = Begun().Add(time.Hour)
	j.Result = journal.Failed
	j.Reasons = []string{"frontend01 did not leave the balancer within 2 s", "2 voters were told that their vote counts, and it does not"}
	j.Checks[1].Held, j.Checks[1].AfterMS, j.Checks[1].Saw = false, 0, `balancer["frontend01"] was "up"`
	j.Checks[2].Held, j.Checks[2].AfterMS, j.Checks[2].Saw = false, 3_100, "accepted_per_s was 82"
	j.Metrics[0].Value = 4_210
	j.Verdict.Result = checker.Fail
	j.Verdict.Found[checker.Lost] = 2
	voter, vote := uuid.MustParse("6f1c1b0e-7a55-4d0e-9b1c-0d5f0c7c1a11"), uuid.MustParse("0b54a2a4-5d0b-4c7e-8a83-3d1f4a5be7c2")
	j.Verdict.Examples = map[checker.Kind][]checker.Example{checker.Lost: {{
		Why: "a vote was acknowledged by frontend01 at 12.4 s, and its voter has no row", VoterID: &voter, Promised: &checker.Cast{VoteID: vote, Choice: "a"},
	}}}
	return j
}
