package cli

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
)

// faultKind is a kind of fault as the command line has it.
type faultKind struct {
	name, does string
}

// Faults of a container, and of a node.
var (
	containerFaults = []faultKind{
		{"kill", "SIGKILL to its main process: a crash; it is started again at once"},
		{"stop", "stopped in order, and it stays down"},
		{"pause", "frozen: it neither answers nor hangs up"},
		{"remove", "removed; its volumes stay"},
		{"disconnect", "taken off the network mynet; it runs on"},
	}
	nodeFaults = []faultKind{
		{"engine-stop", "its Docker engine is stopped, and stays down"},
		{"engine-kill", "SIGKILL to its Docker engine: a crash; it is started again"},
		{"partition", "cut off from other nodes, which are named after it"},
	}
)

const partitionFault = "partition"

func faultTable(kinds []faultKind) string {
	var b strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&b, "  %-13s %s\n", k.name, k.does)
	}
	return b.String()
}

func named(kinds []faultKind, name string) bool {
	return slices.ContainsFunc(kinds, func(k faultKind) bool { return k.name == name })
}

func (a *App) fault() *cobra.Command {
	var asJSON bool
	length := 30 * time.Second
	cmd := &cobra.Command{
		Use:   "fault KIND CONTAINER|NODE [NODE…]",
		Short: "Break something, for a while",
		Long: `Breaks a container, an engine or the network between nodes, for 30 seconds unless --for says otherwise. The node's agent ends the
fault when that time is over, whatever becomes of this command, of the agent or of the node; ` + "`lab heal`" + ` ends it at once. Returns
when the fault was seen. Votes that were acknowledged are not lost: see for yourself with lab load and lab verify.

Of a container:
` + faultTable(containerFaults) + `
Of a node:
` + faultTable(nodeFaults) + `
Of a node's power, which is this host's: a process in the background ends it, whatever becomes of this command:
` + faultTable(powerFaults()),
		Example: `  lab fault stop redis01
  lab fault kill worker01
  lab fault pause pg --for 2m
  lab fault engine-stop frontend02
  lab fault partition frontend01 worker01 store
  lab fault power-off frontend02`,
		Args: args(checkFault),
		RunE: func(cmd *cobra.Command, given []string) error {
			if length < time.Second || length > 10*time.Minute {
				return usageError{fmt.Errorf("--for %s: give a time from 1s to 10m", length)}
			}
			lab, f, done, err := a.fleet(fleet.Operate)
			if err != nil {
				return err
			}
			defer done()
			if named(powerFaults(), given[0]) {
				return a.cutPower(cmd.Context(), lab, given[0], given[1], length, asJSON)
			}
			node, what, err := aim(cmd.Context(), f, given)
			if err != nil {
				return err
			}
			what.Lease, what.Holder = durationpb.New(length), holder()
			injected, err := f.Inject(cmd.Context(), node, what)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(newShownFault(injected))
			}
			shown := newShownFault(injected)
			fmt.Fprintf(a.Out, "%s on %s: %s\n", shown.Fault, node, shown.Evidence)
			if !shown.Ending {
				fmt.Fprintf(a.Out, "it ends by itself in %s; lab heal ends it now\n", length)
			}
			return nil
		},
		ValidArgsFunction: a.completeFault,
	}
	cmd.Flags().DurationVar(&length, "for", length, "how long, from 1s to 10m")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// checkFault checks what can be checked without a lab.
func checkFault(_ *cobra.Command, given []string) error {
	var kinds []string
	for _, k := range slices.Concat(containerFaults, nodeFaults, powerFaults()) {
		kinds = append(kinds, k.name)
	}
	switch {
	case len(given) == 0:
		return fmt.Errorf("give a kind of fault: %s", strings.Join(kinds, ", "))
	case !slices.Contains(kinds, given[0]):
		return fmt.Errorf("%q is no kind of fault: give one of %s", given[0], strings.Join(kinds, ", "))
	case len(given) == 1 && named(containerFaults, given[0]):
		return fmt.Errorf("%s what? Name a container", given[0])
	case len(given) == 1:
		return fmt.Errorf("%s where? Name a node", given[0])
	case given[0] == partitionFault && len(given) == 2:
		return fmt.Errorf("cut %s off from whom? Name one or more nodes after it", given[1])
	case given[0] != partitionFault && len(given) > 2:
		return fmt.Errorf("%s has one target, and %s are named", given[0], strings.Join(given[1:], " and "))
	}
	return nil
}

// aim finds the node of a fault.
func aim(ctx context.Context, f *fleet.Fleet, given []string) (node string, what *agentv1.InjectRequest, err error) {
	kind, target, peers := given[0], given[1], given[2:]
	what = &agentv1.InjectRequest{Kind: kind, Peers: peers}
	if !named(containerFaults, kind) {
		return target, what, nil
	}
	what.Container = target
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	var silent []string
	for _, n := range f.Snapshot(ctx).Nodes {
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
		return "", nil, fmt.Errorf("there is no container %s on the nodes that answer; %s %s not", target, strings.Join(silent, ", "),
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
		for _, k := range slices.Concat(containerFaults, nodeFaults, powerFaults()) {
			kinds = append(kinds, k.name+"\t"+k.does)
		}
		return kinds, cobra.ShellCompDirectiveNoFileComp
	}
	if !named(containerFaults, given[0]) {
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
		ID: f.GetId(), Fault: fleet.FaultText(f), Holder: f.GetHolder(), InjectedAt: f.GetInjectedAt().AsTime(),
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
