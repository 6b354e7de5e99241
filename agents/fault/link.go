package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
)

// Links are the network links of containers: all that leave the container, be it to the lab's network or to its node. A container is named
// by the number of a process within it.
type Links interface {
	// Can tries a fault in a network of its own, which goes with the attempt. An error says why the kernel does not take it.
	Can(ctx context.Context, s Spec) error
	// Began tells when a process began, in the kernel's ticks since boot; fs.ErrNotExist: there is no such process.
	Began(pid int) (uint64, error)
	// Impair brings the fault about. One of that name is replaced.
	Impair(ctx context.Context, pid int, name string, s Spec) error
	// Unblock removes it; none of that name is fine.
	Restore(ctx context.Context, pid int, name string) error
	// Try has so many small packets come from the node and go back, or not, as the fault will have it.
	Try(ctx context.Context, pid, packets int) error
	// Look asks the kernel what there is of the fault.
	Look(ctx context.Context, pid int, name string) (Impaired, error)
}

// Impaired is what the kernel says of a fault of links.
type Impaired struct {
	// Links by name, without those of the container to itself.
	Links []string
	// Queues that hold back what is sent.
	Queues []Queue
	// Filtered: packets are looked at. Met is how many were so far, Dropped how many of them were dropped.
	Filtered     bool
	Met, Dropped int64
}

// Queue is what a link's packets wait in.
type Queue struct {
	Link          string
	Delay, Jitter time.Duration
	Rate          uint64 // bytes a second
	// Packets that it took in.
	Packets int64
}

// link is what all faults of a container's links have in common. They last as long as the container's network does: a container that was
// started anew has another one, which nothing is wrong with.
type link struct{ container }

func (l link) prepare(ctx context.Context, s Spec) (Before, error) {
	before, err := l.container.prepare(ctx, s)
	if err != nil {
		return before, err
	}
	if err := l.Links.Can(ctx, s); err != nil {
		return before, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if before.Began, err = l.Links.Began(before.PID); err != nil {
		return before, fmt.Errorf("%w: %s has just ended: %w", ErrRefused, s.Container, err)
	}
	return before, nil
}

// there reports whether the process that the fault was done to is still there, and so its network.
func (l link) there(r Record) (bool, error) {
	began, err := l.Links.Began(r.Before.PID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return began == r.Before.Began, err
}

func (l link) inject(ctx context.Context, r Record) error {
	there, err := l.there(r)
	if err == nil && !there {
		err = fmt.Errorf("%w: %s has just ended", ErrRefused, r.Spec.Container)
	}
	if err != nil {
		return err
	}
	return l.Links.Impair(ctx, r.Before.PID, r.ID, r.Spec)
}

// observe does not wait for the container to send something.
func (l link) observe(ctx context.Context, r Record) (string, error) {
	packets := few
	if r.Spec.Kind == faultkind.Loss {
		packets = many
	}
	tried := l.Links.Try(ctx, r.Before.PID, packets)
	have, err := l.Links.Look(ctx, r.Before.PID, r.ID)
	if err != nil {
		return "", err
	}
	text, err := evidence(have, r.Spec)
	if err != nil {
		err = errors.Join(err, tried)
	}
	return text, err
}

// revert needs no engine, which may be down.
func (l link) revert(ctx context.Context, r Record) error {
	there, err := l.there(r)
	if err != nil || !there {
		return err
	}
	return l.Links.Restore(ctx, r.Before.PID, r.ID)
}

func (l link) verifyReverted(ctx context.Context, r Record) error {
	there, err := l.there(r)
	if err != nil {
		return err
	}
	if there {
		have, err := l.Links.Look(ctx, r.Before.PID, r.ID)
		if err != nil {
			return err
		}
		if have.Filtered || len(have.Queues) > 0 {
			return fmt.Errorf("the links of %s are not as they were", r.Spec.Container)
		}
	}
	return l.container.verifyReverted(ctx, r)
}

// few packets show that they pass; it takes many to show that some do not.
const (
	few  = 3
	many = 100
)

// certain is how many packets are to be dropped on average before it is believed of none that it is by chance: one in 20,000.
const certain = 10

// evidence says by what the kernel counted that the fault happens; an error while it has not happened to any packet.
func evidence(have Impaired, s Spec) (string, error) {
	if len(have.Links) == 0 {
		return "", fmt.Errorf("%s has no links", s.Container)
	}
	var queued int64
	for _, name := range have.Links {
		if s.Kind == faultkind.Loss {
			continue
		}
		i := slices.IndexFunc(have.Queues, func(q Queue) bool { return q.Link == name })
		if i < 0 || !have.Queues[i].holds(s.Strength) {
			return "", fmt.Errorf("nothing holds back what %s sends on %s", s.Container, name)
		}
		queued += have.Queues[i].Packets
	}
	links := strings.Join(have.Links, " and ")
	switch {
	case s.Kind != faultkind.Delay && !have.Filtered:
		return "", errors.New("no packets are dropped")
	case s.Kind == faultkind.Delay && queued == 0, s.Kind == faultkind.Bandwidth && queued+have.Met == 0, s.Kind == faultkind.Loss && have.Met == 0:
		return "", fmt.Errorf("no packet has passed on %s", links)
	case s.Kind == faultkind.Delay:
		return fmt.Sprintf("%d packets went late so far, on %s", queued, links), nil
	case s.Kind == faultkind.Bandwidth:
		return fmt.Sprintf("%d packets went slowly so far on %s, and %d of %d that came were dropped", queued, links, have.Dropped, have.Met), nil
	case have.Dropped == 0 && float64(have.Met)*s.Loss > certain:
		return "", fmt.Errorf("%d packets have passed on %s, and none was dropped", have.Met, links)
	}
	return fmt.Sprintf("%d of %d packets were dropped so far, on %s", have.Dropped, have.Met, links), nil
}

// holds reports whether a queue does what was asked for, but for what the kernel rounds.
func (q Queue) holds(s faultkind.Strength) bool {
	const rounding = time.Microsecond
	return max(q.Delay-s.Delay, s.Delay-q.Delay) <= rounding && max(q.Jitter-s.Jitter, s.Jitter-q.Jitter) <= rounding && q.Rate == s.Rate
}

// parseBegan reads when a process began out of its /proc/PID/stat: the 22nd field; see proc(5). The second one is the program's name in
// brackets, which may hold anything.
func parseBegan(stat string) (uint64, error) {
	const after = 22 - 3
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= after {
		return 0, fmt.Errorf("%.100q is not what the kernel says of a process", stat)
	}
	began, err := strconv.ParseUint(fields[after], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.100q is not what the kernel says of a process: %w", stat, err)
	}
	return began, nil
}
