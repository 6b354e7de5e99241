package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/powerfault"
	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/watch"
	"github.com/swarmlab/swarmlab/lab/watch/balancer"
)

func (a *App) watch() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow what happens in the lab, a line for each event",
		Long: `Prints what the terminal UI shows, as lines: what happens on the nodes, whether they are ready, to which frontends the balancer sends voters, how the
two pages answer, faults, and, every five seconds while votes are cast, how many are captured, wait and are counted. Ctrl-C ends it.`,
		Example: "  lab watch\n  lab watch --json | jq .subject\n  lab watch --json | jq 'select(.subject == \"votes\")'",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab, f, done, err := a.fleet(fleet.Operate) // the queues are read through the agents' tunnels
			if err != nil {
				return err
			}
			defer done()
			return a.follow(cmd.Context(), lab, f, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	return cmd
}

func (a *App) follow(ctx context.Context, lab *settings.Lab, f *fleet.Fleet, asJSON bool) error {
	o, err := a.powerFaults(lab)
	if err != nil {
		return err
	}
	source, _, closeSights, err := openSource(lab, f)
	if err != nil {
		return err
	}
	defer closeSights()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watchPrinter{app: a, json: asJSON, stop: cancel, known: map[string]string{}}
	var power sync.WaitGroup
	power.Go(func() { watch.PowerFaults(ctx, o, w.powerFaults) })
	source.Run(ctx, w)
	power.Wait()
	return w.failed
}

// openSource prepares looks at a lab from outside.
func openSource(lab *settings.Lab, f *fleet.Fleet) (watch.Source, *datastore.Datastore, func(), error) {
	c, err := datastore.Open(lab, f)
	if err != nil {
		return watch.Source{}, nil, nil, err
	}
	b, err := balancer.Open(lab)
	if err != nil {
		_ = c.Close() // only read
		return watch.Source{}, nil, nil, err
	}
	return watch.Source{Nodes: f, Servers: b, Queues: c, Pages: client.New(lab.VotingURL(), lab.ResultsURL())}, c,
		func() { _, _ = c.Close(), b.Close() }, nil // only read
}

// votesEvery is the time between two lines on votes.
const votesEvery = 5 * time.Second

// watchPrinter prints what happens, and how things are whenever that changes.
type watchPrinter struct {
	app  *App
	json bool
	// stop ends the watching when nothing can be printed any more, which failed tells.
	stop context.CancelFunc

	mu     sync.Mutex
	failed error
	// known is what was printed last of each thing that only changes now and then.
	known map[string]string
	power []powerfault.Fault
	meter watch.Meter
	next  time.Time
	quiet bool
}

var _ watch.Observer = (*watchPrinter)(nil)

// sight is one line; all but at, subject and action may be empty.
type sight struct {
	At       time.Time       `json:"at"`
	Node     string          `json:"node"`
	Subject  string          `json:"subject"`
	Action   string          `json:"action"`
	Message  string          `json:"message"`
	Votes    *sightOfVotes   `json:"votes,omitempty"`
	Snapshot json.RawMessage `json:"snapshot,omitempty"`
}

// sightOfVotes is how votes were doing; nil is what nobody tells.
type sightOfVotes struct {
	Captured *float64         `json:"captured_per_second"`
	Counted  *float64         `json:"counted_per_second"`
	Waiting  map[string]int64 `json:"waiting"`
}

// Node implements watch.Observer.
func (w *watchPrinter) Node(u fleet.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, _ := u.View.Node(u.Node)
	tell := func(at time.Time, subject, action, message string) {
		l := sight{At: at, Node: u.Node, Subject: subject, Action: action, Message: message}
		if w.json && n.Snapshot != nil {
			raw, err := protojson.Marshal(n.Snapshot)
			if err != nil {
				w.fail(fmt.Errorf("print: %w", err))
				return
			}
			l.Snapshot = raw
		}
		w.print(l)
	}
	if u.Event != nil && u.Notable() {
		tell(u.Event.GetAt().AsTime(), u.Event.GetSubject(), u.Event.GetAction(), u.Event.GetMessage())
	}
	action, message := condition(n)
	if action != "" && w.changed("node "+u.Node, action+message) {
		tell(u.View.At, "node", action, message)
	}
}

