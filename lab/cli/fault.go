package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// faultTable is a list of the kinds of faults of containers, or else of nodes.
func faultTable(ofContainer bool) string {
	var b strings.Builder
	for _, k := range faultkind.All() {
		if k.OfContainer() == ofContainer {
			fmt.Fprintf(&b, "  %-13s %s\n", k, k.Does())
		}
	}
	return b.String()
}

func (a *App) fault() *cobra.Command {
	var asJSON bool
	var how strength
	length := 30 * time.Second
	cmd := &cobra.Command{
		Use:   "fault KIND CONTAINER|NODE [NODE…]",
		Short: "Break something, for a while",
		Long: `Breaks a container, an engine, a clock or the network, for 30 seconds unless --for says otherwise. The node's agent ends
the fault when that time is over, whatever becomes of this command, of the agent or of the node; ` + "`lab heal`" + ` ends it at once.
Returns when the fault was seen. Votes that were acknowledged are not lost: see for yourself with lab load and lab verify.

Of a container:
` + faultTable(true) + `
Of a node:
` + faultTable(false) + `
Of a node's power, which this host switches; a process in the background (lab reap) gives it back, whatever becomes of this command:
` + powerTable() + `
What a node cannot do it refuses, and says why. A disk is filled on virtual machines only, and packets are delayed where the kernel has netem,
as theirs has. The clock of a node that is a container is its host's and stays right: there the voting app of a frontend goes by a wrong one.`,
		Example: `  lab fault stop redis01
  lab fault kill worker01
  lab fault pause pg --for 2m
  lab fault engine-stop frontend02
  lab fault partition frontend01 worker01 store
  lab fault fill redis01
  lab fault loss worker01 --loss 20%
  lab fault delay frontend01 --delay 200ms --jitter 50ms
  lab fault bandwidth pg --rate 64KiB
  lab fault skew frontend01 --skew -5s
  lab fault power-off frontend02`,
		Args: args(checkFault),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := how.check(faultkind.Kind(given[0]), cmd.Flags().Changed); err != nil {
				return usageError{err}
			}
			if faultkind.CheckLease(length) != nil {
				return usageError{fmt.Errorf("--for %s: give a time from 1s to 10m", length)}
			}
			lab, f, done, err := a.fleet(fleet.Operate)
			if err != nil {
				return err
			}
			defer done()
			if isPower(given[0]) {
				return a.cutPower(cmd.Context(), lab, given[0], given[1], length, asJSON)
			}
			node, what, err := a.aim(cmd.Context(), lab, f, given)
			if err != nil {
				return err
			}
			what.Lease, what.Holder = durationpb.New(length), holder()
			how.Tell(what)
			injected, err := f.Inject(cmd.Context(), node, what)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(newShownFault(injected))
			}
			shown := newShownFault(injected)
			fmt.Fprintf(a.out, "%s on %s: %s\n", plain.Line(shown.Fault), node, plain.Line(shown.Evidence))
			if !shown.Ending {
				fmt.Fprintf(a.out, "it ends by itself in %s; lab heal ends it now\n", length)
			}
			return nil
		},
		ValidArgsFunction: a.completeFault,
	}
	cmd.Flags().DurationVar(&length, "for", length, "how long, from 1s to 10m")
	cmd.Flags().DurationVar(&how.Delay, "delay", 0, "of delay: how late packets arrive, from 1ms to 10s")
	cmd.Flags().DurationVar(&how.Jitter, "jitter", 0, "of delay: give or take, up to the delay")
	cmd.Flags().Var(shareFlag{&how.Loss}, "loss", "of loss: the share of packets, as 20%")
	cmd.Flags().Var(rateFlag{&how.Rate}, "rate", "of bandwidth: so much a second, from 1KiB to 1GiB")
	cmd.Flags().DurationVar(&how.Skew, "skew", 0, "of skew: how far ahead the clock is, or behind, as -5s, up to 1h")
	for _, name := range []string{"for", "delay", "jitter", "loss", "rate", "skew"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // fails for a flag that is not there
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// checkFault checks what can be checked without a lab.
func checkFault(_ *cobra.Command, given []string) error {
	var kinds []string
	for _, k := range faultkind.All() {
		kinds = append(kinds, string(k))
	}
	for _, k := range powerfault.Kinds() {
		kinds = append(kinds, string(k))
	}
	if len(given) == 0 {
		return fmt.Errorf("give a kind of fault: %s", strings.Join(kinds, ", "))
	}
	kind := faultkind.Kind(given[0])
	switch {
	case !kind.Known() && !isPower(given[0]):
		return fmt.Errorf("%q is no kind of fault: give one of %s", kind, strings.Join(kinds, ", "))
	case len(given) == 1 && kind.OfContainer():
		return fmt.Errorf("%s what? Name a container", kind)
	case len(given) == 1:
		return fmt.Errorf("%s where? Name a node", kind)
	case kind == faultkind.Partition && len(given) == 2:
		return fmt.Errorf("a partition needs at least one peer: name one or more nodes after %s", given[1])
	case kind != faultkind.Partition && len(given) > 2:
		return fmt.Errorf("%s has one target, and %s are named", kind, strings.Join(given[1:], " and "))
	}
	return nil
}

// strength is how bad a fault is to be.
type strength struct{ faultkind.Strength }

// strengthFlags are those that each kind has; the first is not to be left out.
func strengthFlags(k faultkind.Kind) []string {
	switch k {
	case faultkind.Delay:
		return []string{"delay", "jitter"}
	case faultkind.Loss:
		return []string{"loss"}
	case faultkind.Bandwidth:
		return []string{"rate"}
	case faultkind.Skew:
		return []string{"skew"}
	}
	return nil
}

// check wants a kind's own flags, and no other's, with values that can be.
func (s strength) check(kind faultkind.Kind, given func(flag string) bool) error {
	own := strengthFlags(kind)
	for _, k := range faultkind.All() {
		for _, name := range strengthFlags(k) {
			if given(name) && !slices.Contains(own, name) {
				return fmt.Errorf("--%s is for the fault %s, not for %s", name, k, kind)
			}
		}
	}
	if len(own) > 0 && !given(own[0]) {
		return fmt.Errorf("%s how much? Give --%s", kind, own[0])
	}
	return s.Check(kind)
}

// shareFlag is a share, given in percent.
type shareFlag struct{ share *float64 }

func (f shareFlag) Type() string { return "percent" }

func (f shareFlag) String() string {
	if f.share == nil || *f.share == 0 {
		return ""
	}
	return strconv.FormatFloat(100**f.share, 'g', -1, 64) + "%"
}

func (f shareFlag) Set(text string) (err error) {
	*f.share, err = parseShare(text)
	return err
}

// parseShare reads "20%".
func parseShare(text string) (float64, error) {
	number, found := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !found || err != nil {
		return 0, errors.New("give a share, as 20%")
	}
	return percent / 100, nil
}

// rateFlag is a number of bytes a second.
type rateFlag struct{ rate *uint64 }

func (f rateFlag) Type() string { return "rate" }

func (f rateFlag) String() string {
	if f.rate == nil || *f.rate == 0 {
		return ""
	}
	return strconv.FormatUint(*f.rate, 10)
}

func (f rateFlag) Set(text string) (err error) {
	*f.rate, err = parseRate(text)
	return err
}

// parseRate reads "64KiB", with "/s" after it or not.
func parseRate(text string) (uint64, error) {
	bad := errors.New("give bytes a second, as 64KiB or 1.5MiB")
	text = strings.TrimSuffix(text, "/s")
	for _, unit := range []struct {
		name string
		size float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		number, found := strings.CutSuffix(text, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n >= 0 && n*unit.size < 1<<62) { // also what is no number
			return 0, bad
		}
		return uint64(n * unit.size), nil
	}
	return 0, bad
}

// aim finds the node of a fault.
func (a *App) aim(ctx context.Context, lab *settings.Lab, f *fleet.Fleet, given []string) (node string, what *agentv1.InjectRequest, err error) {
	kind, target, peers := given[0], given[1], given[2:]
	what = &agentv1.InjectRequest{Kind: kind, Peers: peers}
	if !faultkind.Kind(kind).OfContainer() {
		return target, what, nil
	}
	what.Container = target
	var silent []string
	for _, n := range a.snapshot(ctx, lab, f).Nodes {
		if n.Snapshot == nil {
			silent = append(silent, n.Node.Name)
		}
		for _, c := range n.Snapshot.GetContainers() {
			if c.GetName() == target {
				return n.Node.Name, what, nil
			}
		}
	}
	if len(silent) > 0 {
		return "", nil, fmt.Errorf("could not tell whether there is a container %s: it is on none of the nodes that answer; %s %s not", target, strings.Join(silent, ", "),
			map[bool]string{true: "does", false: "do"}[len(silent) == 1])
	}
	return "", nil, fmt.Errorf("there is no container %s in the lab; lab status shows them", target)
}

// holder is who injects, as others are to read it.
func holder() string {
	name := "somebody"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	if runes := []rune(name); len(runes) > 64 {
		name = string(runes[:64])
	}
	return name
}

func (a *App) completeFault(cmd *cobra.Command, given []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(given) == 0 {
		var kinds []string
		for _, k := range faultkind.All() {
			kinds = append(kinds, string(k)+"\t"+k.Does())
		}
		for _, k := range powerfault.Kinds() {
			kinds = append(kinds, string(k)+"\t"+k.Does())
		}
		return kinds, cobra.ShellCompDirectiveNoFileComp
	}
	if !faultkind.Kind(given[0]).OfContainer() {
		return a.completeNodes(cmd, given, prefix)
	}
	_, f, done, err := a.fleet(fleet.Observe)
	if err != nil || len(given) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer done()
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	var names []string
	for _, n := range f.Snapshot(ctx).Nodes {
		for _, c := range n.Snapshot.GetContainers() {
			names = append(names, c.GetName())
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// shownFault is a fault as `lab status --json` and `lab fault --json` print it.
type shownFault struct {
	ID string `json:"id"`
	// Fault is what it is, in words.
	Fault      string    `json:"fault"`
	Holder     string    `json:"holder"`
	InjectedAt time.Time `json:"injected_at"`
	// LeftMS is what is left of it; 0 for one that is ending.
	LeftMS int64 `json:"left_ms"`
	// Ending: it is being undone, or its effect is not gone yet.
	Ending   bool   `json:"ending"`
	Evidence string `json:"evidence,omitempty"`
	// Trouble is why it is not over yet.
	Trouble string `json:"trouble,omitempty"`
}

func newShownFault(f *agentv1.Fault) shownFault {
	return shownFault{
		ID: f.GetId(), Fault: faultkind.TextOf(f), Holder: f.GetHolder(), InjectedAt: f.GetInjectedAt().AsTime(),
		LeftMS: f.GetLeft().AsDuration().Milliseconds(), Ending: f.GetEnding(), Evidence: f.GetEvidence(), Trouble: f.GetTrouble(),
	}
}

func (f shownFault) String() string {
	text := fmt.Sprintf("%s, by %s", f.Fault, f.Holder)
	switch {
	case f.Ending && f.Trouble != "":
		return text + ": it is over when its effect is gone: " + f.Trouble
	case f.Ending:
		return text + ": it is over when its effect is gone"
	}
	return text + ": " + ago(time.Duration(f.LeftMS)*time.Millisecond) + " left"
}
