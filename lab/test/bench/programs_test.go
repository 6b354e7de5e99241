//go:build bench

package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/agents/roles/interlock/haproxy"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
)

const (
	haproxyImage = "haproxy:3.0"
	// patience bounds every wait for something to start, stop or become empty. It costs only where something is broken.
	patience = 10 * time.Minute
)

// root is the module's folder, seen from this package's.
const root = "../../.."

// build builds all programs once, as the lab's images are built, and returns their folder. Go names a program after its
// folder.
var build = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", programs+"/",
		"./lab/votingapp/cmd/web-vote-app", "./lab/votingapp/cmd/vote-worker", "./lab/votingapp/cmd/results-app",
		"./lab/test/bench/nullweb", "./lab/test/bench/noop", "./lab/test/bench/seedstyle/web", "./lab/test/bench/seedstyle/worker")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w: %s", err, out)
	}
	for _, name := range []string{"web", "worker"} {
		if err := os.Rename(filepath.Join(programs, name), filepath.Join(programs, "seedstyle-"+name)); err != nil {
			return "", err
		}
	}
	return programs, nil
})

// secrets writes the files that programs read their secrets from, and returns the settings that name them.
func secrets(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	var env []string
	for variable, secret := range map[string]string{
		"REDIS_PASSWORD_FILE": testservices.Password, "POSTGRES_PASSWORD_FILE": testservices.Password, "VOTER_KEY_FILE": strings.Repeat("5", 64),
	} {
		path := filepath.Join(dir, variable)
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, variable+"="+path)
	}
	return env
}

// program is one of ours, running.
type program struct {
	cmd *exec.Cmd
	// addr is where it serves HTTP.
	addr string
}

// start starts a program that serves HTTP at the address in the setting named listen, and waits until it is healthy.
func start(t *testing.T, name, listen string, env ...string) *program {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.Command(filepath.Join(dir, name)), addr: freeAddr(t)}
	p.cmd.SysProcAttr = dieTogether
	p.cmd.Env = append(append(os.Environ(), env...), listen+"="+p.addr)
	log := &bytes.Buffer{}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s:\n%.4000s", name, log)
		}
	})
	healthy(t, name, p.addr)
	return p
}

// healthy waits until /healthz says so.
func healthy(t *testing.T, name, addr string) {
	t.Helper()
	eventually(t, name, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("/healthz: %s", resp.Status)
		}
		return nil
	})
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// balancer is a HAProxy.
type balancer struct {
	addr string
	pid  int
}

// startHAProxy starts HAProxy with the lab's own configuration.
func startHAProxy(t *testing.T, servers ...*program) *balancer {
	t.Helper()
	b := &balancer{addr: freeAddr(t)}
	var list []haproxy.Server
	for i, p := range servers {
		addr, err := netip.ParseAddrPort(p.addr)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, haproxy.Server{Name: fmt.Sprintf("frontend%02d", i+1), Address: addr})
	}
	config, err := balancerConfig(b.addr, haproxy.MachineTimes(), list)
	if err != nil {
		t.Fatal(err)
	}
	// The container's user is not this one.
	files := t.TempDir()
	for path, content := range map[string]string{"haproxy.cfg": config, haproxyPage: haproxy.Unavailable()} {
		if err := os.WriteFile(filepath.Join(files, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path := files; path != filepath.Dir(os.TempDir()) && path != os.TempDir(); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	docker := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("docker", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	id := docker("run", "-d", "--label", testservices.Label, "--network", "host", "-v", files+":"+haproxyDir+":ro", haproxyImage)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("haproxy:\n%s", docker("logs", "--tail", "20", id))
		}
		docker("rm", "-f", "-v", id)
	})
	if b.pid, err = strconv.Atoi(docker("inspect", "-f", "{{.State.Pid}}", id)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "HAProxy", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", b.addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	healthy(t, "HAProxy with its servers", b.addr)
	return b
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // only its number is wanted
	return l.Addr().String()
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not after %v: %v", what, patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
