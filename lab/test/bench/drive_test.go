//go:build bench

package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votes/load"
)

// connections is the number of voters at a time.
const connections = 256

// voters is who votes.
type voters int

const (
	// regulars have a cookie and change their mind with each vote.
	regulars voters = iota
	// newcomers vote once.
	newcomers
)

// noBook keeps no book: what is measured here is speed.
type noBook struct{}

func (noBook) Sent(ledger.Voter, ledger.Seq, byte, time.Duration) error { return nil }

func (noBook) Answered(ledger.Voter, ledger.Seq, ledger.Outcome, time.Duration) error { return nil }

// choices is a book of who chose what last: where every vote was acknowledged, that is what has to be counted.
type choices []byte

func (c choices) Sent(v ledger.Voter, _ ledger.Seq, choice byte, _ time.Duration) error {
	if int(v) >= len(c) {
		return fmt.Errorf("voter %d of %d: there are more than planned", v, len(c))
	}
	c[v] = choice // A voter's votes are cast one after the other, and no two voters share a byte.
	return nil
}

func (choices) Answered(ledger.Voter, ledger.Seq, ledger.Outcome, time.Duration) error { return nil }

// drive votes through all connections, each as soon as its last vote was answered, for so long.
func drive(t *testing.T, addr string, who voters, length time.Duration) load.Summary {
	t.Helper()
	plan := load.Plan{URL: "http://" + addr + "/", Concurrency: connections, Patience: patience, Seed: 1}
	if who == regulars {
		plan.Voters, plan.Change = connections, 1
	}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	sum, err := load.Run(ctx, plan, ledger.NewRunID(), noBook{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Acknowledged == 0 {
		t.Fatalf("no vote was acknowledged: %v", sum.Troubles)
	}
	return sum
}
