package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/durable"
	"github.com/swarmlab/swarmlab/agents/manualstop"
)

// record is what the agent remembers over its own end.
type record struct {
	// Stage is empty until somebody has set one.
	Stage string `json:"stage,omitempty"`
	// Retired: the node has been taken out of service and does nothing until it is given a stage again.
	Retired bool `json:"retired,omitempty"`
	// Seen is the time of the last engine event that was taken note of.
	Seen  time.Time         `json:"events_seen"`
	Hands manualstop.Record `json:"hands"`
}

// state keeps the record on disk. It is safe for concurrent use.
type state struct {
	path string

	mu     sync.Mutex
	record record
	dirty  bool
}

// openState reads the record. A damaged one is an error and not an empty one: a node that forgets which containers a
// learner stopped would start them.
func openState(path string) (*state, error) {
	s := &state{path: path}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the agent's state: %w", err)
	}
	if err := json.Unmarshal(content, &s.record); err != nil {
		return nil, fmt.Errorf("the agent's state %s is damaged: %w; remove the file, and the node starts afresh", path, err)
	}
	return s, nil
}

func (s *state) get() record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// update changes the record and has it on disk when it returns.
func (s *state) update(change func(*record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.record)
	return s.write()
}

// note changes the record; flush writes it.
func (s *state) note(change func(*record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.record)
	s.dirty = true
}

func (s *state) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	return s.write()
}

func (s *state) write() error {
	content, err := json.Marshal(s.record)
	if err == nil {
		err = durable.Replace(s.path, content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the agent's state: %w", err)
	}
	s.dirty = false
	return nil
}
