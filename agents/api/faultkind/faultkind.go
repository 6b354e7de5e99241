// Package faultkind holds the words for what the agents can break: the kinds of faults, what they do, how bad they may be, and how a fault
// is called. Both sides of the agents' API take them from here.
//
// It must not know how any of it is done.
package faultkind

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

// Kind says what is broken, and how.
type Kind string

// The kinds. Those up to Fill break a container.
const (
	// Kill is SIGKILL to the container's main process: a crash. Nothing holds it; Docker or the agent starts it again at once.
	Kill Kind = "kill"
	// Stop stops the container in order, and it stays down.
	Stop Kind = "stop"
	// Pause freezes the container's processes: it neither answers nor hangs up.
	Pause Kind = "pause"
	// Remove removes the container; its volumes stay.
	Remove Kind = "remove"
	// Wipe removes the container with its data, where others make the data anew.
	Wipe Kind = "wipe"
	// Disconnect takes the container off the lab's network; it runs on.
	Disconnect Kind = "disconnect"
	// Delay has what the container sends arrive late.
	Delay Kind = "delay"
	// Loss drops packets that the container sends or is sent.
	Loss Kind = "loss"
	// Bandwidth bounds what the container sends, and what it is sent.
	Bandwidth Kind = "bandwidth"
	// Fill takes all space of the file system under the container's data.
	Fill Kind = "fill"
	// EngineStop stops the node's engine in order, with its containers; it stays down.
	EngineStop Kind = "engine-stop"
	// EngineKill is SIGKILL to the engine: a crash. Nothing holds it; systemd starts it again.
	EngineKill Kind = "engine-kill"
	// Partition drops all packets from and to other nodes, but for those of the agents.
	Partition Kind = "partition"
	// Skew has the node's clock be wrong.
	Skew Kind = "skew"
)

// All returns all kinds, in the order in which people are told of them.
func All() []Kind {
	return []Kind{
		Kill, Stop, Pause, Remove, Wipe, Disconnect, Delay, Loss, Bandwidth, Fill,
		EngineStop, EngineKill, Partition, Skew,
	}
}

// Known reports whether there is such a kind.
func (k Kind) Known() bool { return slices.Contains(All(), k) }

// OfContainer reports whether the kind breaks a container.
func (k Kind) OfContainer() bool {
	switch k {
	case Kill, Stop, Pause, Remove, Wipe, Disconnect, Delay, Loss, Bandwidth, Fill:
		return true
	}
	return false
}

// Momentary reports whether the fault is over once it has happened; its lease lasts until its effect is gone.
func (k Kind) Momentary() bool { return k == Kill || k == EngineKill }

// Does says what becomes of the target.
func (k Kind) Does() string {
	switch k {
	case Kill:
		return "SIGKILL to its main process: a crash; it is started again at once"
	case Stop:
		return "stopped in order, and it stays down"
	case Pause:
		return "frozen: it neither answers nor hangs up"
	case Remove:
		return "removed; its volumes stay"
	case Wipe:
		return "removed with its data, which others make anew (consul)"
	case Disconnect:
		return "taken off the network mynet; it runs on"
	case Delay:
		return "what it sends arrives late (--delay, --jitter)"
	case Loss:
		return "a share of the packets from and to it is lost (--loss)"
	case Bandwidth:
		return "its links carry so much a second and no more (--rate)"
	case Fill:
		return "the disk under its data is full"
	case EngineStop:
		return "its Docker engine is stopped, and stays down"
	case EngineKill:
		return "SIGKILL to its Docker engine: a crash; it is started again"
	case Partition:
		return "cut off from other nodes, which are named after it"
	case Skew:
		return "its clock is wrong (--skew)"
	}
	return ""
}

// Bounds of how bad a fault may be.
const (
	MinDelay = time.Millisecond
	MaxDelay = 10 * time.Second
	MinRate  = 1 << 10 // bytes a second
	MaxRate  = 1 << 30
	MaxSkew  = time.Hour
	// MinSkew is what can be told from the time that it takes to look.
	MinSkew = time.Second
)

// Bounds of a lease, of a node's faults and of the host's alike.
const (
	MinLease = time.Second
	MaxLease = 10 * time.Minute
)

// CheckLease tells what is wrong with the length of a lease.
func CheckLease(length time.Duration) error {
	if length < MinLease || length > MaxLease {
		return fmt.Errorf("a lease of %s; give one from %s to %s", length, MinLease, MaxLease)
	}
	return nil
}

