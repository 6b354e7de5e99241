package load

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// TestElectorate: as many votes and voters as planned, one vote of a voter at a time, numbered in order, whoever comes back when.
func TestElectorate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		plan := Plan{Votes: rapid.Int64Range(1, 300).Draw(t, "votes"), Change: rapid.Float64Range(0, 1).Draw(t, "change"), Seed: rapid.Uint64().Draw(t, "seed")}
		plan.Voters = rapid.IntRange(0, int(plan.Votes)).Draw(t, "voters")
		lost := rapid.SampledFrom([]int{0, 3}).Draw(t, "lost") // one in so many never gets a cookie
		e := newVoterPool(plan)
		next := map[ledger.Voter]ledger.Seq{}
		voting := map[ledger.Voter]bool{}
		var out []ballot
		votes := int64(0)
		for over := false; !over || len(out) > 0; {
			if len(out) > 0 && (over || len(out) > 9 || rapid.Bool().Draw(t, "back")) {
				i := rapid.IntRange(0, len(out)-1).Draw(t, "who")
				b := out[i]
				out = append(out[:i], out[i+1:]...)
				a := answer{verdict: taken, voterID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, b.voter)), cookie: fmt.Append(nil, b.voter)}
				if lost > 0 && votes%int64(lost) == 0 {
					a = answer{verdict: unsure}
				}
				delete(voting, b.voter)
				e.done(b, &a)
				continue
			}
			b, turn, err := e.draw()
			switch {
			case err != nil:
				t.Fatal(err)
			case turn == allDrawn:
				over = true
				continue
			case turn == waitForVoter:
				if len(out) == 0 {
					t.Fatal("waits for nobody")
				}
				continue
			}
			votes++
			if voting[b.voter] || b.seq != next[b.voter] || b.choice != choose(plan.Seed, b.voter, b.seq) {
				t.Fatalf("%+v, voting: %v, next is %d", b, voting[b.voter], next[b.voter])
			}
			if (b.seq > 0) != (b.browser != nil) || b.browser != nil && string(b.browser.cookie()) != fmt.Sprint(b.voter) {
				t.Fatalf("%+v", b)
			}
			voting[b.voter] = true
			next[b.voter]++
			out = append(out, b)
		}
		if votes != plan.Votes {
			t.Errorf("%d votes of %d", votes, plan.Votes)
		}
		if lost == 0 && int64(len(next)) != plan.newcomers() {
			t.Errorf("%d voters, planned were %d", len(next), plan.newcomers())
		}
	})
}

// TestElectorateWithoutEnd: the share of votes by who voted before is as asked for.
func TestElectorateWithoutEnd(t *testing.T) {
	t.Parallel()
	for _, plan := range []Plan{{Change: 0}, {Change: 0.3}, {Change: 1}, {Change: 0.5, Voters: 100}} {
		e := newVoterPool(plan)
		again := 0
		const votes = 20000
		for range votes {
			b, turn, err := e.draw()
			if err != nil || turn != voteNow {
				t.Fatal(turn, err)
			}
			if b.seq > 0 {
				again++
			}
			e.done(b, &answer{verdict: taken, cookie: []byte("c")})
		}
		want := plan.Change * votes
		if plan.Voters > 0 {
			want = votes - float64(plan.Voters)
		}
		if got := float64(again); got < want-400 || got > want+400 {
			t.Errorf("%+v: %g of %d votes were changes", plan, got, votes)
		}
		if used := int(e.browsers.used); plan.Change == 0 && used > 0 {
			t.Errorf("%d browsers are kept that nobody will use", used)
		}
	}
}

func TestNewcomers(t *testing.T) {
	t.Parallel()
	for want, plan := range map[int64]Plan{
		-1: {Change: 0.5}, 7: {Voters: 7, Change: 0.1}, 100: {Votes: 100}, 75: {Votes: 100, Change: 0.25}, 30: {Votes: 100, Voters: 30, Change: 0.25},
		70: {Votes: 100, Voters: 90, Change: 0.3}, 1: {Votes: 100, Change: 1},
	} {
		if got := plan.newcomers(); got != want {
			t.Errorf("%+v: %d, want %d", plan, got, want)
		}
	}
}

// TestVotersAreSmall: three million voters must fit beside everything else.
func TestVotersAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(browser{}); size > 80 {
		t.Errorf("a browser has %d bytes", size)
	}
	const voters = 200_000
	before := heap()
	e := newVoterPool(Plan{Voters: voters, Change: 0.5})
	e.change = 0 // first all of them, once
	for range voters {
		b, _, err := e.draw()
		if err != nil {
			t.Fatal(err)
		}
		e.done(b, &answer{verdict: taken, cookie: make([]byte, 59)})
	}
	if each := float64(heap()-before) / voters; each > 90 {
		t.Errorf("a voter takes %.1f bytes", each)
	}
	runtime.KeepAlive(e)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
