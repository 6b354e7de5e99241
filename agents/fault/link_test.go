package fault

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
)

func TestQueuesAndFilters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind     faultkind.Kind
		strength faultkind.Strength
		queue    string
		// filter is what its rules say.
		filter []string
	}{
		{faultkind.Delay, faultkind.Strength{Delay: 200 * time.Millisecond}, "netem limit 10000 delay 200000us", nil},
		{
			faultkind.Delay,
			faultkind.Strength{Delay: 1500 * time.Microsecond, Jitter: time.Millisecond},
			"netem limit 10000 delay 1500us 1000us", nil,
		},
		{
			faultkind.Loss,
			faultkind.Strength{Loss: 0.3},
			"",
			[]string{"hook input", "hook output", "iifname lo accept", "oifname lo accept", "numgen random mod 1000000 < 300000 counter name dropped drop"},
		},
		{faultkind.Loss, faultkind.Strength{Loss: 1}, "", []string{"add rule inet t output  counter name dropped drop"}},
		{faultkind.Loss, faultkind.Strength{Loss: 0.9999999}, "", []string{"< 999999 "}},
		{faultkind.Loss, faultkind.Strength{Loss: 1e-9}, "", []string{"< 1 "}},
		{
			faultkind.Bandwidth,
			faultkind.Strength{Rate: 64 << 10},
			"tbf rate 65536bps burst 16384 limit 65536",
			[]string{"hook input", "limit rate over 65536 bytes/second burst 65536 bytes counter name dropped drop"},
		},
		{faultkind.Bandwidth, faultkind.Strength{Rate: 1 << 30}, "tbf rate 1073741824bps burst 10737418 limit 429496729", []string{"1073741824"}},
		{faultkind.Stop, faultkind.Strength{}, "", nil},
	} {
		s := Spec{Kind: c.kind, Container: "web", Strength: c.strength}
		if got := strings.Join(queueOf(s), " "); got != c.queue {
			t.Errorf("%s: the queue is %q, want %q", s, got, c.queue)
		}
		script := filterOf("t", s)
		if (script == "") != (c.filter == nil) || c.kind == faultkind.Bandwidth && strings.Contains(script, "hook output") {
			t.Errorf("%s: the filter is\n%s", s, script)
		}
		for _, want := range c.filter {
			if !strings.Contains(script, want) {
				t.Errorf("%s: no %q in\n%s", s, want, script)
			}
		}
	}
}

const (
	// These are the words of iproute2 6.15.
	tcListing = `[{"kind":"noqueue","handle":"0:","dev":"lo","root":true,"refcnt":2,"options":{},"bytes":0,"packets":0},` +
		`{"kind":"tbf","handle":"5fa:","dev":"eth0","root":true,"refcnt":3,"options":{"rate":65536,"burst":16384,"lat":750000},"bytes":9,"packets":7},` +
		`{"kind":"netem","handle":"5fa:","dev":"eth1","root":true,"options":{"limit":10000,"delay":{"delay":0.2,"jitter":0.05,"correlation":0}},` +
		`"packets":2,"qlen":1},{"kind":"tbf","handle":"1:","dev":"eth2","root":true,"options":{"rate":1}}]`
	ipListing = `[{"ifname":"lo","flags":["LOOPBACK","UP"]},{"ifname":"eth0","flags":["BROADCAST","UP"],"link_netnsid":0},{"ifname":"eth1","flags":[]}]`
)

