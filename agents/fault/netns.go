package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
)

// Netns are Links as the kernel has them: those of a process' network namespace, which nsenter(1) goes into. Its zero value is ready.
//
// Packets are lost in nftables, not in netem, which not every kernel has and which sees only what is sent. What is dropped on its way out is
// no secret to the sender, though: the kernel tells it (EPERM to a datagram), and TCP sends again as it does after any loss. A rate is held by
// tbf for what is sent, since there the packets can wait, and by nftables for what comes. Delay is netem's alone.
type Netns struct{}

var _ Links = Netns{}

const (
	// queueHandle marks the queues that are faults.
	queueHandle = "5fa:"
	// met counts what a filter looks at.
	met = "met"
	// lossUnits is how finely a share of packets can be told.
	lossUnits = 1_000_000
	// burst is how many bytes may come at once. It is a packet's length at most, with all that the sender's kernel has joined to it.
	burst = 64 << 10
	// holdback is for how long a packet waits at most before the next is dropped, in the queue of a rate.
	holdback = 400 * time.Millisecond
	// delayed is how many packets wait in the queue of a delay.
	delayed = 10_000
)

// errNoNetem stands for a kernel that cannot delay packets.
var errNoNetem = errors.New("netem (sch_netem) delays packets, and this node's kernel has none; those of virtual machines do")

// Can has the kernel do it to the loopback of a new namespace.
func (n Netns) Can(ctx context.Context, s Spec) error {
	alone := []string{"unshare", "--net", "--"}
	if queue := queueOf(s); len(queue) > 0 {
		if _, err := run(ctx, "", append(alone, addQueue("lo", queue)...)); err != nil {
			if s.Kind == faultkind.Delay && strings.Contains(err.Error(), "qdisc kind is unknown") {
				return errNoNetem
			}
			return err
		}
	}
	if script := filterOf(tablePrefix+"try", s); script != "" {
		return Nft{enter: alone}.run(ctx, script)
	}
	return nil
}

// Began reads /proc.
func (n Netns) Began(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseBegan(string(stat))
}

// Impair adds a queue to each link, and a table.
func (n Netns) Impair(ctx context.Context, pid int, name string, s Spec) error {
	if err := n.Restore(ctx, pid, name); err != nil {
		return err
	}
	if queue := queueOf(s); len(queue) > 0 {
		links, err := n.links(ctx, pid)
		if err != nil {
			return err
		}
		for _, link := range links {
			if _, err := run(ctx, "", append(within(pid), addQueue(link, queue)...)); err != nil {
				return err
			}
		}
	}
	if script := filterOf(tablePrefix+name, s); script != "" {
		return Nft{enter: within(pid)}.run(ctx, script)
	}
	return nil
}

// Restore removes them.
func (n Netns) Restore(ctx context.Context, pid int, name string) error {
	queues, err := n.queues(ctx, pid)
	if err != nil {
		return err
	}
	for _, q := range queues {
		if _, err := run(ctx, "", append(within(pid), "tc", "qdisc", "delete", "dev", q.Link, "root", "handle", queueHandle)); err != nil {
			return err
		}
	}
	return Nft{enter: within(pid)}.Unblock(ctx, name)
}

// nowhere is an address that leads out of any network; see RFC 5737.
const nowhere = "192.0.2.1"

// Try pings the process' network from the node, on its link to it: what the container sends itself, and is dropped, the kernel would tell
// the sender. That nobody answers is no error.
func (n Netns) Try(ctx context.Context, pid, packets int) error {
	out, err := run(ctx, "", append(within(pid), "ip", "-json", "route", "get", nowhere))
	if err != nil {
		return err
	}
	address, err := parseSource(out)
	if err != nil {
		return err
	}
	_, err = run(ctx, "", []string{"ping", "-q", "-f", "-s", "0", "-w", "1", "-c", strconv.Itoa(packets), address.String()})
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil
	}
	return err
}

// Look lists them.
func (n Netns) Look(ctx context.Context, pid int, name string) (have Impaired, err error) {
	if have.Links, err = n.links(ctx, pid); err != nil {
		return have, err
	}
	if have.Queues, err = n.queues(ctx, pid); err != nil {
		return have, err
	}
	counters, err := Nft{enter: within(pid)}.counters(ctx, name)
	if err != nil {
		return have, err
	}
	have.Filtered, have.Met, have.Dropped = counters != nil, counters[met], counters[counter]
	return have, nil
}

// within is the command that goes into a process' network.
func within(pid int) []string {
	return []string{"nsenter", "--net=/proc/" + strconv.Itoa(pid) + "/ns/net", "--"}
}

func addQueue(link string, queue []string) []string {
	return append([]string{"tc", "qdisc", "add", "dev", link, "root", "handle", queueHandle}, queue...)
}

