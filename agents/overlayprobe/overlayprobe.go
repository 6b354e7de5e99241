// Package overlayprobe finds out whether a container truly reaches others over an overlay network: whether their names resolve to
// the addresses that they have, and whether packets come back from there. The engine does not know: an overlay can be up
// on both sides and dead in between, after a node came back.
//
// [Probe] looks from inside the container's network namespace, with sockets of the agent's own: it needs nothing of the container's image
// and leaves nothing behind. The package must not know engines, plans or what to do about a finding.
package overlayprobe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// Target is a container on another node that should be reached.
type Target struct {
	Name    string
	Node    string
	Address netip.Addr
}

func (t Target) String() string { return fmt.Sprintf("%s on %s (%s)", t.Name, t.Node, t.Address) }

// Finding is what came of a target.
type Finding struct {
	Target Target
	// Err is why it was not reached; nil when it was.
	Err error
}

// Why a target was not reached.
var (
	ErrNoName   = errors.New("its name does not resolve")
	ErrOldName  = errors.New("its name resolves to another address")
	ErrNoAnswer = errors.New("no packet comes back")
)

// Timeouts of the two halves of a probe, each for all targets at once.
var (
	nameTimeout  = timescale.Scale(time.Second)
	replyTimeout = timescale.Scale(1500 * time.Millisecond)
)

// knockPort is a TCP port on which nothing listens, as a rule: the refusal is as good an answer as any.
const knockPort = 9

// Probe looks for the targets from the network namespace of the process pid. The error is about the probe itself.
func Probe(ctx context.Context, pid int, targets []Target) ([]Finding, error) {
	if len(targets) == 0 {
		return nil, nil
	}
	type outcome struct {
		findings []Finding
		err      error
	}
	done := make(chan outcome, 1)
	// A goroutine of its own, since a probe cannot be interrupted.
	go func() {
		findings, err := probeFrom(pid, targets)
		done <- outcome{findings, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("probe the overlay from process %d: %w", pid, o.err)
		}
		return o.findings, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// question asks for the address of a name.
func question(id uint16, name string) ([]byte, error) {
	full, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, fmt.Errorf("%q is no name: %w", name, err)
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: full, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// answer reads the id and the addresses out of an answer.
func answer(packet []byte) (id uint16, addresses []netip.Addr, err error) {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		return 0, nil, fmt.Errorf("the name server's answer: %w", err)
	}
	for _, r := range m.Answers {
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			addresses = append(addresses, netip.AddrFrom4(a.A))
		}
	}
	return m.ID, addresses, nil
}
