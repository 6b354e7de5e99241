package checker

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

const (
	// checkTimeout bounds Porcupine's work on one voter: it is exponential in the number of votes of unknown outcome.
	checkTimeout = time.Second
	// maxHistory bounds its memory, which is quadratic in the number of votes.
	maxHistory = 5000
)

// noVote is the state of a register that was never written, and an impossible row: votes are numbered from 0.
const (
	noVote      = -1
	phantomVote = -2
)

// register is a voter: a vote writes its number, the row reads it.
var register = porcupine.Model{
	Init: func() any { return noVote },
	Step: func(state, input, output any) (bool, any) {
		if input != nil {
			return true, input
		}
		return state == output, state
	},
}

// operations are the history of a voter. An operation's interval is closed, so that what ends when another begins is concurrent
// with it: the same "strictly later" as the linear check's.
func operations(h *history, v int, due int64) []porcupine.Operation {
	from, to := h.votes(v)
	var ops []porcupine.Operation
	end := int64(0)
	for i := from; i < to; i++ {
		s := h.state[i]
		if s.choice() == 0 || s.kind() == ledger.Refused {
			continue
		}
		op := porcupine.Operation{Input: int(i - from), Call: h.sent[i], Return: math.MaxInt64}
		end = max(end, op.Call)
		if h.obliges(i, due) {
			op.Return = h.ended[i]
			end = max(end, op.Return)
		} else if s.kind() == ledger.Acknowledged && h.row[v] == i+1 {
			// It did happen, and before it was answered.
			op.Return = h.ended[i]
		}
		ops = append(ops, op)
	}
	read := porcupine.Operation{Output: noVote, Call: end + 1, Return: end + 2}
	switch row := h.row[v]; row {
	case 0:
	case phantomRow:
		read.Output = phantomVote
	default:
		read.Output = int(row - 1 - from)
	}
	return append(ops, read)
}

// sample is a choice of voters of all runs.
type sample struct {
	chosen []uint64 // ascending, counted over all runs
	passed uint64   // voters of runs that are done
	found  Register
}

func newSample(histories []*history, o Options) *sample {
	var all uint64
	for _, h := range histories {
		all += uint64(h.voters())
	}
	s := &sample{found: Register{Seed: o.Seed}}
	n := min(uint64(max(o.Sample, 0)), all)
	// Floyd's way to n distinct numbers (Bentley, "Programming Pearls: a sample of brilliance", 1987).
	random := rand.New(rand.NewPCG(o.Seed, 0))
	in := make(map[uint64]bool, n)
	for top := all - n; top < all; top++ {
		pick := random.Uint64N(top + 1)
		if in[pick] {
			pick = top
		}
		in[pick] = true
		s.chosen = append(s.chosen, pick)
	}
	sort.Slice(s.chosen, func(i, j int) bool { return s.chosen[i] < s.chosen[j] })
	return s
}

// check judges the chosen voters of the next run.
func (s *sample) check(h *history, due int64) {
	end := s.passed + uint64(h.voters())
	for len(s.chosen) > 0 && s.chosen[0] < end {
		s.voter(h, int(s.chosen[0]-s.passed), due)
		s.chosen = s.chosen[1:]
	}
	s.passed = end
}

func (s *sample) voter(h *history, v int, due int64) {
	s.found.Voters++
	ops := operations(h, v, due)
	if len(ops) > maxHistory {
		s.found.Undecided++
		return
	}
	switch porcupine.CheckOperationsTimeout(register, ops, checkTimeout) {
	case porcupine.Illegal:
		s.found.Violations++
	case porcupine.Unknown:
		s.found.Undecided++
	case porcupine.Ok:
	}
}

func (s *sample) result() Register { return s.found }
