package role

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// What can be wrong with a plugin that does not come up, for callers that need to tell; the error's text says it for people.
var (
	// ErrMissing says that there is no such binary, or one that cannot be run here.
	ErrMissing = errors.New("no role plugin to launch")
	// ErrVersion says that the plugin speaks another version of the role protocol.
	ErrVersion = errors.New("role protocol versions differ")
	// ErrHandshake says that the binary runs but is no role plugin.
	ErrHandshake = errors.New("not a role plugin")
	// ErrEnded says that the process ended.
	ErrEnded = errors.New("the role plugin ended")
)

const (
	// closeGrace is what a plugin has to leave by itself when the agent stops.
	closeGrace = time.Second
	// maxMessage bounds a plan, in bytes.
	maxMessage = 4 << 20
)

// process is one launched plugin.
type process struct {
	path   string
	cmd    *exec.Cmd
	client *plugin.Client
	role   *client
	log    *lines
	// lifeline is closed with the agent, whatever way it dies; see Serve.
	lifeline *os.File
	dir      string
}

// launch starts the binary and shakes hands with it, for which it has so long. When it fails, no process is left.
func launch(path string, within time.Duration, logger *slog.Logger) (*process, error) {
	if err := runnable(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "role-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the socket of %s: %w", path, err)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("make a pipe to %s: %w", path, err)
	}
	// Nothing else of the agent's environment is a role's business (systemd's notification socket least of all).
	cmd := exec.Command(path) //nolint:noctx // the process outlives every call; end() ends it
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, lifelineEnv + "=3", timescale.Variable + "=" + os.Getenv(timescale.Variable)}
	cmd.ExtraFiles = []*os.File{theirs}
	p := &process{path: path, cmd: cmd, log: newLines(logger), lifeline: ours, dir: dir}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake(),
		VersionedPlugins: versions(nil),
		Cmd:              cmd,
		SkipHostEnv:      true,
		StartTimeout:     within,
		AutoMTLS:         true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		// go-plugin's own reading of log lines panics on some JSON: it gets none, lines does it.
		Logger:     hclog.NewNullLogger(),
		Stderr:     p.log,
		SyncStdout: newLines(logger),
		SyncStderr: newLines(logger),
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		},
	})
	_, err = p.client.Start()
	_ = theirs.Close()
	if err != nil {
		p.end()
		return nil, p.explain(err, within)
	}
	p.role, err = p.dispense()
	if err != nil {
		p.end()
		return nil, fmt.Errorf("%w: %s shook hands, then: %w", ErrHandshake, path, err)
	}
	return p, nil
}

func (p *process) dispense() (*client, error) {
	conn, err := p.client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := conn.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	return raw.(*client), nil
}

// runnable tells in words what exec would say in errno.
func runnable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist; `vagrant provision NODE` installs the lab's own roles, a workshop's role is put there as %s",
			ErrMissing, path, filepath.Base(path))
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMissing, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a file", ErrMissing, path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%w: %s is not executable: chmod 755 it", ErrMissing, path)
	}
	return nil
}

// explain says why Start failed. The process has been waited for. go-plugin has no error values for these cases, only texts.
func (p *process) explain(err error, within time.Duration) error {
	text := err.Error()
	switch {
	case p.cmd.Process == nil && errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w: %s is not a program for this machine; was it built for another architecture? %w", ErrMissing, p.path, err)
	case p.cmd.Process == nil:
		return fmt.Errorf("%w: %w", ErrMissing, err)
	case strings.HasPrefix(text, "incompatible API version"):
		return fmt.Errorf("%w: this agent speaks version %d; %s: %s; build both from the same sources", ErrVersion, Version, p.path, text)
	case strings.HasPrefix(text, "plugin exited"), strings.Contains(text, "Failed to read any lines"):
		return p.obituary()
	case strings.HasPrefix(text, "Unrecognized remote plugin message: "):
		said, _, _ := strings.Cut(strings.TrimPrefix(text, "Unrecognized remote plugin message: "), "\n")
		return fmt.Errorf("%w: %s printed %q where a handshake was due; a role's main is role.Serve(…) and nothing before it may print",
			ErrHandshake, p.path, clip(said))
	case strings.HasPrefix(text, "timeout while waiting"):
		return fmt.Errorf("%w: %s runs, but did not shake hands within %v%s", ErrHandshake, p.path, within, p.lastWords())
	}
	return fmt.Errorf("%w: %s: %w%s", ErrHandshake, p.path, err, p.lastWords())
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) gone() bool {
	select {
	case <-p.role.done:
		return true
	default:
		return false
	}
}

// obituary says how the process, which has ended, ended.
func (p *process) obituary() error {
	how := "for an unknown reason"
	if state := p.cmd.ProcessState; state != nil {
		how = state.String()
	}
	return fmt.Errorf("%w: %s (pid %d): %s%s", ErrEnded, p.path, p.pid(), how, p.lastWords())
}

func (p *process) lastWords() string {
	last := p.log.last()
	if len(last) == 0 {
		return "; it wrote nothing to standard error"
	}
	return "; its last words: " + strings.Join(last, " / ")
}

// end ends the process, if it still runs, and waits until it is gone.
func (p *process) end() {
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		p.client.Kill()
	}()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-killed:
	case <-grace.C:
		// A frozen plugin answers no goodbye, and go-plugin would wait for it.
		if p.cmd.Process != nil {
			_ = p.cmd.Process.Kill()
		}
		<-killed
	}
	_ = p.lifeline.Close()
	_ = os.RemoveAll(p.dir)
}
