package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/swarmlab/swarmlab/lab/settings"
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
// nothing from anybody, and lasts until the next boot. note says that it did.
func Preflight(ctx context.Context, lab *settings.Lab) (note string, err error) {
	facts := gather(ctx, For(lab))
	if err := ctx.Err(); err != nil {
		return "", err
	}
	blocking := Blocking(Judge(facts))
	if facts.Host.UID == 0 && slices.ContainsFunc(blocking, func(f Finding) bool { return f.Check == checkInotify }) {
		before := facts.Inotify.Value.MaxInstances
		// Where it fails, as in a container, the finding stands. A limit that was set higher is never lowered.
		if before < inotifyRaised && os.WriteFile(inotifyLimit, []byte(strconv.Itoa(inotifyRaised)), 0o644) == nil {
			note = fmt.Sprintf("raised fs.inotify.max_user_instances from %d to %d", before, inotifyRaised)
			facts.Inotify.Value.MaxInstances = inotifyRaised
			blocking = Blocking(Judge(facts))
		}
	}
	if len(blocking) == 0 {
		return note, nil
	}
	return note, &Unfit{Lab: lab.Name, Findings: blocking}
}

// Unfit is a host that cannot carry a lab.
type Unfit struct {
	Lab string
	// Findings are the blocking ones.
	Findings []Finding
}

func (u *Unfit) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "this host cannot carry the lab %s yet; nothing was changed:", u.Lab)
	for _, f := range u.Findings {
		fmt.Fprintf(&b, "\n  %s: %s", f.Check, f.Message)
		if f.Fix != "" {
			fmt.Fprintf(&b, "\n    %s", f.Fix)
		}
	}
	return b.String()
}
