// Package runner runs failure drills on a lab: it makes sure of the steady state, has votes cast, breaks what the drill says, looks whether
// all is seen that must be, heals, waits for the steady state, and judges by the ledger. What it saw is the run's journal.
//
// Faults are leases that others keep, the agents and the host's reaper; the runner renews them for as long as it lives. So whatever becomes of
// it, nothing stays broken. The package knows no terminal and no file but the journal's.
package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/cpusteal"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/usage"
	"github.com/swarmlab/swarmlab/lab/votes/load"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
	"github.com/swarmlab/swarmlab/lab/watch"
)

const (
	// tickEvery is how often conditions are looked at when nothing is heard.
	tickEvery = 100 * time.Millisecond
	// lease of a fault, and how often it is renewed.
	lease      = 10 * time.Second
	renewEvery = 3 * time.Second
	// healTimeout bounds the ending of a fault; a node's power takes longest.
	healTimeout = 3 * time.Minute
	// patience is how long a vote is tried again: longer than the longest outage of a drill that comes with the kit.
	patience = 2 * time.Minute
	// connections cast the votes; in an outage as many wait.
	connections = 64
	// flowWithin is when votes must be accepted at half the rate at least, before anything is broken.
	flowWithin = 10 * time.Second
	// calmWithin is how much longer that may take while the host withholds the processors.
	calmWithin = time.Minute
	// Disturbed is the part of the processors' time that a host may withhold, over two seconds, before what is late says nothing.
	Disturbed = 0.25
)

// ErrRefused says that a drill was not run. Nothing was broken.
var ErrRefused = errors.New("the drill is not run")

// refused makes an ErrRefused.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// Breaker breaks things, as leases.
type Breaker interface {
	// Inject returns once the fault was seen.
	Inject(ctx context.Context, node string, what drill.Injection, lease time.Duration, holder string) (Broken, error)
	// Renew lets it last for so long from now on.
	Renew(ctx context.Context, b Broken, lease time.Duration) error
	// End ends it, and returns when its effect is gone; one that is over is no error.
	End(ctx context.Context, b Broken) error
}

// Broken is a fault in force.
type Broken struct {
	Node, ID string
	// Power: it is the host's.
	Power bool
	// What it is, and how it was seen, in words.
	What, Evidence string
}

// Voters cast votes, and judge in the end what became of them.
type Voters interface {
	// Cast casts votes until ctx ends and those on their way came to their end. It returns the ledger's path.
	Cast(ctx context.Context, plan load.Plan, progress func(load.Progress)) (load.Summary, string, error)
	// Judge waits until the votes are counted.
	Judge(ctx context.Context, ledger string, say func(missing []string)) (verify.Verdict, error)
}

// Runner runs drills on one lab, one at a time.
type Runner struct {
	Lab     *settings.Lab
	Source  watch.Source
	Breaker Breaker
	Voters  Voters
	// Processors tells what they did, and what of their time the host withheld; nil: nobody knows.
	Processors func() (cpusteal.Reading, error)
	// Version of the command, and who runs it.
	Version, By string
}

// Options of a run.
type Options struct {
	// Hold: the faults last until it is closed, however long the drill wants them to; nil: they do not.
	Hold <-chan struct{}
	// SteadyWithin is for how long the steady state is waited for.
	SteadyWithin time.Duration
	// Untimed: how long things take is not judged, and they have longer: for a machine that is slow or busy.
	Untimed bool
	// Abandon: once it is closed, a drill that is aborted does not wait any longer until what it broke is healed. What is not healed by then ends when
	// its lease does. nil: it is waited for.
	Abandon <-chan struct{}
	// Tell is told how it goes; it must not wait.
	Tell func(Update)
}

// Update is how a run is doing.
type Update struct {
	At    time.Duration
	Phase string
	// Left of the phase; 0 where it is not known.
	Left time.Duration
	// Votes, as an Env has them.
	Accepted, Failed, Queued, Counted float64
	// Broken: it is the phase of the fault.
	Broken bool
	// Line is something that happened; empty: only the numbers changed.
	Line string
	Tone Tone
}

// Tone is what a line means.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Warning
	Bad
)

// Phases of a run.
const (
	phaseSteady   = "steady state"
	phaseLoad     = "load"
	phaseFault    = "fault"
	phaseRecovery = "recovery"
	phaseAfter    = "afterwards"
	phaseVerdict  = "verdict"
)

// Run runs a drill. When ctx ends it is aborted, and heals all the same. There is a journal unless the error is ErrRefused; the result is the
// journal's, and an error besides says that the journal could not be written.
func (r *Runner) Run(ctx context.Context, d *drill.Drill, o Options) (*journal.Journal, error) {
	unlock, err := Lock(r.Lab.Path("drill.lock"), d.ID, r.By)
	if err != nil {
		return nil, err
	}
	defer unlock()
	ctx, end, err := usage.Begin(ctx, r.Lab, "drill "+d.ID+" of "+r.By)
	if err != nil {
		return nil, refused("%w", err)
	}
	defer end()
	if o.Tell == nil {
		o.Tell = func(Update) {}
	}
	begun := time.Now()
	run := &run{
		Runner: r, drill: d, options: o, begun: begun, observer: newObserver(begun, r.Lab.Stage, d.Load.Rate),
		journal: &journal.Journal{
			Format: journal.Format, ID: journal.NewID(begun, d.ID), Lab: r.Lab.Name, Provider: r.Lab.Provider, Version: r.Version, By: r.By,
			Drill: journalDrill(d), Begun: begun.UTC(),
		},
	}
	if o.Untimed {
		untimed(run.journal)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.Source.Run(watching, run.observer)
	}()
	defer func() {
		stop()
		<-watched
	}()
	return run.all(ctx)
}

func journalDrill(d *drill.Drill) journal.Drill {
	out := journal.Drill{ID: d.ID, Title: d.Title, Section: d.Section, Story: d.Story, Debrief: d.Debrief, Fix: d.Fix}
	for _, q := range d.Predict {
		out.Questions = append(out.Questions, journal.Question{Ask: q.Ask, Answer: q.Answer})
	}
	return out
}
