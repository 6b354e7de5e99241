package checker

import (
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// Judge reads the ledgers, then the rows, and judges. The error is one of reading, or [ErrContradiction]: there is no verdict then.
func Judge(ledgers []Source, e Evidence, o Options) (Report, error) {
	j := judge{byRun: make(map[ledger.RunID]*history, len(ledgers)), options: o, found: map[Kind]int64{}, examples: map[Kind][]Example{}}
	for _, k := range append(Violations(), Recovered, Overtaken) {
		j.found[k] = 0
	}
	for _, l := range ledgers {
		if err := j.read(l); err != nil {
			return Report{}, fmt.Errorf("ledger %s: %w", l.Run().ID, err)
		}
	}
	for row, err := range e.Rows {
		if err != nil {
			return Report{}, fmt.Errorf("rows: %w", err)
		}
		j.row(row)
	}
	report := Report{
		Missing: append([]string{}, e.Missing...), Runs: []Run{},
		Rows: j.counted.Total(), Others: j.others, Tally: e.Tally, Counted: j.counted, Found: j.found, Examples: j.examples,
	}
	sample := newSample(j.histories, o)
	for _, h := range j.histories {
		due := int64(math.MaxInt64)
		if len(e.Missing) > 0 {
			due = int64(e.Due.Sub(h.run.Started))
		}
		run := h.count(due)
		report.Runs = append(report.Runs, run)
		report.Sent.add(run.Votes)
		for v := range h.voters() {
			j.voter(h, v, due)
		}
		sample.check(h, due)
	}
	report.Register = sample.result()
	j.tally(e.Tally)
	if report.Sent.Acknowledged == 0 {
		report.Missing = append(report.Missing, "no vote was acknowledged, so nothing was promised")
	}
	switch {
	case report.Violations() > 0 || report.Register.Violations > 0:
		report.Result = Fail
	case len(report.Missing) > 0:
		report.Result = Unknown
	default:
		report.Result = Pass
	}
	return report, nil
}

type judge struct {
	options   Options
	histories []*history
	byRun     map[ledger.RunID]*history
	began     time.Time // the first of the runs

	others   int64
	counted  Tally
	found    map[Kind]int64
	examples map[Kind][]Example
}

func (j *judge) read(l Source) error {
	id := l.Run().ID
	if j.byRun[id] != nil {
		return fmt.Errorf("%w: it is given twice", ErrContradiction)
	}
	h, err := readHistory(l)
	if err != nil {
		return err
	}
	if len(j.histories) == 0 || h.run.Started.Before(j.began) {
		j.began = h.run.Started
	}
	j.byRun[id] = h
	j.histories = append(j.histories, h)
	return nil
}

// find counts a finding; the example is only made when it is wanted.
func (j *judge) find(k Kind, example func() Example) {
	j.found[k]++
	if len(j.examples[k]) < maxExamples {
		j.examples[k] = append(j.examples[k], example())
	}
}

// row takes notice of one row.
func (j *judge) row(row Row) {
	if row.Choice == 'b' {
		j.counted.B++
	} else {
		j.counted.A++
	}
	id, voter, seq, ok := ledger.Split(row.VoteID)
	h := j.byRun[id]
	if !ok || h == nil {
		j.others++
		if j.options.Exclusive && !row.At.Before(j.began) {
			j.phantom(row, nil, 0, 0, "nobody but the loads was to vote")
		}
		return
	}
	v := int(voter)
	if v >= h.voters() {
		j.phantom(row, h, voter, seq, "this vote was never sent")
		return
	}
	from, to := h.votes(v)
	i := from + uint32(seq)
	switch {
	case i >= to || h.state[i].choice() == 0:
		j.phantom(row, h, voter, seq, "this vote was never sent")
	case h.state[i].choice() != row.Choice:
		j.phantom(row, h, voter, seq, fmt.Sprintf("%c was sent", h.state[i].choice()))
	case h.state[i].kind() == ledger.Refused:
		j.phantom(row, h, voter, seq, "it was refused")
	default:
		j.real(h, v, i, row.VoterID)
		return
	}
	if h.row[v] == 0 {
		h.row[v] = phantomRow
	}
}

// phantom finds a row that nobody sent; h is nil if it is of no ledger.
func (j *judge) phantom(row Row, h *history, voter ledger.Voter, seq ledger.Seq, why string) {
	j.find(Phantom, func() Example {
		cast := &Cast{VoteID: row.VoteID}
		if h != nil {
			cast = h.find(voter, seq)
		}
		cast.Choice = string(row.Choice)
		return Example{Why: why, VoterID: &row.VoterID, Row: cast}
	})
}

// real takes notice of a row that holds a vote that was sent.
func (j *judge) real(h *history, v int, i uint32, voterID uuid.UUID) {
	wrongName := h.voterID[v] != uuid.Nil && h.voterID[v] != voterID
	mark := h.mark(v)
	if h.row[v] == 0 || h.row[v] == phantomRow {
		h.row[v] = i + 1
		if wrongName {
			*mark |= misnamed
		}
		return
	}
	other := h.row[v] - 1
	j.find(Double, func() Example {
		return Example{Why: "one voter has two rows", VoterID: &voterID, Row: h.cast(v, i), Other: h.cast(v, other)}
	})
	switch {
	case *mark&misnamed != 0 && !wrongName:
		*mark &^= misnamed
		h.row[v] = i + 1
	case *mark&misnamed != 0 == wrongName:
		// The later vote is the one to judge: which of the two came first in the database says nothing.
		h.row[v] = max(h.row[v], i+1)
	}
}

// voter judges what became of one voter.
func (j *judge) voter(h *history, v int, due int64) {
	from, to := h.votes(v)
	last := to // the acknowledged vote that was sent last
	for i := from; i < to; i++ {
		if h.obliges(i, due) && (last == to || h.sent[i] > h.sent[last]) {
			last = i
		}
	}
	promised := last < to
	id := func() *uuid.UUID {
		if h.voterID[v] == uuid.Nil {
			return nil
		}
		return &h.voterID[v]
	}
	if row := h.row[v]; row != 0 && row != phantomRow && *h.mark(v)&misnamed != 0 {
		j.find(Phantom, func() Example {
			return Example{Why: "it was acknowledged as another voter's", VoterID: id(), Row: h.cast(v, row-1)}
		})
		h.row[v] = phantomRow
	}
	switch row := h.row[v]; {
	case row == 0 && promised:
		j.find(Lost, func() Example { return Example{Why: "no row", VoterID: id(), Promised: h.cast(v, last)} })
	case row == 0 || row == phantomRow:
	case h.state[row-1].kind() == ledger.Unknown:
		at := row - 1
		j.find(Recovered, func() Example { return Example{Why: "its outcome was never known", VoterID: id(), Row: h.cast(v, at)} })
		if promised && h.sent[last] > h.sent[at] {
			j.find(Overtaken, func() Example {
				return Example{Why: "it counts in place of a later one", VoterID: id(), Row: h.cast(v, at), Promised: h.cast(v, last)}
			})
		}
	case promised && h.sent[last] > h.ended[row-1]:
		j.find(Stale, func() Example {
			return Example{Why: "the row holds an earlier vote", VoterID: id(), Row: h.cast(v, row-1), Promised: h.cast(v, last)}
		})
	}
}

// tally holds the database's sum against ours. An excess of voters is double; votes of one choice that are missing from the tally,
// or stand under the other one, are tally.
func (j *judge) tally(tally Tally) {
	a, b := tally.A-j.counted.A, tally.B-j.counted.B
	over, under := max(a, 0)+max(b, 0), max(-a, 0)+max(-b, 0)
	example := func(k Kind) {
		j.examples[k] = append(j.examples[k], Example{Why: fmt.Sprintf("the tally says a %d, b %d; the rows are a %d, b %d",
			tally.A, tally.B, j.counted.A, j.counted.B)})
	}
	if over > under {
		j.found[Double] += over - under
		example(Double)
	}
	if under > 0 {
		j.found[TallyOff] += under
		example(TallyOff)
	}
}
