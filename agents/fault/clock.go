package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swarmlab/swarmlab/agents/common/durable"
)

// Reading is what a clock shows.
type Reading struct {
	// Boot is the kernel's id of the life in which it was read.
	Boot string `json:"boot,omitempty"`
	// Ahead is the clock's time since 1970 less the machine's since boot, which no setting of a clock changes.
	Ahead time.Duration `json:"ahead,omitempty"`
}

// Clock is what tells the time on a node.
type Clock interface {
	// Ready returns ErrRefused, with the reason, where it cannot be set.
	Ready(ctx context.Context) error
	Read(ctx context.Context) (Reading, error)
	// Skew sets it that much ahead of what was right, and keeps others from setting it right.
	Skew(ctx context.Context, right Reading, by time.Duration) error
	// Right sets it right again.
	Right(ctx context.Context, right Reading) error
	// Check tells what is wrong with it.
	Check(ctx context.Context, right Reading) error
}

// clockTolerance is by how much a clock may differ from what it should show.
const clockTolerance = 500 * time.Millisecond

type skew struct{ *Deps }

func (s skew) prepare(ctx context.Context, _ Spec) (Before, error) {
	if err := s.Clock.Ready(ctx); err != nil {
		return Before{}, err
	}
	now, err := s.Clock.Read(ctx)
	return Before{Clock: now}, err
}

func (s skew) inject(ctx context.Context, r Record) error {
	return s.Clock.Skew(ctx, r.Before.Clock, r.Spec.Skew)
}

func (s skew) observe(ctx context.Context, r Record) (string, error) {
	now, err := s.Clock.Read(ctx)
	if err != nil {
		return "", err
	}
	off := now.Ahead - r.Before.Clock.Ahead
	if wrong := off - r.Spec.Skew; wrong < -clockTolerance || wrong > clockTolerance {
		return "", fmt.Errorf("the clock is off by %s", off.Round(time.Millisecond))
	}
	return fmt.Sprintf("the clock is off by %+.3f s", off.Seconds()), nil
}

func (s skew) revert(ctx context.Context, r Record) error { return s.Clock.Right(ctx, r.Before.Clock) }

func (s skew) verifyReverted(ctx context.Context, r Record) error {
	return s.Clock.Check(ctx, r.Before.Clock)
}

// differs tells by how much a clock is wrong, if it is; two lives of a machine cannot be compared.
func (r Reading) differs(right Reading) error {
	off := r.Ahead - right.Ahead
	if r.Boot != right.Boot || max(off, -off) <= clockTolerance {
		return nil
	}
	return fmt.Errorf("the clock is off by %s", off.Round(time.Millisecond))
}

// SystemClock is the Clock of a machine that has its own, which chrony keeps right.
type SystemClock struct {
	Units Units
	// Chrony is its unit. It steps a clock that is off by more than half a second at any time (vagrant/provision/chrony.sh).
	Chrony string
	// Synchronised reports whether chrony says that the clock is right.
	Synchronised func(ctx context.Context) bool
}

var _ Clock = SystemClock{}

// Ready wants a chrony that sets the clock right in the end, whatever happens here.
func (c SystemClock) Ready(ctx context.Context) error {
	runs, err := c.kept(ctx)
	if err == nil && !runs {
		err = fmt.Errorf("%w: %s, which is to set the clock right again, does not run", ErrRefused, c.Chrony)
	}
	return err
}

// kept reports whether chrony keeps the clock.
func (c SystemClock) kept(ctx context.Context) (bool, error) {
	pid, err := c.Units.MainPID(ctx, c.Chrony)
	return pid != 0, err
}

// Read asks the kernel.
func (c SystemClock) Read(context.Context) (Reading, error) {
	before, err := Now()
	if err != nil {
		return Reading{}, err
	}
	wall := time.Now()
	after, err := Now()
	return Reading{Boot: before.Boot, Ahead: time.Duration(wall.UnixNano()) - (before.At+after.At)/2}, err
}

// Skew stops chrony and sets the kernel's clock.
func (c SystemClock) Skew(ctx context.Context, right Reading, by time.Duration) error {
	if err := c.Units.Stop(ctx, c.Chrony); err != nil {
		return err
	}
	return c.set(ctx, Reading{Boot: right.Boot, Ahead: right.Ahead + by})
}

