package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// inotifyRaised is plenty for any lab and harmless: an instance that nobody makes costs nothing.
const inotifyRaised = 1024

const inotifyLimit = "/proc/sys/fs/inotify/max_user_instances"

// For returns the options for a clone's lab.
func For(lab *settings.Lab) Options {
	return Options{Root: lab.Dir, Settings: lab.Settings, Topology: *lab.Topology}
}

// Preflight returns what keeps a lab from being brought up on this host, as an *Unfit with a fix for each; nil when
// nothing does. The one thing that it mends itself, where it may, is the limit on inotify instances: raising it takes
// nothing from anybody, and lasts until the next boot. note says that it did, and what could not be told: that keeps nothing
// from being brought up. say is told for what it waits.
func Preflight(ctx context.Context, lab *settings.Lab, say func(string)) (note string, err error) {
	options := For(lab)
	options.Waiting = say
	return preflight(ctx, options)
}

func preflight(ctx context.Context, options Options) (note string, err error) {
	facts := gather(ctx, options)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	findings := Evaluate(facts)
	blocking := Blocking(findings)
	if facts.Host.UID == 0 && slices.ContainsFunc(blocking, func(f Finding) bool { return f.Check == checkInotify }) {
		limits := facts.Inotify.seen()
		before := limits.MaxInstances
		// Where it fails, as in a container, the finding stands. A limit that was set higher is never lowered.
		if before < inotifyRaised && os.WriteFile(inotifyLimit, []byte(strconv.Itoa(inotifyRaised)), 0o644) == nil {
			note = fmt.Sprintf("raised fs.inotify.max_user_instances from %d to %d", before, inotifyRaised)
			limits.MaxInstances = inotifyRaised
			facts.Inotify = Known(limits)
			findings = Evaluate(facts)
			blocking = Blocking(findings)
		}
	}
	if len(blocking) == 0 {
		return joinNotes(note, doubts(findings)), nil
	}
	return note, &Unfit{Lab: options.Settings.Name, Findings: blocking}
}

// doubts says what could not be told; empty when everything could.
func doubts(findings []Finding) string {
	var open []Finding
	for _, f := range findings {
		if f.Unknown {
			open = append(open, f)
		}
	}
	if len(open) == 0 {
		return ""
	}
	more := ""
	if n := len(open) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more; `lab doctor` tells all)", n)
	}
	return fmt.Sprintf("%s: %s%s; going on", open[0].Check, open[0].Message, more)
}

func joinNotes(notes ...string) string {
	return strings.Join(slices.DeleteFunc(notes, func(note string) bool { return note == "" }), "; ")
}

// Unfit is a host that cannot carry a lab.
type Unfit struct {
	Lab string
	// Findings are the blocking ones.
	Findings []Finding
}

func (u *Unfit) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "this host does not meet the requirements of the lab %s; nothing was changed:", u.Lab)
	for _, f := range u.Findings {
		fmt.Fprintf(&b, "\n  %s: %s", f.Check, f.Message)
		if f.Fix != "" {
			fmt.Fprintf(&b, "\n    %s", f.Fix)
		}
	}
	return b.String()
}
