// Package checker is the judge: it holds what voters were promised (ledgers) against what was counted (the rows of the database and its
// tally) and says whether the promise was kept.
//
// Every ledger voter is a register: each vote of theirs writes it, and the voter's row is its final read. An acknowledged
// vote took effect between its sending and its answer; one of unknown outcome may have taken effect at any time since its
// sending, or never; a refused one never did. From that follow the violations:
//
//   - lost: a voter with an acknowledged vote has no row.
//   - stale: a voter's row holds a vote that was answered before another acknowledged vote of theirs was sent.
//   - phantom: a row holds what nobody sent: no such vote, another choice, a refused vote, or one under another voter's name.
//   - double: a voter has more than one row, or the tally counts more voters than there are rows.
//   - tally: the tally misses votes of one choice that the rows hold.
//
// and what is legal but worth knowing: recovered, a row that holds a vote of unknown outcome, and overtaken, one of these whose voter had an
// acknowledged vote sent after it. Time is that of the load generator's monotonic clock; order within the app is not looked at.
//
// The check is linear in votes and rows. As a second opinion, the histories of a sample of voters are given to Porcupine, a
// general checker of linearizability.
//
// The package is pure: it takes values and returns values, and knows no file, database or lab.
package checker

import (
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// Source is a ledger; *ledger.Reader is one.
type Source interface {
	Run() ledger.Run
	// All gives all records from the first one. It is called more than once; later calls may give more at the end.
	All() iter.Seq2[ledger.Record, error]
}

// Row is a voter's row in the database.
type Row struct {
	VoterID, VoteID uuid.UUID
	// Choice is 'a' or 'b'.
	Choice byte
	// At is the time part of the vote's order: the clock of the frontend that captured it.
	At time.Time
}

// Tally is how many voters chose what.
type Tally struct {
	A int64 `json:"a"`
	B int64 `json:"b"`
}

// Total is the number of voters.
func (t Tally) Total() int64 { return t.A + t.B }

// Evidence is what was counted. Rows and tally must come from one snapshot of the database, taken before the ledgers are read.
type Evidence struct {
	Rows  iter.Seq2[Row, error]
	Tally Tally
	// Missing says, a reason each, why this is not all that will be counted: votes that still wait in a queue, a queue that does not answer,
	// a load that goes on. While there is any, no verdict is PASS.
	Missing []string
	// Due is the time before which an acknowledgement obliges although something is missing: all votes acknowledged until then have
	// left the queues. It is by the host's clock, as the start of a run is. Without anything missing, all acknowledgements oblige.
	Due time.Time
}

// Options are how strictly and how closely to look.
type Options struct {
	// Exclusive: nobody but the loads voted since the first of them began, so a row of nobody's since then is a phantom.
	Exclusive bool
	// Sample is the number of voters whose histories Porcupine checks, Seed chooses which.
	Sample int
	Seed   uint64
}

// Result is the verdict in one word.
type Result string

// The results.
const (
	// Pass: everything is counted that had to be, and nothing else.
	Pass Result = "PASS"
	// Fail: at least one violation is certain.
	Fail Result = "FAIL"
	// Unknown: no violation, but not all is known.
	Unknown Result = "UNKNOWN"
)

// Kind is a kind of finding.
type Kind string

// The kinds; see the package's comment.
const (
	Lost      Kind = "lost"
	Stale     Kind = "stale"
	Phantom   Kind = "phantom"
	Double    Kind = "double"
	TallyOff  Kind = "tally"
	Recovered Kind = "recovered"
	Overtaken Kind = "overtaken"
)

// Violations are the kinds that a kept promise has none of.
func Violations() []Kind { return []Kind{Lost, Stale, Phantom, Double, TallyOff} }

// Legal are the kinds that break no promise, but are worth knowing.
func Legal() []Kind { return []Kind{Recovered, Overtaken} }

// Meaning says in words what is counted under a kind.
func (k Kind) Meaning() string {
	switch k {
	case Lost:
		return "voters with an acknowledged vote and no row"
	case Stale:
		return "voters whose row is older than their latest vote"
	case Phantom:
		return "rows that hold what nobody sent"
	case Double:
		return "voters counted more than once"
	case TallyOff:
		return "votes that the tally misses"
	case Recovered:
		return "votes without an answer that count (legal)"
	case Overtaken:
		return "of these, in place of a later one (legal)"
	default:
		return ""
	}
}

// Report is the verdict with its reasons.
type Report struct {
	Result Result `json:"result"`
	// Missing says why it is not PASS although nothing was violated.
	Missing []string `json:"missing"`
	Runs    []Run    `json:"runs"`
	// Sent is the sum over all runs.
	Sent Votes `json:"votes"`
	// Rows is the number of voters in the database, Others the part of it that no ledger speaks of.
	Rows   int64 `json:"rows"`
	Others int64 `json:"others"`
	// Tally is the database's, Counted the one recomputed from the rows.
	Tally   Tally `json:"tally"`
	Counted Tally `json:"counted"`
	// Found counts the findings of each kind; all kinds are present.
	Found map[Kind]int64 `json:"found"`
	// Examples are a few of each kind.
	Examples map[Kind][]Example `json:"examples"`
	Register Register           `json:"register"`
}

// Violations is the number of findings that are violations.
func (r Report) Violations() int64 {
	var n int64
	for _, k := range Violations() {
		n += r.Found[k]
	}
	return n
}

// Votes are the votes of ledgers by what became of them.
type Votes struct {
	Voters       int64 `json:"voters"`
	Votes        int64 `json:"votes"`
	Acknowledged int64 `json:"acknowledged"`
	Refused      int64 `json:"refused"`
	// Unknown outcome: given up, or Unanswered when the ledger was read.
	Unknown    int64 `json:"unknown"`
	Unanswered int64 `json:"unanswered"`
	// NotDue is the part of Acknowledged that does not oblige yet.
	NotDue int64 `json:"not_due"`
}

func (v *Votes) add(w Votes) {
	v.Voters += w.Voters
	v.Votes += w.Votes
	v.Acknowledged += w.Acknowledged
	v.Refused += w.Refused
	v.Unknown += w.Unknown
	v.Unanswered += w.Unanswered
	v.NotDue += w.NotDue
}

// Run is one ledger.
type Run struct {
	ID      ledger.RunID `json:"id"`
	Started time.Time    `json:"started"`
	Votes
}

// Example is one finding. What does not apply is left out.
type Example struct {
	// Why says in words what is wrong.
	Why string `json:"why"`
	// VoterID is the app's name for the voter.
	VoterID *uuid.UUID `json:"voter_id,omitempty"`
	// Row is the vote that the row holds.
	Row *Cast `json:"row,omitempty"`
	// Other is the vote of the voter's other row.
	Other *Cast `json:"other,omitempty"`
	// Promised is the acknowledged vote that had to count.
	Promised *Cast `json:"promised,omitempty"`
}

// Cast is a vote as its ledger has it; of one that no ledger has, only the id and the choice are known.
type Cast struct {
	VoteID uuid.UUID     `json:"vote_id"`
	Choice string        `json:"choice"`
	Run    *ledger.RunID `json:"run,omitempty"`
	Voter  ledger.Voter  `json:"voter"`
	Seq    ledger.Seq    `json:"seq"`
	// Sent and Answered are by the host's clock.
	Sent     *time.Time `json:"sent,omitempty"`
	Answered *time.Time `json:"answered,omitempty"`
	Outcome  string     `json:"outcome,omitempty"`
	ServedBy string     `json:"served_by,omitempty"`
}

// Register is the second opinion.
type Register struct {
	// Voters were checked by Porcupine, chosen by Seed.
	Voters int64  `json:"voters"`
	Seed   uint64 `json:"seed"`
	// Violations are voters whose history is no register's. Undecided are those whose check took too long.
	Violations int64 `json:"violations"`
	Undecided  int64 `json:"undecided"`
}

// maxExamples of each kind.
const maxExamples = 5
