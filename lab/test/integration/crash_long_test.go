//go:build integration && long

package integration

import "testing"

// The same, so often that moments of all kinds are met.
func TestManyCrashesUnderVotes(t *testing.T) { open(t).crashesUnderVotes(t, 8) }

func TestPostgresRestartsMidBatchAgainAndAgain(t *testing.T) { open(t).postgresRestartsMidBatch(t, 3) }

// A frontend node loses its power under votes, and gets it back.
func TestAFrontendDiesUnderVotes(t *testing.T) {
	l := open(t)
	votes := l.tryOut(t, newSeed(t), 0)
	second := int64(l.rate)
	votes.more(t, l, second)
	l.kill(t, "frontend02")
	votes.more(t, l, second)
	l.start(t, "frontend02")
	l.waitReady(t)
	votes.more(t, l, second)
	votes.pass(t, l)
}