// queueOf is the queue of a fault in tc's words; nothing where it needs none.
func queueOf(s Spec) []string {
	switch s.Kind {
	case faultkind.Delay:
		queue := []string{"netem", "limit", strconv.Itoa(delayed), "delay", microseconds(s.Delay)}
		if s.Jitter > 0 {
			queue = append(queue, microseconds(s.Jitter))
		}
		return queue
	case faultkind.Bandwidth:
		// For tc "bps" is bytes a second. The kernel hands out as much as the rate makes of a tick of its clock, a hundredth of a second at most.
		return []string{
			"tbf", "rate", strconv.FormatUint(s.Rate, 10) + "bps", "burst", strconv.FormatUint(max(s.Rate/100, burst/4), 10),
			"limit", strconv.FormatUint(max(uint64(float64(s.Rate)*holdback.Seconds()), burst), 10),
		}
	}
	return nil
}

func microseconds(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) + "us" }

// filterOf is the script that makes the table of a fault, in one transaction; empty where it needs none.
func filterOf(table string, s Spec) string {
	var chains []string
	var drop string
	switch s.Kind {
	case faultkind.Loss:
		chains = []string{"input", "output"}
		if units := max(int(s.Loss*lossUnits), 1); units < lossUnits {
			drop = fmt.Sprintf("numgen random mod %d < %d", lossUnits, units)
		}
	case faultkind.Bandwidth:
		chains = []string{"input"}
		drop = fmt.Sprintf("limit rate over %d bytes/second burst %d bytes", s.Rate, burst)
	default:
		return ""
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("add table inet %s", table)
	line("add counter inet %s %s", table, met)
	line("add counter inet %s %s", table, counter)
	for _, hook := range chains {
		// What the container says to itself passes: its resolver is there.
		side := map[string]string{"input": "iifname", "output": "oifname"}[hook]
		line("add chain inet %s %s { type filter hook %s priority raw - 10; policy accept; }", table, hook, hook)
		line("add rule inet %s %s %s lo accept", table, hook, side)
		line("add rule inet %s %s counter name %s", table, hook, met)
		line("add rule inet %s %s %s counter name %s drop", table, hook, drop, counter)
	}
	return b.String()
}

// links are those that are up.
func (n Netns) links(ctx context.Context, pid int) ([]string, error) {
	out, err := run(ctx, "", append(within(pid), "ip", "-json", "link", "show", "up"))
	if err != nil {
		return nil, err
	}
	return parseLinks(out)
}

// parseSource reads what `ip -json route get` prints: the address that packets would be sent from.
func parseSource(out []byte) (netip.Addr, error) {
	var listed []struct {
		Source netip.Addr `json:"prefsrc"`
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return netip.Addr{}, fmt.Errorf("read what ip says of the way to the node: %w", err)
	}
	for _, route := range listed {
		if route.Source.IsValid() {
			return route.Source, nil
		}
	}
	return netip.Addr{}, errors.New("there is no way to the node")
}

// queues are those that are faults.
func (n Netns) queues(ctx context.Context, pid int) ([]Queue, error) {
	out, err := run(ctx, "", append(within(pid), "tc", "-json", "-statistics", "qdisc", "show"))
	if err != nil {
		return nil, err
	}
	return parseQueues(out)
}

// parseLinks reads what `ip -json link` prints: all but the loopback.
func parseLinks(out []byte) ([]string, error) {
	var listed []struct {
		Name  string   `json:"ifname"`
		Flags []string `json:"flags"`
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return nil, fmt.Errorf("read what ip says of the links: %w", err)
	}
	var links []string
	for _, l := range listed {
		if l.Name != "" && !slices.Contains(l.Flags, "LOOPBACK") {
			links = append(links, l.Name)
		}
	}
	return links, nil
}

// parseQueues reads what `tc -json -statistics qdisc show` prints: those that are faults.
func parseQueues(out []byte) ([]Queue, error) {
	var listed []struct {
		Handle  string `json:"handle"`
		Link    string `json:"dev"`
		Root    bool   `json:"root"`
		Packets int64  `json:"packets"`
		Waiting int64  `json:"qlen"`
		Options struct {
			Rate  uint64 `json:"rate"`
			Delay struct {
				// In seconds.
				Delay  float64 `json:"delay"`
				Jitter float64 `json:"jitter"`
			} `json:"delay"`
		} `json:"options"`
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return nil, fmt.Errorf("read what tc says of the queues: %w", err)
	}
	var queues []Queue
	for _, q := range listed {
		if q.Handle != queueHandle || !q.Root || q.Link == "" {
			continue
		}
		queues = append(queues, Queue{
			Link: q.Link, Rate: q.Options.Rate, Packets: q.Packets + q.Waiting,
			Delay: seconds(q.Options.Delay.Delay), Jitter: seconds(q.Options.Delay.Jitter),
		})
	}
	return queues, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// run runs a command with that input, and returns its output.
func run(ctx context.Context, input string, command []string) ([]byte, error) {
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stdin = strings.NewReader(input)
	out, err := c.Output()
	if err == nil {
		return out, nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return nil, fmt.Errorf("%s: %w", strings.Join(command, " "), err)
}