// set steps the clock by what it differs from what it is to show.
func (c SystemClock) set(ctx context.Context, to Reading) error {
	now, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if now.Boot != to.Boot {
		return nil // set anew when the machine came up
	}
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &t); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	t = unix.NsecToTimespec(t.Nano() + int64(to.Ahead-now.Ahead))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &t); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// Right steps the clock back and starts chrony. Where that runs it has the last word already.
func (c SystemClock) Right(ctx context.Context, right Reading) error {
	runs, err := c.kept(ctx)
	if err != nil || runs {
		return err
	}
	if err := c.set(ctx, right); err != nil {
		return err
	}
	return c.Units.Start(ctx, c.Chrony)
}

// Check wants chrony to run, and the clock to be as it was, unless chrony knows better.
func (c SystemClock) Check(ctx context.Context, right Reading) error {
	runs, err := c.kept(ctx)
	if err != nil {
		return err
	}
	if !runs {
		return fmt.Errorf("%s does not run", c.Chrony)
	}
	now, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if err := now.differs(right); err != nil && !c.Synchronised(ctx) {
		return err
	}
	return nil
}

// OffsetClock is the Clock of a node that has its host's, which no fault may touch: a file says by how much it is to be off, and a container
// that reads the file tells its time.
type OffsetClock struct {
	// Folder with the file, which containers mount.
	Folder string
	// URL is where a container that runs, and has the folder, tells its time, in RFC 3339; empty: there is none.
	URL func() string
	// Patience is what a reading may take; 0 means 2 s.
	Patience time.Duration
}

var _ Clock = OffsetClock{}

const (
	offsetFile = "offset"
	// askTimeout is the default of OffsetClock.Patience. An answer has askMost bytes.
	askTimeout = 2 * time.Second
	askMost    = 100
)

func (c OffsetClock) path() string { return filepath.Join(c.Folder, offsetFile) }

// Ready wants a container that reads the file.
func (c OffsetClock) Ready(context.Context) error {
	if c.URL() == "" {
		return fmt.Errorf("%w: the clock of this node is its host's, and no container here goes by one that can be set: those of frontends do, "+
			"unless they were started manually, and virtual machines have clocks of their own", ErrRefused)
	}
	return nil
}

// Read asks the container, until an answer comes soon enough to tell the time by it.
func (c OffsetClock) Read(ctx context.Context) (Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Patience, askTimeout))
	defer cancel()
	for {
		before, err := Now()
		if err != nil {
			return Reading{}, err
		}
		shows, err := ask(ctx, c.URL())
		if err != nil {
			return Reading{}, fmt.Errorf("ask the container for its time: %w", err)
		}
		after, err := Now()
		if err != nil {
			return Reading{}, err
		}
		// The reading is wrong by half of that at most, and two are compared.
		if after.At-before.At <= clockTolerance {
			return Reading{Boot: before.Boot, Ahead: time.Duration(shows.UnixNano()) - (before.At+after.At)/2}, nil
		}
	}
}

func ask(ctx context.Context, url string) (time.Time, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return time.Time{}, err
	}
	// Not through a proxy of the environment: the container is on this node.
	// A connection of its own: a container that was started anew is asked as any other.
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return time.Time{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return time.Time{}, fmt.Errorf("%s: %s", url, response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, askMost))
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text)))
}

// Skew writes the file.
func (c OffsetClock) Skew(_ context.Context, _ Reading, by time.Duration) error {
	if err := durable.Replace(c.path(), []byte(by.String()+"\n"), 0o444); err != nil {
		return fmt.Errorf("write the clock's offset: %w", err)
	}
	return nil
}

// Right removes the file.
func (c OffsetClock) Right(context.Context, Reading) error {
	if err := os.Remove(c.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the clock's offset: %w", err)
	}
	return nil
}

// Check wants the file to be gone, and the container to have noticed if there is one.
func (c OffsetClock) Check(ctx context.Context, right Reading) error {
	if _, err := os.Stat(c.path()); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errors.New("the clock's offset is still there"), err)
	}
	if c.URL() == "" {
		return nil
	}
	now, err := c.Read(ctx)
	if err != nil {
		return err
	}
	return now.differs(right)
}
