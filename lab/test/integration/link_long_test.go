//go:build integration && long

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

var packets = regexp.MustCompile(`counter (met|dropped) \{\s+packets (\d+)`)

// counted reads what nftables has counted in a container's network.
func (l *lab) counted(t *testing.T, node, container string) (met, dropped int) {
	t.Helper()
	for _, m := range packets.FindAllStringSubmatch(l.mustInNet(t, node, container, "nft", "list", "counters"), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		if m[1] == "met" {
			met = n
		} else {
			dropped = n
		}
	}
	return met, dropped
}

// Containers lose packets, have little bandwidth and answer late, under votes, each once until its lease runs out and once until it is healed.
// The kernel of the node, asked by others than the agent, agrees; nothing is left, and no vote is lost.
func TestLinkFaultsUnderVotes(t *testing.T) {
	l := open(t)
	const lease = 4 * time.Second
	rate := uint64(16 << 10) // less than the votes take
	if l.emulated {
		rate = 4 << 10
	}
	votes := l.tryOut(t, newSeed(t), 0)
	for _, c := range []struct {
		node, container string
		what            *agentv1.InjectRequest
		// shows is what tc says, as a pattern; empty: nothing of a queue.
		shows string
	}{
		{"worker01", "worker01", &agentv1.InjectRequest{Kind: "loss", Loss: 0.3}, ""},
		{
			"frontend01", "frontend01", &agentv1.InjectRequest{Kind: "bandwidth", Rate: rate},
			fmt.Sprintf(`tbf 5fa: dev eth\d+ root refcnt \d+ rate %dbit`, 8*rate),
		},
		{"store", "pg", &agentv1.InjectRequest{
			Kind: "delay", Delay: durationpb.New(100 * time.Millisecond), Jitter: durationpb.New(20 * time.Millisecond),
		}, `netem 5fa: dev eth\d+ root refcnt \d+ limit 10000 delay 100ms +20ms`},
	} {
		c.what.Container = c.container
		if c.what.GetKind() == "delay" && !l.hasNetem(t, c.node) {
			c.what.Lease, c.what.Holder = durationpb.New(lease), holder(t)
			_, err := l.fleet.Inject(t.Context(), c.node, c.what)
			if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "sch_netem") {
				t.Errorf("the kernel has no netem: %v", err)
			}
			t.Logf("delay: %v", err)
			continue
		}
		for _, healed := range []bool{false, true} {
			votes.more(t, l, int64(l.rate)/3)
			f := l.inject(t, c.node, c.what, untilLooked)
			shown := l.mustInNet(t, c.node, c.container, "tc", "qdisc", "show")
			if !regexp.MustCompile(c.shows).MatchString(shown) || c.shows == "" && strings.Contains(shown, "5fa:") {
				t.Errorf("%s: tc says %s", c.what.GetKind(), shown)
			}
			switch c.what.GetKind() {
			case "loss":
				l.losesAbout(t, c.node, c.container, c.what.GetLoss())
			case "bandwidth":
				l.sendsAtMost(t, c.node, c.container, float64(c.what.GetRate()))
			default:
				votes.more(t, l, int64(l.rate)/3)
			}
			met, dropped := l.counted(t, c.node, c.container)
			t.Logf("%s: %d of %d packets dropped; tc: %s", c.what.GetKind(), dropped, met, shown)
			began := time.Now()
			if healed {
				l.heal(t)
				l.noFault(t, c.node)
			} else {
				l.endsBy(t, c.node, f, lease)
			}
			over := time.Since(began)
			if err := l.cleanLinks(t.Context(), c.node, c.container); err != nil {
				t.Error(err)
			}
			l.waitReady(t)
			t.Logf("%s: over after %.1f s, ready after %.1f s", c.what.GetKind(), over.Seconds(), time.Since(began).Seconds())
		}
	}
	votes.pass(t, l)
}