// Strength is how bad a fault is, for those kinds that may be more or less so.
type Strength struct {
	// Delay, give or take Jitter, of each packet that is sent.
	Delay  time.Duration `json:"delay,omitempty"`
	Jitter time.Duration `json:"jitter,omitempty"`
	// Loss is the share of packets that are lost, up to 1.
	Loss float64 `json:"loss,omitempty"`
	// Rate in bytes a second.
	Rate uint64 `json:"rate,omitempty"`
	// Skew is by how much the clock is ahead; negative: behind.
	Skew time.Duration `json:"skew,omitempty"`
}

// StrengthOf reads what the protocol says, be it an InjectRequest or a Fault.
func StrengthOf(m interface {
	GetDelay() *durationpb.Duration
	GetJitter() *durationpb.Duration
	GetLoss() float64
	GetRate() uint64
	GetSkew() *durationpb.Duration
},
) Strength {
	return Strength{
		Delay: m.GetDelay().AsDuration(), Jitter: m.GetJitter().AsDuration(), Loss: m.GetLoss(), Rate: m.GetRate(),
		Skew: m.GetSkew().AsDuration(),
	}
}

// Check tells why a fault of the kind cannot be that bad.
func (s Strength) Check(k Kind) error {
	own := Strength{}
	switch k {
	case Delay:
		own.Delay, own.Jitter = s.Delay, s.Jitter
		switch {
		case s.Delay < MinDelay || s.Delay > MaxDelay:
			return fmt.Errorf("a delay of %s; give one from %s to %s", s.Delay, MinDelay, MaxDelay)
		case s.Jitter < 0 || s.Jitter > s.Delay:
			return fmt.Errorf("a jitter of %s; give one from 0 to the delay, %s", s.Jitter, s.Delay)
		}
	case Loss:
		own.Loss = s.Loss
		if !(s.Loss > 0 && s.Loss <= 1) { // also what is no number
			return fmt.Errorf("a loss of %s; give one above 0 %%, up to 100 %%", percent(s.Loss))
		}
	case Bandwidth:
		own.Rate = s.Rate
		if s.Rate < MinRate || s.Rate > MaxRate {
			return fmt.Errorf("a rate of %s; give one from %s to %s", rate(s.Rate), rate(MinRate), rate(MaxRate))
		}
	case Skew:
		own.Skew = s.Skew
		if abs := max(s.Skew, -s.Skew); abs < MinSkew || abs > MaxSkew { // the least number there is, is its own opposite
			return fmt.Errorf("a skew of %s; give one from %s to %s, ahead or behind", s.Skew, MinSkew, MaxSkew)
		}
	}
	if s != own {
		return errors.New(string(k) + " knows no " + strings.Join(s.words(k), ", no "))
	}
	return nil
}

// Tell writes it into a request.
func (s Strength) Tell(r *agentv1.InjectRequest) {
	length := func(d time.Duration) *durationpb.Duration {
		if d == 0 {
			return nil
		}
		return durationpb.New(d)
	}
	r.Delay, r.Jitter, r.Loss, r.Rate, r.Skew = length(s.Delay), length(s.Jitter), s.Loss, s.Rate, length(s.Skew)
}

// words names what is set and is not the kind's.
func (s Strength) words(k Kind) []string {
	var names []string
	for _, w := range []struct {
		set  bool
		kind Kind
		name string
	}{
		{s.Delay != 0, Delay, "delay"},
		{s.Jitter != 0, Delay, "jitter"},
		{s.Loss != 0, Loss, "loss"},
		{s.Rate != 0, Bandwidth, "rate"},
		{s.Skew != 0, Skew, "skew"},
	} {
		if w.set && w.kind != k {
			names = append(names, w.name)
		}
	}
	return names
}

// Text says what a fault is: "stop redis01", "partition from worker01, store", "delay frontend01 by 200ms ± 50ms", "skew by -5s".
func Text(k Kind, container string, peers []string, s Strength) string {
	text := string(k)
	if container != "" {
		text += " " + container
	}
	if len(peers) > 0 {
		text += " from " + strings.Join(peers, ", ")
	}
	switch k {
	case Delay:
		text += " by " + s.Delay.String()
		if s.Jitter > 0 {
			text += " ± " + s.Jitter.String()
		}
	case Loss:
		text += " " + percent(s.Loss)
	case Bandwidth:
		text += " " + rate(s.Rate)
	case Skew:
		text += " by " + s.Skew.String()
	}
	return text
}

// TextOf says what the fault is of which the protocol tells.
func TextOf(f *agentv1.Fault) string {
	return Text(Kind(f.GetKind()), f.GetContainer(), f.GetPeers(), StrengthOf(f))
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'g', 4, 64) + " %" }

// rate says bytes a second in the largest unit of which there is one.
func rate(bytes uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if bytes >= unit.size {
			return strconv.FormatFloat(float64(bytes)/float64(unit.size), 'g', 4, 64) + " " + unit.name + "/s"
		}
	}
	return strconv.FormatUint(bytes, 10) + " B/s"
}
