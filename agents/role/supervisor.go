package role

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// DefaultDir is where the role plugins are installed on a node.
const DefaultDir = "/usr/local/lib/swarmlab/roles"

const (
	// A plugin that lived that long is launched anew at once when it dies, else after the back-off.
	steady = time.Minute
)

var (
	// startTimeout is the default of Config.StartTimeout.
	startTimeout = timescale.Scale(10 * time.Second)
	// Every pulse the plugin is asked for its description; one that is silent twice in a row for pulseTimeout is replaced: it is frozen.
	pulse        = timescale.Scale(15 * time.Second)
	pulseTimeout = timescale.Scale(5 * time.Second)
)

// Config says which plugin to supervise.
type Config struct {
	// Name of the role, as in vagrant/topology.yaml. The binary is Dir/role-NAME.
	Name string
	// Dir defaults to DefaultDir.
	Dir string
	// Logger receives the plugin's log lines too; nil: slog.Default().
	Logger *slog.Logger

	// StartTimeout is what a plugin has to shake hands, and then to say what it is; 0 means 10 s.
	StartTimeout time.Duration

	// Set by tests only; the zero values mean the constants above.
	pulse, pulseTimeout time.Duration
	backOff             func() backoff.BackOff
}

// Supervisor keeps one role plugin running: it launches it, launches it anew when it ends or freezes, and passes calls on. It
// implements [Role]; a call while there is no plugin process returns at once with an error that is [ErrNotRunning] and says why there is none.
type Supervisor struct {
	cfg     Config
	path    string
	changed chan struct{}
	cancel  context.CancelFunc
	ended   chan struct{}

	mu       sync.Mutex
	status   Status
	role     Role // nil while there is no plugin
	launched bool // a launch has worked
}

var _ Role = (*Supervisor)(nil)

// Status is what is known of the plugin.
type Status struct {
	Name    string
	Version string
	Summary string
	// Running: the process has been launched, has said what it is, and has not ended.
	Running bool
	// PID is 0 while there is no process.
	PID int
	// Respawns counts launches after the first that worked.
	Respawns int64
	// Err says why the plugin is not running; nil while it is.
	Err error
	// Since is the time of the last change of Running.
	Since time.Time
}

// Supervise starts to keep the plugin running, in the background, until Close.
func Supervise(cfg Config) *Supervisor {
	if cfg.Dir == "" {
		cfg.Dir = DefaultDir
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = startTimeout
	}
	if cfg.pulse == 0 {
		cfg.pulse, cfg.pulseTimeout = pulse, pulseTimeout
	}
	if cfg.backOff == nil {
		cfg.backOff = func() backoff.BackOff {
			b := backoff.NewExponentialBackOff()
			b.InitialInterval, b.Multiplier, b.MaxInterval = timescale.Scale(200*time.Millisecond), 2, timescale.Scale(10*time.Second)
			return b
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Supervisor{
		cfg:     cfg,
		path:    filepath.Join(cfg.Dir, "role-"+cfg.Name),
		changed: make(chan struct{}, 1),
		cancel:  cancel,
		ended:   make(chan struct{}),
		status:  Status{Name: cfg.Name, Since: time.Now(), Err: errors.New("it is being launched")},
	}
	go s.run(ctx)
	return s
}

// Close ends the plugin and waits until its process is gone.
func (s *Supervisor) Close() {
	s.cancel()
	<-s.ended
}

// Status returns what is known of the plugin now.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Changed receives after each change of Status; changes nobody took yet are one. It is for one receiver.
func (s *Supervisor) Changed() <-chan struct{} { return s.changed }

// Describe implements [Role].
func (s *Supervisor) Describe(ctx context.Context) (*Description, error) {
	return call(s, "describe", func(r Role) (*Description, error) { return r.Describe(ctx) })
}

// Plan implements [Role]. A plan that it returns is valid, see [Validate].
func (s *Supervisor) Plan(ctx context.Context, facts *Facts) (*Plan, error) {
	return call(s, "plan", func(r Role) (*Plan, error) {
		plan, err := r.Plan(ctx, facts)
		if err != nil {
			return nil, err
		}
		if err := Validate(plan); err != nil {
			return nil, fmt.Errorf("the plan makes no sense:\n%w", err)
		}
		return plan, nil
	})
}

// Check implements [Role].
func (s *Supervisor) Check(ctx context.Context, facts *Facts, secretsDir string) (*Health, error) {
	return call(s, "check", func(r Role) (*Health, error) { return r.Check(ctx, facts, secretsDir) })
}

func call[T any](s *Supervisor, what string, f func(Role) (T, error)) (T, error) {
	s.mu.Lock()
	r, why := s.role, s.status.Err
	s.mu.Unlock()
	if r == nil {
		var none T
		return none, fmt.Errorf("%s role %s: %w: %w", what, s.cfg.Name, ErrNotRunning, why)
	}
	answer, err := f(r)
	if err != nil {
		return answer, fmt.Errorf("%s role %s: %w", what, s.cfg.Name, err)
	}
	return answer, nil
}

func (s *Supervisor) run(ctx context.Context) {
	defer close(s.ended)
	wait := s.cfg.backOff()
	for {
		began := time.Now()
		err := s.life(ctx)
		s.set(func(st *Status) { st.Running, st.PID, st.Err = false, 0, err }, nil)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		s.cfg.Logger.Error("role plugin is not running", "role", s.cfg.Name, "error", err, "retry_in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// life is one plugin process from launch to end. It returns why the process ended, and never leaves one behind.
func (s *Supervisor) life(ctx context.Context) error {
	p, err := launch(s.path, s.cfg.StartTimeout, s.cfg.Logger.With("role", s.cfg.Name))
	if err != nil {
		return err
	}
	defer p.end()

	first, cancel := context.WithTimeout(ctx, s.cfg.StartTimeout)
	d, err := p.role.Describe(first)
	cancel()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case p.gone():
		return p.obituary()
	case err != nil:
		return fmt.Errorf("%s was launched, but does not say what it is: %w", s.path, err)
	case d.GetName() != s.cfg.Name:
		return fmt.Errorf("%s says that it is role %q: install it as role-%s, or build the right one", s.path, d.GetName(), d.GetName())
	}
	s.set(func(st *Status) {
		if s.launched {
			st.Respawns++
		}
		s.launched = true
		st.Version, st.Summary, st.Running, st.PID, st.Err = d.GetVersion(), d.GetSummary(), true, p.pid(), nil
	}, p.role)
	s.cfg.Logger.Info("role plugin runs", "role", s.cfg.Name, "version", d.GetVersion(), "pid", p.pid())
	return s.watch(ctx, p)
}

// watch returns when the process has ended, is frozen, or ctx has ended.
func (s *Supervisor) watch(ctx context.Context, p *process) error {
	tick := time.NewTicker(s.cfg.pulse)
	defer tick.Stop()
	silent := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.role.done:
			return p.obituary()
		case <-tick.C:
		}
		once, cancel := context.WithTimeout(ctx, s.cfg.pulseTimeout)
		_, err := p.role.Describe(once)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			silent = 0
			continue
		}
		if silent++; silent == 2 {
			return fmt.Errorf("%s (pid %d) was frozen: it left two calls unanswered for %v each; it is replaced", s.path, p.pid(), s.cfg.pulseTimeout)
		}
	}
}

// set changes the status and tells who listens.
func (s *Supervisor) set(change func(*Status), r Role) {
	s.mu.Lock()
	was := s.status.Running
	change(&s.status)
	s.role = r
	if s.status.Running != was {
		s.status.Since = time.Now()
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
