//go:build long

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
)

func TestRedisGoesAndComesAgainAndAgain(t *testing.T) { redisGoesAndComes(t, 3) }

// Ten thousand connections cost bounded memory, and those who are slow on purpose are cut off, which takes as long as the limits of a request.
func TestTenThousandConnections(t *testing.T) {
	// residentLimit bounds the memory of the whole process, in bytes: what the Go runtime is held to (service), and a quarter more for what
	// it cannot hold itself to.
	const residentLimit = 320 << 20
	redis := testservices.StartRedis(t)
	// The race detector stays out of it: memory is what this is about.
	a := startProgram(t, buildApp(t), redis)
	manyConnections(t, a, redis, 10_000, func(slow []net.Conn) {
		if used := resident(t, a.cmd.Process.Pid); used > residentLimit {
			t.Errorf("the process uses %d MiB, more than %d", used>>20, residentLimit>>20)
		} else {
			t.Logf("the process uses %d MiB", used>>20)
		}
		for _, conn := range slow {
			if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("a slow connection is kept for ever")
			}
		}
	})
}

// buildApp builds the program without the race detector, as `make build` does, with which it shares what is compiled.
func buildApp(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "web-vote-app")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return program
}

// resident is the memory of a process in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this system does not tell how much memory a process uses")
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	kib, err := strconv.Atoi(strings.TrimSpace(string(line)))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
