// Package skew is a clock that can be made wrong: the machine's, and an offset that stands in a file. It is for labs whose nodes share one
// clock, which nobody may set, and where a program is to be seen to do its job by a wrong one all the same.
//
// It must not know who writes the file, or what the clock is for.
package skew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// Most is how far off the clock can be, ahead or behind.
	Most = time.Hour
	// Interval is how often the file is read.
	Interval = time.Second
	// most is how many bytes of the file are read: more is no offset.
	most = 64
)

// Clock is safe for concurrent use.
type Clock struct {
	path   string
	log    *slog.Logger
	offset atomic.Int64 // nanoseconds
	// complaint is the last one, so that it is made once.
	complaint string
}

// New makes a clock that is right until Run has read the file.
func New(path string, log *slog.Logger) *Clock { return &Clock{path: path, log: log} }

// Now is the time by this clock.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Run follows the file until the context ends.
func (c *Clock) Run(ctx context.Context) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		c.read()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// read takes what the file says. Without a file, or with one that says no offset, the clock is right.
func (c *Clock) read() {
	offset, err := readFile(c.path)
	complaint := ""
	if err != nil {
		complaint = err.Error()
	}
	if complaint != "" && complaint != c.complaint {
		c.log.Error("the clock's offset is not what it should be; the clock is right", "error", err)
	}
	c.complaint = complaint
	if before := time.Duration(c.offset.Swap(int64(offset))); before != offset {
		c.log.Warn("this program's clock is set", "offset", offset.String(), "before", before.String())
	}
}

func readFile(path string) (time.Duration, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return 0, err
	}
	return parse(string(text))
}

// parse reads an offset, as "-5s" or "1m30s".
func parse(text string) (time.Duration, error) {
	offset, err := time.ParseDuration(strings.TrimSpace(text))
	switch {
	case len(text) > most || err != nil:
		return 0, fmt.Errorf("%.*q is no offset, as -5s", most, text)
	case offset < -Most || offset > Most:
		return 0, fmt.Errorf("an offset of %s; it may be %s, ahead or behind", offset, Most)
	}
	return offset, nil
}
