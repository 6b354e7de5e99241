package timescale

import (
	"testing"
	"time"
)

func TestWhoWaitsForAVoteGivesUpInOrder(t *testing.T) {
	t.Parallel()
	// apart is how long what gave up has, to say so.
	const apart = time.Second
	for f := time.Duration(1); f <= slowest; f++ {
		if p, b := pageTimeout(f), balancerTimeout(f); p < time.Second || p+p/10+apart > b || b+apart > VoterTimeout {
			t.Errorf("%d times slower: the page waits for %s, the balancer for %s, a voter for %s", f, p, b, VoterTimeout)
		}
	}
}

func TestWaitsForAVote(t *testing.T) {
	t.Parallel()
	for f, want := range map[time.Duration]struct{ page, balancer time.Duration }{
		1: {time.Second, 3 * time.Second}, 2: {2 * time.Second, 6 * time.Second}, 8: {7 * time.Second, 9 * time.Second},
	} {
		if p, b := pageTimeout(f), balancerTimeout(f); p != want.page || b != want.balancer {
			t.Errorf("%d times slower: the page waits for %s, want %s; the balancer for %s, want %s", f, p, want.page, b, want.balancer)
		}
	}
}
