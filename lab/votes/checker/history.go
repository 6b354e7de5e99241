package checker

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// ErrContradiction says that a ledger cannot be true: the load generator is broken.
var ErrContradiction = errors.New("the ledger contradicts itself")

// history is a ledger in memory, about 20 bytes a vote and 28 a voter, without any pointer for the garbage collector to follow. The
// votes of voter v are those from first[v] to first[v+1], by number.
type history struct {
	run   ledger.Run
	first []uint32
	// Of each vote: nanoseconds since the start of the run; ended is 0 without an answer.
	sent, ended []int64
	state       []state
	// server is an index into servers.
	server  []uint8
	servers []string
	// Of each voter: who the app took them for, zero when it never said or said more than one.
	voterID []uuid.UUID
	// row of each voter: the vote that it holds, plus one. 0: no row; phantomRow: only rows that nobody sent.
	row []uint32

	records int64
	total   Votes
}

const phantomRow = math.MaxUint32

// maxAt leaves room for arithmetic.
const maxAt = 100 * 365 * 24 * time.Hour

// state is a vote's choice and outcome, and two marks of its voter.
type state uint8

const (
	choiceMask state = 1<<2 - 1 // 0: no vote of this number was sent
	choiceA    state = 1
	choiceB    state = 2
	kindShift        = 2 // 0: no answer
	// Two marks of a voter, on their first vote. misnamed: the row that row names stands under another voter's name than the one that the
	// voter's votes were acknowledged for. severalIDs: they were acknowledged for more than one.
	misnamed   state = 1 << 6
	severalIDs state = 1 << 7
)

func (s state) choice() byte {
	switch s & choiceMask {
	case choiceA:
		return 'a'
	case choiceB:
		return 'b'
	default:
		return 0
	}
}

// kind is Unknown for a vote without an answer.
func (s state) kind() ledger.Kind {
	if !s.answered() {
		return ledger.Unknown
	}
	return ledger.Kind(s >> kindShift & 3)
}

func (s state) answered() bool { return s>>kindShift&3 != 0 }

// scattered bounds the memory that a ledger with strange numbers can cost.
func scattered(n uint64, records int64) bool { return n > 8*uint64(records)+1<<16 }

