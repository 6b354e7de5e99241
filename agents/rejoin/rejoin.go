// Package rejoin keeps a restarted engine from rejoining the swarm's gossip too early.
//
// An engine that dies without a goodbye and starts again joins gossip (libnetwork's networkdb, on hashicorp/memberlist)
// under a new random identity. Until its peers have declared the former identity dead, the fresh engine learns that
// identity from them, takes it for "the new incarnation of the active node <itself>" (so it says in its log) and
// strikes itself from its own member list; every attachment to an overlay network then hangs for half a minute.
// Measured on nodes made manually, until a container was on the overlay: 34 s in 8 of 10 immediate restarts (2 s in the
// others), 3 s in 8 of 8 that waited for 9 s first.
//
// The cure is to start the engine only once its peers have given its former self up. A node cannot ask for that verdict
// (the engine offers no such question), but it is bounded: memberlist probes every second and suspects for four
// (DefaultLANConfig: ProbeInterval 1 s, SuspicionMult 4), which took 4 to 7 s here. So the agent keeps a sign of life
// while the engine answers, and the engine's unit waits until Quiet has passed since the last one, unless the engine
// left cleanly: then it said goodbye and nobody remembers it.
//
// The package knows files and clocks; it must not know Docker, swarm or the agent.
package rejoin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// RejoinDelay is how long an engine that died without a goodbye stays away: the longest verdict seen (7 s) and a margin.
const RejoinDelay = 10 * time.Second

// BeatInterval is how often the sign of life is to be renewed; it bounds the error of the measured silence.
var BeatInterval = timescale.Scale(time.Second)

const (
	aliveFile = "engine-alive"
	cleanFile = "engine-left"
)

// Beat notes that the engine is alive now. Call it every BeatInterval while the engine answers.
func Beat(stateDir string) error {
	path := filepath.Join(stateDir, aliveFile)
	now := time.Now()
	err := os.Chtimes(path, now, now)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(path, nil, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note that the engine is alive: %w", err)
	}
	return nil
}

// NoteExit records how the engine ended; clean means that it shut down in order and so left gossip.
func NoteExit(stateDir string, clean bool) error {
	path := filepath.Join(stateDir, cleanFile)
	var err error
	if clean {
		err = os.WriteFile(path, nil, 0o600)
	} else if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("note how the engine ended: %w", err)
	}
	return nil
}

// Await returns once the engine may start: at once when it never ran here or left cleanly, otherwise when Quiet has
// passed since its last sign of life. It uses the clean exit up: an engine that dies from now on did not leave cleanly.
func Await(ctx context.Context, stateDir string) error {
	wait, err := pending(stateDir, time.Now())
	if err != nil {
		return err
	}
	if err := NoteExit(stateDir, false); err != nil {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// pending returns how long the engine must still stay away at the given time: 0 to Quiet.
func pending(stateDir string, now time.Time) (time.Duration, error) {
	alive, err := os.Stat(filepath.Join(stateDir, aliveFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the engine's last sign of life: %w", err)
	}
	_, err = os.Stat(filepath.Join(stateDir, cleanFile))
	if err == nil {
		return 0, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("read how the engine ended: %w", err)
	}
	// The clock may have been set between the two lives: never wait longer than a sane clock would have it.
	silence := max(now.Sub(alive.ModTime()), 0)
	return max(RejoinDelay-silence, 0), nil
}