// condition of a node in words; none while nothing is known.
func condition(n fleet.NodeView) (action, message string) {
	switch {
	case n.Err != nil && n.Err.Problem == fleet.ProblemHanging:
		return "no answer", n.Err.Reason
	case n.Err != nil:
		return "unreachable", n.Err.Reason
	case n.Snapshot == nil:
		return "", ""
	case n.Snapshot.GetReady():
		return "ready", "at stage " + settings.Stage(n.Snapshot.GetReachedStage()).String()
	}
	if p := n.Snapshot.GetPending(); len(p) > 0 {
		message = p[0].GetStep()
		if p[0].GetReason() != "" {
			message += ": " + p[0].GetReason()
		}
	}
	return "not ready", message
}

// Servers implements watch.Observer.
func (w *watchPrinter) Servers(servers map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	action, message := "answers", ""
	if servers == nil {
		action, message = "silent", "it cannot be asked where it sends voters"
	}
	if w.changed("balancer", action) {
		w.print(sight{At: now, Subject: "balancer", Action: action, Message: message})
	}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		action := "server down"
		if servers[name] {
			action = "server up"
		}
		if w.changed("server "+name, action) {
			w.print(sight{At: now, Node: name, Subject: "balancer", Action: action})
		}
	}
}

// Pages implements watch.Observer.
func (w *watchPrinter) Pages(page, results int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range []struct {
		name   string
		status int
	}{{"voting", page}, {"results", results}} {
		action := fmt.Sprintf("status %d", p.status)
		if p.status == 0 {
			action = "silent"
		}
		if w.changed("page "+p.name, action) {
			w.print(sight{At: time.Now(), Subject: p.name, Action: action})
		}
	}
}

// Queues implements watch.Observer.
func (w *watchPrinter) Queues(queues []datastore.Queue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Before(w.next) {
		return
	}
	w.next = now.Add(votesEvery)
	meter, r, _ := w.meter.Next(queues, now)
	w.meter = meter
	// One line when the votes have come to rest, then none until they move again.
	resting := r.Captured <= 0 && r.Counted <= 0
	if resting && w.quiet {
		return
	}
	w.quiet = resting
	known := func(rate float64) (*float64, string) {
		if rate < 0 {
			return nil, "?"
		}
		return &rate, fmt.Sprintf("%.0f/s", rate)
	}
	captured, capturedText := known(r.Captured)
	counted, countedText := known(r.Counted)
	var waiting []string
	for _, name := range slices.Sorted(maps.Keys(r.Queued)) {
		waiting = append(waiting, fmt.Sprintf("%d at %s", r.Queued[name], name))
	}
	for _, q := range queues {
		if q.Err != nil {
			waiting = append(waiting, "? at "+q.Node)
		}
	}
	if len(waiting) == 0 {
		waiting = []string{"?"}
	}
	w.print(sight{
		At: now, Subject: "votes", Action: "measured",
		Message: fmt.Sprintf("captured %s, waiting %s, counted %s", capturedText, strings.Join(waiting, ", "), countedText),
		Votes:   &sightOfVotes{captured, counted, r.Queued},
	})
}

// powerFaults takes in the faults of nodes' power.
func (w *watchPrinter) powerFaults(now []powerfault.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Now()
	for _, f := range now {
		if w.changed("fault "+f.ID, string(f.Phase)) {
			message := string(f.Kind)
			if f.Phase == powerfault.InForce {
				message += fmt.Sprintf(", ends by itself in %.0f s", f.Left(at).Seconds())
			}
			w.print(sight{At: at, Node: f.Node, Subject: "power", Action: string(f.Phase), Message: message})
		}
	}
	for _, f := range w.power {
		if !slices.ContainsFunc(now, func(is powerfault.Fault) bool { return is.ID == f.ID }) {
			w.print(sight{At: at, Node: f.Node, Subject: "power", Action: "fault-ended", Message: string(f.Kind)})
			delete(w.known, "fault "+f.ID)
		}
	}
	w.power = now
}

// changed notes how a thing is, and reports whether it was otherwise.
func (w *watchPrinter) changed(thing, is string) bool {
	if w.known[thing] == is {
		return false
	}
	w.known[thing] = is
	return true
}

func (w *watchPrinter) print(l sight) {
	if w.failed != nil {
		return
	}
	var err error
	if w.json {
		err = w.app.printLine(l)
	} else {
		node := l.Node
		if node == "" {
			node = "-"
		}
		_, err = fmt.Fprintf(w.app.out, "%s  %-10s  %-11s  %-11s  %s\n", l.At.Local().Format(time.TimeOnly),
			plain.Line(node), plain.Line(l.Subject), plain.Line(l.Action), plain.Line(l.Message))
	}
	if err != nil {
		w.fail(err)
	}
}

func (w *watchPrinter) fail(err error) {
	w.failed = err
	w.stop()
}