func TestListings(t *testing.T) {
	t.Parallel()
	queues, err := parseQueues([]byte(tcListing))
	want := []Queue{
		{Link: "eth0", Rate: 65536, Packets: 7},
		{Link: "eth1", Delay: 200 * time.Millisecond, Jitter: 50 * time.Millisecond, Packets: 3},
	}
	if err != nil || len(queues) != 2 || queues[0] != want[0] || queues[1] != want[1] {
		t.Errorf("queues %+v, %v", queues, err)
	}
	links, err := parseLinks([]byte(ipListing))
	if err != nil || strings.Join(links, " ") != "eth0 eth1" {
		t.Errorf("links %q, %v", links, err)
	}
	source, err := parseSource([]byte(`[{"dst":"192.0.2.1","gateway":"172.18.0.1","dev":"eth1","prefsrc":"172.18.0.4","flags":[],"uid":0,"cache":[]}]`))
	if err != nil || source.String() != "172.18.0.4" {
		t.Errorf("source %s, %v", source, err)
	}
	if source, err := parseSource([]byte(`[]`)); err == nil {
		t.Errorf("source %s", source)
	}
}

func FuzzListings(f *testing.F) {
	for _, text := range []string{tcListing, ipListing, "", "[]", "null", `[{"handle":"5fa:","root":true}]`, `[{"options":[]}]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		queues, err := parseQueues(out)
		for _, q := range queues {
			if err != nil || q.Link == "" {
				t.Errorf("%+v, %v", q, err)
			}
		}
		links, err := parseLinks(out)
		for _, name := range links {
			if err != nil || name == "" {
				t.Errorf("%q, %v", links, err)
			}
		}
		if source, err := parseSource(out); source.IsValid() != (err == nil) {
			t.Errorf("%s, %v", source, err)
		}
	})
}

func FuzzParseBegan(f *testing.F) {
	for _, text := range []string{
		"683 (web-vote-app) S 660 683 683 0 -1 4194560 2487 0 0 0 21 21 0 0 20 0 7 0 81742 1308536832",
		"1 (a) b) (c) S 1 1 1 0 -1 4 2 0 0 0 2 2 0 0 2 0 7 0 99 1", "", ")", "1 (x) S 1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		began, err := parseBegan(text)
		if err == nil && !strings.Contains(text, strconv.FormatUint(began, 10)) && !strings.Contains(text, "0") {
			t.Errorf("%q began at %d", text, began)
		}
	})
}

func TestBegan(t *testing.T) {
	t.Parallel()
	if got, err := parseBegan("683 (a) b) S 660 683 683 0 -1 4194560 2487 0 0 0 21 21 0 0 20 0 7 0 81742 13"); got != 81742 || err != nil {
		t.Errorf("began at %d, %v", got, err)
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
	if began, err := (Netns{}).Began(os.Getpid()); began == 0 || err != nil {
		t.Errorf("this process began at %d, %v", began, err)
	}
	if _, err := (Netns{}).Began(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody began: %v", err)
	}
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	delay := faultkind.Strength{Delay: time.Second}
	queue := func(link string, s faultkind.Strength) Queue {
		return Queue{Link: link, Delay: s.Delay, Jitter: s.Jitter, Rate: s.Rate, Packets: 5}
	}
	slow := faultkind.Strength{Rate: 1 << 20}
	for _, c := range []struct {
		kind     faultkind.Kind
		strength faultkind.Strength
		have     Impaired
		says     string // what was seen
		lacks    string // or why it was not
	}{
		{kind: faultkind.Delay, strength: delay, lacks: "no links"},
		{kind: faultkind.Delay, strength: delay, have: Impaired{Links: []string{"eth0"}}, lacks: "nothing holds back"},
		{
			kind: faultkind.Delay, strength: delay, have: Impaired{Links: []string{"eth0", "eth1"}, Queues: []Queue{queue("eth0", delay)}},
			lacks: "on eth1",
		},
		{
			kind: faultkind.Delay, strength: delay, have: Impaired{Links: []string{"eth0"}, Queues: []Queue{queue("eth0", slow)}},
			lacks: "nothing holds back",
		},
		{
			kind: faultkind.Delay, strength: delay, have: Impaired{Links: []string{"eth0"}, Queues: []Queue{{Link: "eth0", Delay: time.Second}}},
			lacks: "no packet has passed",
		},
		{
			kind: faultkind.Delay, strength: delay, have: Impaired{Links: []string{"eth0"}, Queues: []Queue{queue("eth0", delay)}},
			says: "5 packets went late so far, on eth0",
		},
		{kind: faultkind.Loss, strength: faultkind.Strength{Loss: 0.5}, have: Impaired{Links: []string{"eth0"}}, lacks: "no packets are dropped"},
		{
			kind: faultkind.Loss, strength: faultkind.Strength{Loss: 0.5}, have: Impaired{Links: []string{"eth0"}, Filtered: true},
			lacks: "no packet has passed",
		},
		{
			kind: faultkind.Loss, strength: faultkind.Strength{Loss: 0.5}, have: Impaired{Links: []string{"eth0"}, Filtered: true, Met: 21},
			lacks: "none was dropped",
		},
		{
			kind: faultkind.Loss, strength: faultkind.Strength{Loss: 0.001}, have: Impaired{Links: []string{"eth0"}, Filtered: true, Met: 21},
			says: "0 of 21 packets were dropped so far, on eth0",
		},
		{
			kind: faultkind.Bandwidth, strength: slow, have: Impaired{Links: []string{"eth0"}, Queues: []Queue{queue("eth0", slow)}},
			lacks: "no packets are dropped",
		},
		{
			kind: faultkind.Bandwidth, strength: slow,
			have: Impaired{Links: []string{"eth0"}, Filtered: true, Met: 3, Dropped: 1, Queues: []Queue{queue("eth0", slow)}},
			says: "5 packets went slowly so far on eth0, and 1 of 3 that came were dropped",
		},
	} {
		says, err := evidence(c.have, Spec{Kind: c.kind, Container: "web", Strength: c.strength})
		if says != c.says || (err == nil) != (c.lacks == "") || err != nil && !strings.Contains(err.Error(), c.lacks) {
			t.Errorf("%s %+v: %q, %v; want %q or %q", c.kind, c.have, says, err, c.says, c.lacks)
		}
	}
}

// alone runs a process in a network of its own, of which the one link is up, or skips the test.
func alone(t *testing.T) (pid int) {
	t.Helper()
	for _, tool := range []string{"unshare", "nsenter", "tc", "nft", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("this machine has no %s", tool)
		}
	}
	c := exec.Command("unshare", "--net", "--", "sh", "-c", "ip link add eth0 type veth peer name eth1 && ip link set eth0 up && echo up && exec sleep 600")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Skip("no network of its own here: ", err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	if n, err := out.Read(make([]byte, 3)); n != 3 {
		t.Skip("no network of its own here: ", err)
	}
	return c.Process.Pid
}

// The kernel's own answer, where this test may ask it.
func TestNetns(t *testing.T) {
	t.Parallel()
	ctx, n := context.Background(), Netns{}
	for _, kind := range []faultkind.Kind{faultkind.Loss, faultkind.Bandwidth, faultkind.Delay} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			pid := alone(t)
			s := of(kind)
			if err := n.Can(ctx, s); errors.Is(err, errNoNetem) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second replaces the first
				if err := n.Impair(ctx, pid, "01234567", s); err != nil {
					t.Fatal(err)
				}
			}
			have, err := n.Look(ctx, pid, "01234567")
			if err != nil || len(have.Links) != 1 || have.Filtered != (kind != faultkind.Delay) || (len(have.Queues) == 1) != (kind != faultkind.Loss) {
				t.Errorf("there is %+v, %v", have, err)
			}
			for _, q := range have.Queues {
				if !q.holds(s.Strength) {
					t.Errorf("the queue is %+v", q)
				}
			}
			for range 2 {
				if err := n.Restore(ctx, pid, "01234567"); err != nil {
					t.Fatal(err)
				}
			}
			if have, err = n.Look(ctx, pid, "01234567"); err != nil || have.Filtered || len(have.Queues) > 0 {
				t.Errorf("left is %+v, %v", have, err)
			}
		})
	}
}
