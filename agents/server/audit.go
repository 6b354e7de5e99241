package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Phases of an audited call.
const (
	PhaseBegin   = "begin"
	PhaseEnd     = "end"
	PhaseRefused = "refused"
)

// Record is one line of the audit log.
type Record struct {
	At      time.Time       `json:"at"`
	Phase   string          `json:"phase"`
	Caller  string          `json:"caller"`
	Address string          `json:"address"`
	Method  string          `json:"method"`
	Request json.RawMessage `json:"request,omitempty"`
	Code    string          `json:"code,omitempty"`
	Error   string          `json:"error,omitempty"`
	Took    string          `json:"took,omitempty"`
}

// Audit is an append-only log of JSON lines. When it has grown to its limit it is renamed to NAME.1, replacing the one
// before, so that both together stay below twice the limit. It is safe for concurrent use.
type Audit struct {
	path  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
}

// OpenAudit opens or creates an audit log; limit is in bytes.
func OpenAudit(path string, limit int64) (*Audit, error) {
	a := &Audit{path: path, limit: limit}
	if err := a.open(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Audit) open() error {
	file, err := os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the audit log: %w", err), file.Close())
	}
	a.file, a.size = file, info.Size()
	return nil
}

// Write appends a record.
func (a *Audit) Write(r Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	line = append(line, '\n')
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		if err := a.open(); err != nil {
			return err
		}
	}
	if a.size > 0 && a.size+int64(len(line)) > a.limit {
		if err := a.rotate(); err != nil {
			return err
		}
	}
	n, err := a.file.Write(line)
	a.size += int64(n)
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

func (a *Audit) rotate() error {
	err := a.file.Close()
	a.file = nil
	if err == nil {
		err = os.Rename(a.path, a.path+".1")
	}
	if err != nil {
		return fmt.Errorf("rotate the audit log: %w", err)
	}
	return a.open()
}

// Close closes the log.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	err := a.file.Close()
	a.file = nil
	return err
}