// readHistory reads a ledger three times: how much there is, how many votes each voter has, and the votes.
func readHistory(s Source) (*history, error) {
	h := &history{run: s.Run()}
	var voters uint64
	for r, err := range s.All() {
		if err != nil {
			return nil, err
		}
		h.records++
		voters = max(voters, uint64(r.Voter)+1)
	}
	if scattered(voters, h.records) {
		return nil, fmt.Errorf("%w: voter number %d among %d records", ErrContradiction, voters-1, h.records)
	}
	h.first = make([]uint32, voters+1)
	err := h.each(s, func(r ledger.Record) error {
		count := &h.first[r.Voter+1]
		*count = max(*count, uint32(r.Seq)+1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var votes uint64
	for i := range h.first {
		votes += uint64(h.first[i])
		if scattered(votes, h.records) || votes >= phantomRow {
			return nil, fmt.Errorf("%w: vote number %d of voter %d among %d records", ErrContradiction, h.first[i]-1, i-1, h.records)
		}
		h.first[i] = uint32(votes)
	}
	h.sent, h.ended, h.state, h.server = make([]int64, votes), make([]int64, votes), make([]state, votes), make([]uint8, votes)
	h.voterID, h.row = make([]uuid.UUID, voters), make([]uint32, voters)
	h.servers = []string{""}
	return h, h.each(s, h.note)
}

// each gives the same records each time, also of a ledger that grows.
func (h *history) each(s Source, do func(ledger.Record) error) error {
	n := int64(0)
	for r, err := range s.All() {
		if err == nil {
			err = do(r)
		}
		if err != nil {
			return err
		}
		if n++; n == h.records {
			return nil
		}
	}
	return nil
}

func (h *history) note(r ledger.Record) error {
	i := h.first[r.Voter] + uint32(r.Seq)
	contradiction := func(what string) error {
		return fmt.Errorf("%w: vote %d of voter %d %s", ErrContradiction, r.Seq, r.Voter, what)
	}
	s := &h.state[i]
	if r.At < 0 || r.At > maxAt {
		return contradiction("has an impossible time")
	}
	if r.IsSent() {
		if s.choice() != 0 {
			return contradiction("was sent twice")
		}
		*s |= choiceA
		if r.Choice == 'b' {
			*s ^= choiceA | choiceB
		}
		h.sent[i] = int64(r.At)
		return nil
	}
	switch {
	case s.choice() == 0:
		return contradiction("was answered before it was sent")
	case s.answered():
		return contradiction("was answered twice")
	case int64(r.At) < h.sent[i]:
		return contradiction("was answered before the time it was sent")
	}
	*s |= state(r.Outcome.Kind) << kindShift
	h.ended[i] = int64(r.At)
	h.server[i] = h.serverIndex(r.Outcome.ServedBy)
	if id := r.Outcome.VoterID; id != uuid.Nil && r.Outcome.Kind == ledger.Acknowledged {
		mark := h.mark(int(r.Voter))
		switch known := &h.voterID[r.Voter]; {
		case *mark&severalIDs != 0 || *known == id:
		case *known == uuid.Nil:
			*known = id
		default:
			*known = uuid.Nil
			*mark |= severalIDs
		}
	}
	return nil
}

func (h *history) serverIndex(name string) uint8 {
	for i, s := range h.servers {
		if s == name {
			return uint8(i)
		}
	}
	if len(h.servers) > math.MaxUint8 {
		return 0
	}
	h.servers = append(h.servers, name)
	return uint8(len(h.servers) - 1)
}

// mark is where a voter's marks are.
func (h *history) mark(v int) *state { return &h.state[h.first[v]] }

func (h *history) voters() int { return len(h.row) }

// votes gives the range of a voter's votes.
func (h *history) votes(v int) (from, to uint32) { return h.first[v], h.first[v+1] }

// obliges tells whether a vote had to be counted, given that only acknowledgements until due (nanoseconds since the start of the run) oblige.
func (h *history) obliges(i uint32, due int64) bool {
	return h.state[i].kind() == ledger.Acknowledged && h.ended[i] <= due
}

// count fills in the totals.
func (h *history) count(due int64) Run {
	t := &h.total
	t.Voters = 0
	for v := range h.voters() {
		from, to := h.votes(v)
		sent := false
		for i := from; i < to; i++ {
			if h.state[i].choice() == 0 {
				continue
			}
			sent = true
			t.Votes++
			switch h.state[i].kind() {
			case ledger.Acknowledged:
				t.Acknowledged++
				if !h.obliges(i, due) {
					t.NotDue++
				}
			case ledger.Refused:
				t.Refused++
			default:
				t.Unknown++
				if !h.state[i].answered() {
					t.Unanswered++
				}
			}
		}
		if sent {
			t.Voters++
		}
	}
	return Run{ID: h.run.ID, Started: h.run.Started, Votes: *t}
}

// cast describes a vote for people.
func (h *history) cast(v int, i uint32) *Cast {
	seq := ledger.Seq(i - h.first[v])
	sent := h.run.Started.Add(time.Duration(h.sent[i]))
	c := &Cast{
		VoteID: h.run.ID.VoteID(ledger.Voter(v), seq), Choice: string(h.state[i].choice()), Run: &h.run.ID, Voter: ledger.Voter(v), Seq: seq,
		Sent: &sent, Outcome: h.state[i].kind().String(), ServedBy: h.servers[h.server[i]],
	}
	if h.state[i].answered() {
		answered := h.run.Started.Add(time.Duration(h.ended[i]))
		c.Answered = &answered
	}
	return c
}

// find describes a vote that may not be there.
func (h *history) find(voter ledger.Voter, seq ledger.Seq) *Cast {
	if v := int(voter); v < h.voters() {
		if from, to := h.votes(v); uint32(seq) < to-from && h.state[from+uint32(seq)].choice() != 0 {
			return h.cast(v, from+uint32(seq))
		}
	}
	return &Cast{VoteID: h.run.ID.VoteID(voter, seq), Run: &h.run.ID, Voter: voter, Seq: seq}
}
