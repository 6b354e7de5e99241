package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Nft is a Filter that has nftables drop packets, in a table for each cut. Its zero value is ready.
type Nft struct {
	// enter is the command that goes into another network, with nft after it; empty: the node's own.
	enter []string
}

var _ Filter = Nft{}

// tablePrefix marks the tables of cuts; a learner finds them by `nft list tables`.
const tablePrefix = "swarmlab_fault_"

// counter counts what a cut drops.
const counter = "dropped"

// Block makes a table of its own. Packets are dropped before the engine's own rules see them: what comes in, also for containers, what
// containers send through the node, and what the node itself sends.
func (n Nft) Block(ctx context.Context, name string, peers []netip.Addr, spared uint16) error {
	if err := n.Unblock(ctx, name); err != nil {
		return err
	}
	return n.run(ctx, rules(tablePrefix+name, peers, spared))
}

// rules is the script that makes a table, in one transaction.
func rules(table string, peers []netip.Addr, spared uint16) string {
	var addresses []string
	for _, p := range peers {
		addresses = append(addresses, p.String())
	}
	set := "{ " + strings.Join(addresses, ", ") + " }"
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("add table inet %s", table)
	line("add counter inet %s %s", table, counter)
	line("add chain inet %s in { type filter hook prerouting priority raw - 10; policy accept; }", table)
	line("add chain inet %s out { type filter hook output priority raw - 10; policy accept; }", table)
	for _, match := range []struct{ chain, side string }{{"in", "saddr"}, {"in", "daddr"}, {"out", "daddr"}} {
		line("add rule inet %s %s ip %s %s tcp dport %d accept", table, match.chain, match.side, set, spared)
		line("add rule inet %s %s ip %s %s tcp sport %d accept", table, match.chain, match.side, set, spared)
		line("add rule inet %s %s ip %s %s counter name %s drop", table, match.chain, match.side, set, counter)
	}
	return b.String()
}

// Unblock removes the table.
func (n Nft) Unblock(ctx context.Context, name string) error {
	// Added first, or the deletion of one that is not there would fail.
	table := tablePrefix + name
	return n.run(ctx, fmt.Sprintf("add table inet %s\ndelete table inet %s\n", table, table))
}

// discard is the port of the service that throws away what it is sent (RFC 863).
const discard = 9

// Try sends a datagram.
func (n Nft) Try(ctx context.Context, peer netip.Addr) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", netip.AddrPortFrom(peer, discard).String())
	if err != nil {
		return err
	}
	_, _ = conn.Write([]byte("swarmlab")) // fails where the kernel tells the sender of the drop
	return conn.Close()
}

// listing is what nft prints in JSON; see libnftables-json(5).
type listing struct {
	Nftables []struct {
		Table *struct {
			Name string `json:"name"`
		} `json:"table"`
		Counter *struct {
			Name    string `json:"name"`
			Packets int64  `json:"packets"`
		} `json:"counter"`
	} `json:"nftables"`
}

// Dropped reads the counter.
func (n Nft) Dropped(ctx context.Context, name string) (int64, error) {
	counters, err := n.counters(ctx, name)
	if err != nil {
		return 0, err
	}
	if counters == nil {
		return -1, nil
	}
	return counters[counter], nil
}

// counters reads those of a cut, in packets; nil: there is no such cut.
func (n Nft) counters(ctx context.Context, name string) (map[string]int64, error) {
	names, err := n.Blocked(ctx)
	if err != nil || !slices.Contains(names, name) {
		return nil, err
	}
	found, err := n.list(ctx, "counters", "table", "inet", tablePrefix+name)
	if err != nil {
		return nil, err
	}
	counters := map[string]int64{}
	for _, object := range found.Nftables {
		if object.Counter != nil {
			counters[object.Counter.Name] = object.Counter.Packets
		}
	}
	return counters, nil
}

// Blocked lists the tables.
func (n Nft) Blocked(ctx context.Context) ([]string, error) {
	found, err := n.list(ctx, "tables")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, object := range found.Nftables {
		if object.Table == nil {
			continue
		}
		if name, ours := strings.CutPrefix(object.Table.Name, tablePrefix); ours {
			names = append(names, name)
		}
	}
	return names, nil
}

func (n Nft) list(ctx context.Context, what ...string) (listing, error) {
	var found listing
	out, err := run(ctx, "", append(n.nft("--json", "list"), what...))
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		return found, fmt.Errorf("list %s: %w", strings.Join(what, " "), err)
	}
	return found, nil
}

func (n Nft) run(ctx context.Context, script string) error {
	if _, err := run(ctx, script, n.nft("-f", "-")); err != nil {
		return fmt.Errorf("change the rules: %w", err)
	}
	return nil
}

func (n Nft) nft(args ...string) []string { return slices.Concat(n.enter, []string{"nft"}, args) }
