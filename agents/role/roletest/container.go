package roletest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RunBeside lets n tests of a package that call t.Parallel run at a time, however few processors there are: tests that wait for containers
// and the like most of the time. It is for TestMain; who runs the tests with -parallel is obeyed.
func RunBeside(n int) {
	const name = "test.parallel"
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == name })
	if !told {
		_ = flag.Set(name, strconv.Itoa(n))
	}
}

// Container is a real one, removed with the test.
type Container struct {
	Name string

	removed bool
}

// Patience bounds each wait of a test, and each command to the engine. It is there to end a test that is red: what takes a moment on an idle
// machine takes many on a busy one.
const Patience = 3 * time.Minute

// Start runs a container of an image that the engine of this machine has, with the given arguments between `docker run -d` and the image,
// and command after it. Without engine or image the test is skipped with the reason, or fails if LAB_REQUIRE_SERVICES is 1. With -short it is skipped.
func Start(t testing.TB, image string, args []string, command ...string) *Container {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it needs a container of " + image)
	}
	if _, err := docker(t, "image", "inspect", "--format", "{{.Id}}", image); err != nil {
		message := fmt.Sprintf("no container of %s to test with: %v", image, err)
		if os.Getenv("LAB_REQUIRE_SERVICES") == "1" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	c := &Container{Name: "roles-test-" + hex.EncodeToString(random)}
	t.Cleanup(func() {
		if c.removed {
			return
		}
		if out, err := docker(t, "logs", "--tail", "50", c.Name); err == nil && t.Failed() {
			t.Logf("the last lines of %s:\n%s", c.Name, out)
		}
		if _, err := docker(t, "rm", "-f", "-v", c.Name); err != nil {
			t.Error(err)
		}
	})
	run := append([]string{"run", "-d", "--name", c.Name}, args...)
	if _, err := docker(t, append(append(run, image), command...)...); err != nil {
		t.Fatal(err)
	}
	return c
}

// Signal sends a signal to the container's main process.
func (c *Container) Signal(t testing.TB, name string) { c.do(t, "kill", "--signal", name, c.Name) }

// Logs returns what the container has written so far.
func (c *Container) Logs(t testing.TB) string {
	t.Helper()
	out, err := docker(t, "logs", c.Name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Stop stops the container.
func (c *Container) Stop(t testing.TB) { c.do(t, "stop", c.Name) }

// Start starts it again after a Stop.
func (c *Container) Start(t testing.TB) { c.do(t, "start", c.Name) }

// Pause freezes the container.
func (c *Container) Pause(t testing.TB) { c.do(t, "pause", c.Name) }

// Unpause thaws it.
func (c *Container) Unpause(t testing.TB) { c.do(t, "unpause", c.Name) }

// Remove removes the container and the data in it.
func (c *Container) Remove(t testing.TB) {
	c.do(t, "rm", "-f", "-v", c.Name)
	c.removed = true
}

// Address is where a published port of the container is reached.
func (c *Container) Address(t testing.TB, port int) string {
	t.Helper()
	out, err := docker(t, "port", c.Name, fmt.Sprintf("%d/tcp", port))
	if err != nil {
		t.Fatal(err)
	}
	address, _, _ := strings.Cut(out, "\n")
	return address
}

func (c *Container) do(t testing.TB, args ...string) {
	t.Helper()
	if _, err := docker(t, args...); err != nil {
		t.Fatal(err)
	}
}

// HostAddress is this machine as containers on the engine's bridge see it, given that the engine runs on this machine.
func HostAddress(t testing.TB) string {
	t.Helper()
	out, err := docker(t, "network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}}{{end}}", "bridge")
	if err != nil {
		t.Skip(err)
	}
	for field := range strings.FieldsSeq(out) {
		if addr, err := netip.ParseAddr(field); err == nil {
			return addr.String()
		}
		// Not every engine names the gateway of its bridge; it is the first address.
		if prefix, err := netip.ParsePrefix(field); err == nil {
			return prefix.Masked().Addr().Next().String()
		}
	}
	t.Fatalf("the engine's bridge has no subnet: %q", out)
	return ""
}

// FreePort is an address on the loopback interface that was free a moment ago, for a container that must keep its port over a restart.
func FreePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Eventually waits until ok, and returns how long that took. It fails the test with what when it takes longer than Patience.
func Eventually(t testing.TB, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > Patience {
			t.Fatalf("not within %v: %s", Patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

// docker returns what the command prints. Not bound to the test's context: it also cleans up.
func docker(t testing.TB, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), Patience)
	defer cancel()
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if args[0] == "logs" {
		cmd.Stderr = &out
	}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}
