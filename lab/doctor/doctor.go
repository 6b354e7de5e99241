// Package doctor says whether this host can carry the lab, and what to do where it cannot.
//
// It is for the time before anything works: nothing but this binary needs to be installed, and nothing on the host is
// changed, except for one limit that Preflight raises. Run looks things up, all at the same time: with a
// short deadline first, and what had no answer by then again, with a longer one, so that a hanging engine or a dead mount
// becomes a finding. Each fact carries whether it is known: that the engine did not tell of a network does not mean that
// there is none. Judge, which is pure, turns the facts into findings: what is wrong, whose fault it is, and a command that mends
// it.
//
// The package knows nothing of agents or of the state of a running lab: that is what `lab status` is for. It asks the
// engine through the docker command, and hypervisors through virsh and VBoxManage, so it sees those that Vagrant will use.
package doctor

import (
	"context"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// Status is a verdict.
type Status string

// The verdicts. Skip: it could not be known here, or does not matter for this lab; the message says which.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Finding is the verdict on one thing.
type Finding struct {
	// Check names what was looked at, for example "subnet". A check may have several findings.
	Check   string `json:"check"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	// Fix is a command to paste, or a sentence where no command helps; empty when there is nothing to do.
	Fix string `json:"fix,omitempty"`
	// Blocking: bringing the lab up would fail, so it should not be tried.
	Blocking bool `json:"blocking"`
	// Unknown: it could not be told, because something that was asked did not answer, or failed. It never blocks.
	Unknown bool `json:"unknown,omitempty"`
}

// Options say which lab of which clone the host is examined for.
type Options struct {
	// Root is the clone's folder, absolute.
	Root     string
	Settings settings.Settings
	Topology topology.Topology
	// Quick is how long answers are waited for at first, Patient how long those that had not come are the second time;
	// 0 for the usual.
	Quick, Patient time.Duration
	// Waiting is told for whom it is waited the second time; may be nil.
	Waiting func(what string)
}

// Run examines the host. It returns within 1.5 s where everything answers; for what does not it waits half a minute more,
// whatever hangs, and returns earlier when ctx ends. What had not answered by then is told as such.
func Run(ctx context.Context, o Options) []Finding {
	return Evaluate(gather(ctx, o))
}

// Blocking returns the findings that forbid bringing the lab up.
func Blocking(findings []Finding) []Finding {
	var blocking []Finding
	for _, f := range findings {
		if f.Blocking {
			blocking = append(blocking, f)
		}
	}
	return blocking
}