// hasNetem asks the kernel of a node, as the agent does.
func (l *lab) hasNetem(t *testing.T, node string) bool {
	t.Helper()
	_, err := l.onNode(t.Context(), node, "unshare", "--net", "--", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
	return err == nil
}

// losesAbout waits for as many packets as it takes to tell, and tells whether that share of them was dropped.
func (l *lab) losesAbout(t *testing.T, node, container string, share float64) {
	t.Helper()
	const enough = 300
	waitFor(t, l.patience, "packets come and go", func(context.Context) error {
		if met, _ := l.counted(t, node, container); met < enough {
			return fmt.Errorf("%d did", met)
		}
		return nil
	})
	met, dropped := l.counted(t, node, container)
	if got := float64(dropped) / float64(met); got < share-0.1 || got > share+0.1 {
		t.Errorf("%d of %d packets were dropped, want a share of %.2f", dropped, met, share)
	}
}

var sent = regexp.MustCompile(`Sent (\d+) bytes`)

// sendsAtMost measures on each link of a container, for a while, that no more leaves it, in bytes a second, than was asked for; and that
// it is not for want of trying.
func (l *lab) sendsAtMost(t *testing.T, node, container string, rate float64) {
	t.Helper()
	const span, burst = 5 * time.Second, 16 << 10
	read := func() (bytes []float64) {
		for _, m := range sent.FindAllStringSubmatch(l.mustInNet(t, node, container, "tc", "-s", "qdisc", "show"), -1) {
			n, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			bytes = append(bytes, n)
		}
		return bytes
	}
	began, before := time.Now(), read()
	time.Sleep(span)
	after, took := read(), time.Since(began)
	most := 0.0
	for i := range after {
		most = max(most, after[i]-before[i])
	}
	t.Logf("%.0f bytes in %.1f s left it on the busiest link, %.0f bytes a second", most, took.Seconds(), most/took.Seconds())
	if most > rate*took.Seconds()+burst || most < rate*span.Seconds()/2 {
		t.Errorf("that is not what %.0f bytes a second make", rate)
	}
}

// receipt is what a frontend promises.
type receipt struct {
	Order    vote.Order `json:"order"`
	ServedBy string     `json:"served_by"`
}

// castAt votes at one frontend, past the balancer, so that its own clock stamps the vote. The voter is who the cookie says.
func (l *lab) castAt(t *testing.T, cookie *http.Cookie, node, choice string) (receipt, *http.Cookie) {
	t.Helper()
	command := voteAt(choice)
	if cookie != nil {
		command = append(command, "--cookie", cookie.Name+"="+cookie.Value)
	}
	return receiptOf(t, node, l.mustOnNode(t, node, command...))
}

// voteAt is the command that votes at the frontend it runs on.
func voteAt(choice string) []string {
	return []string{"curl", "--silent", "--include", "--header", "Accept: application/json", "--data", "vote=" + choice, "http://127.0.0.1:5000/"}
}

// receiptOf reads what voteAt says.
func receiptOf(t *testing.T, node, out string) (receipt, *http.Cookie) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(out)), nil)
	if err != nil {
		t.Fatalf("vote at %s: %q: %v", node, out, err)
	}
	defer resp.Body.Close()
	var r receipt
	err = json.NewDecoder(resp.Body).Decode(&r)
	if err != nil || resp.StatusCode != http.StatusOK || r.ServedBy != node || len(resp.Cookies()) != 1 {
		t.Fatalf("vote at %s: %s, %+v, %v", node, resp.Status, r, err)
	}
	return r, resp.Cookies()[0]
}

// clockOf is when a frontend began to run by its own clock, as it shows by what it stamps a vote with, and by how much that may be wrong: how
// long it runs is what no fault can change, and this machine's clock is too far away to be compared with.
func (l *lab) clockOf(t *testing.T, node string) (began time.Time, within time.Duration) {
	t.Helper()
	const between = `read -r before _ </proc/uptime; "$@"; read -r after _ </proc/uptime; printf '\n%ss %ss' "$before" "$after"`
	out := l.mustOnNode(t, node, append([]string{"sh", "-c", between, "sh"}, voteAt("a")...)...)
	end := strings.LastIndexByte(strings.TrimSpace(out), '\n') + 1
	r, _ := receiptOf(t, node, out[:end])
	before, after, _ := strings.Cut(strings.TrimSpace(out[end:]), " ")
	first, errFirst := time.ParseDuration(before)
	last, errLast := time.ParseDuration(after)
	if errFirst != nil || errLast != nil || last < first {
		t.Fatalf("%s has been up for %q and then for %q", node, before, after)
	}
	return r.Order.Time().Add(-(first + last) / 2), (last - first) / 2
}

// A frontend's clock is wrong, ahead and behind, while voters change their minds there and at another: the latest vote counts, whatever the
// clocks say. On virtual machines it is the machine's clock, on container nodes that of the application.
func TestSkewUnderVotes(t *testing.T) {
	l := open(t)
	const wrong, right = "frontend01", "frontend02"
	voters, tolerance := 20, 500*time.Millisecond
	if l.emulated {
		// Emulated machines take their time to answer: some ten seconds for what a voter does.
		voters, tolerance = 5, 2*time.Second
	}
	before, within := l.clockOf(t, wrong)
	off := func(want time.Duration) {
		t.Helper()
		now, also := l.clockOf(t, wrong)
		got, doubt := now.Sub(before), within+also
		if max(got-want, want-got)+doubt > tolerance {
			t.Errorf("the clock of %s is off by %s, within %s, want %s", wrong, got, doubt, want)
		} else {
			t.Logf("votes at %s are stamped %+.3f s off, within %.3f s", wrong, got.Seconds(), doubt.Seconds())
		}
	}
	for _, skew := range []time.Duration{-5 * time.Second, time.Minute} {
		counted := l.mustTally(t)
		l.inject(t, wrong, &agentv1.InjectRequest{Kind: "skew", Skew: durationpb.New(skew)}, 10*time.Minute)
		off(skew)
		for range voters {
			var last vote.Order
			var who *http.Cookie
			for _, at := range []struct{ node, choice string }{{right, "a"}, {wrong, "b"}, {right, "a"}, {wrong, "b"}} {
				r, cookie := l.castAt(t, who, at.node, at.choice)
				if r.Order <= last {
					t.Errorf("a later vote at %s has the order %d, one before it %d", at.node, r.Order, last)
				}
				last, who = r.Order, cookie
			}
		}
		l.expectTally(t, tally{A: counted.A + 1, B: counted.B + voters, Total: counted.Total + voters + 1})
		votes := l.tryOut(t, newSeed(t), 0)
		votes.more(t, l, int64(l.rate))
		began := time.Now()
		l.heal(t)
		t.Logf("healed in %.1f s", time.Since(began).Seconds())
		votes.more(t, l, int64(l.rate)/3)
		votes.pass(t, l)
		off(0)
		l.waitReady(t)
	}
	l.inject(t, wrong, &agentv1.InjectRequest{Kind: "skew", Skew: durationpb.New(-time.Minute)}, 4*time.Second)
	off(-time.Minute)
	l.noFault(t, wrong)
	off(0)
	l.waitReady(t)
}
