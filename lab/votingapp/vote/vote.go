// Package vote is the core of the voting app: what a vote is, which of two votes of a voter is the later one, and
// what remains of a batch when only the latest vote of every voter counts.
//
// It holds values and pure functions only. How a vote travels (package queue), where it is kept (package store) and how a
// voter is recognised (package voter) are not its business.
//
// # Order
//
// A voter who changes their mind may be served by another frontend each time, and the votes then sit in different
// queues, drained at different speeds. Which one is later must therefore be written on the vote itself. Every vote
// carries an [Order], the reading of a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) that travels
// with the voter: see [Next].
package vote

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// Choice is one of the two answers of the poll, 'a' or 'b'. Its zero value means: no choice yet.
type Choice byte

// The two answers.
const (
	A Choice = 'a'
	B Choice = 'b'
)

// ParseChoice accepts exactly "a" and "b".
func ParseChoice(s string) (Choice, error) {
	if s == "a" || s == "b" {
		return Choice(s[0]), nil
	}
	return 0, fmt.Errorf("the vote is %.20q: it must be a or b", s)
}

// Valid tells whether c is one of the two answers.
func (c Choice) Valid() bool { return c == A || c == B }

// String gives "a", "b", or "" for no choice.
func (c Choice) String() string {
	if c == 0 {
		return ""
	}
	return string(rune(c))
}

// Vote is one vote as it was captured by a frontend.
type Vote struct {
	// ID names this vote. A retry of the same request carries the same ID.
	ID uuid.UUID
	// Voter names who voted; of all votes of a voter, the latest counts.
	Voter uuid.UUID
	// Choice is A or B.
	Choice Choice
	// Order tells the votes of one voter apart by time. Votes of different voters need not be comparable.
	Order Order
	// Frontend is the container that captured it, as frontend01.
	Frontend string
}

// After tells whether v beats w, a vote of the same voter. Equal orders (one cookie used twice at the same moment) are
// settled by the vote's ID, so that every worker and the database come to the same end.
func (v Vote) After(w Vote) bool {
	if v.Order != w.Order {
		return v.Order > w.Order
	}
	return bytes.Compare(v.ID[:], w.ID[:]) > 0
}

// Latest reduces a batch to the latest vote of each voter, sorted by voter. The order of the result matters: transactions
// that lock the rows of their voters in the same order cannot deadlock. The batch itself is left as it is.
func Latest(batch []Vote) []Vote {
	// A vote is large, and the head of a voter's id nearly always decides: it is cheaper to sort references with the head beside them.
	type reference struct {
		head uint64
		vote *Vote
	}
	sorted := make([]reference, len(batch))
	for i := range batch {
		sorted[i] = reference{binary.BigEndian.Uint64(batch[i].Voter[:8]), &batch[i]}
	}
	slices.SortFunc(sorted, func(r, s reference) int {
		if r.head != s.head {
			return cmp.Compare(r.head, s.head)
		}
		v, w := r.vote, s.vote
		if c := bytes.Compare(v.Voter[8:], w.Voter[8:]); c != 0 {
			return c
		}
		if v.After(*w) {
			return -1
		}
		if w.After(*v) {
			return 1
		}
		return 0
	})
	latest := make([]Vote, 0, len(batch))
	for _, r := range sorted {
		if n := len(latest); n == 0 || latest[n-1].Voter != r.vote.Voter {
			latest = append(latest, *r.vote)
		}
	}
	return latest
}
