//go:build bench

package bench

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tick is the unit of times in /proc/PID/stat, USER_HZ: 1/100 s on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// dieTogether is for programs that would outlive an interrupted benchmark.
var dieTogether = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

// cpu is the processor time that processes have used so far, their children's included.
func cpu(t *testing.T, pids ...int) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if os.IsNotExist(err) { // a child that has ended is part of its parent's figure
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		// The second field is a name in parentheses, which may hold anything; see proc(5).
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime, counted from the third field
			n, err := strconv.ParseInt(fields[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(n) * tick
		}
		sum += cpu(t, children(t, pid)...)
	}
	return sum
}

// children are listed by the thread that made them.
func children(t *testing.T, pid int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil && !os.IsNotExist(err) { // a thread may end
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(text)) {
			n, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, n)
		}
	}
	return pids
}

// cpuOfThis is the processor time of this process, without its children's: they are what it measures.
func cpuOfThis(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// metric reads one of a program's own metrics.
func metric(t *testing.T, p *program, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no metric %s", p.addr, name)
	return 0
}
