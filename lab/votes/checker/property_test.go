package checker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// vote is one that the simulated load cast.
type vote struct {
	seq         ledger.Seq
	choice      byte
	kind        ledger.Kind // 0: without an answer
	sent, ended time.Duration
}

// world is what a load did and what a system that keeps its promise made of it.
type world struct {
	book   book
	votes  map[ledger.Voter][]vote
	rows   map[ledger.Voter]ledger.Seq
	others int
}

// simulate plays voters, each of whom casts votes one after the other, and a system that counts every acknowledged vote between its sending
// and its answer, a vote of unknown outcome at any time after its sending or never, and the others never.
func simulate(t *rapid.T) world {
	w := world{book: book{run: theRun}, votes: map[ledger.Voter][]vote{}, rows: map[ledger.Voter]ledger.Seq{}}
	for v := range ledger.Voter(rapid.IntRange(1, 8).Draw(t, "voters")) {
		at := time.Duration(0)
		var counted []ledger.Seq // what may be in the row at the end
		n := rapid.IntRange(1, 6).Draw(t, "votes")
		for s := range ledger.Seq(n) {
			one := vote{seq: s, choice: rapid.SampledFrom([]byte("ab")).Draw(t, "choice")}
			one.kind = rapid.SampledFrom([]ledger.Kind{ledger.Acknowledged, ledger.Acknowledged, ledger.Refused, ledger.Unknown}).Draw(t, "kind")
			if s == ledger.Seq(n)-1 && rapid.Bool().Draw(t, "load ended") {
				one.kind = 0
			}
			at += time.Duration(rapid.IntRange(1, 5).Draw(t, "pause"))
			one.sent = at
			at += time.Duration(rapid.IntRange(0, 5).Draw(t, "took"))
			one.ended = at
			w.book.cast(v, s, one.choice, one.sent, one.kind, one.ended)
			w.votes[v] = append(w.votes[v], one)
			switch one.kind {
			case ledger.Acknowledged:
				kept := []ledger.Seq{s}
				for _, c := range counted { // Unknown ones may still come.
					if w.votes[v][c].kind != ledger.Acknowledged {
						kept = append(kept, c)
					}
				}
				counted = kept
			case ledger.Refused:
			default:
				counted = append(counted, s)
			}
		}
		if len(counted) > 0 {
			pick := rapid.IntRange(0, len(counted)-1).Draw(t, "row")
			if w.votes[v][counted[pick]].kind == ledger.Acknowledged || rapid.Bool().Draw(t, "counted") || w.promised(v) {
				w.rows[v] = counted[pick]
			}
		}
	}
	w.others = rapid.IntRange(0, 2).Draw(t, "others")
	return w
}

// promised tells whether the voter has an acknowledged vote.
func (w world) promised(v ledger.Voter) bool { return w.lastPromised(v) != nil }

func (w world) lastPromised(v ledger.Voter) *vote {
	var last *vote
	for i := range w.votes[v] {
		if w.votes[v][i].kind == ledger.Acknowledged {
			last = &w.votes[v][i]
		}
	}
	return last
}

func (w world) row(v ledger.Voter) Row { return row(v, w.rows[v], w.votes[v][w.rows[v]].choice) }

// table is the database.
func (w world) table() []Row {
	var rows []Row
	for v := range ledger.Voter(len(w.votes)) {
		if _, ok := w.rows[v]; ok {
			rows = append(rows, w.row(v))
		}
	}
	for range w.others {
		rows = append(rows, Row{VoterID: uuid.New(), VoteID: uuid.New(), Choice: 'a'})
	}
	return rows
}

// legal is what a system that keeps its promise may be found to do.
func (w world) legal() map[Kind]int64 {
	f := map[Kind]int64{}
	for v, s := range w.rows {
		if w.votes[v][s].kind != ledger.Acknowledged {
			f[Recovered]++
			if last := w.lastPromised(v); last != nil && last.seq > s {
				f[Overtaken]++
			}
		}
	}
	return f
}

func (w world) anyPromise() bool {
	for v := range w.votes {
		if w.promised(v) {
			return true
		}
	}
	return false
}

func judged(t *rapid.T, w world, e Evidence, o Options) Report {
	r, err := Judge([]Source{w.book}, e, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestKeptPromisePasses: whatever a correct system does, it is found correct.
func TestKeptPromisePasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := simulate(t)
		want := Pass
		if !w.anyPromise() {
			want = Unknown
		}
		got := judged(t, w, evidence(w.table()), all)
		if diff := cmp.Diff(w.legal(), found(got)); diff != "" || got.Result != want {
			t.Fatalf("%s, want %s: %s", got.Result, want, diff)
		}
		if got.Register.Violations != 0 || got.Register.Undecided != 0 {
			t.Fatalf("%+v", got.Register)
		}
	})
}

// TestBrokenPromiseIsFound: one violation is done to what a correct system did, and it is found, and nothing else.
func TestBrokenPromiseIsFound(t *testing.T) {
	violations := map[string]func(*rapid.T, world, []Row) ([]Row, Tally, Kind){
		"a row vanishes": func(t *rapid.T, w world, rows []Row) ([]Row, Tally, Kind) {
			v := victim(t, w, func(v ledger.Voter) bool { return w.promised(v) })
			rows = without(rows, w.row(v))
			return rows, tallyOf(rows), Lost
		},
		"an earlier vote wins": func(t *rapid.T, w world, rows []Row) ([]Row, Tally, Kind) {
			earlier := func(v ledger.Voter) *vote {
				last := w.lastPromised(v)
				for i := range w.votes[v] {
					if one := &w.votes[v][i]; one.kind == ledger.Acknowledged && last.sent > one.ended {
						return one
					}
				}
				return nil
			}
			v := victim(t, w, func(v ledger.Voter) bool { return earlier(v) != nil })
			one := earlier(v)
			rows = append(without(rows, w.row(v)), row(v, one.seq, one.choice))
			return rows, tallyOf(rows), Stale
		},
		"a vote is made up": func(t *rapid.T, w world, rows []Row) ([]Row, Tally, Kind) {
			v := ledger.Voter(rapid.IntRange(0, len(w.votes)+2).Draw(t, "voter"))
			rows = append(rows, row(v, ledger.Seq(len(w.votes[v])+rapid.IntRange(0, 3).Draw(t, "seq")), 'a'))
			return rows, tallyOf(rows), Phantom
		},
		"a choice is turned": func(t *rapid.T, w world, rows []Row) ([]Row, Tally, Kind) {
			v := victim(t, w, func(ledger.Voter) bool { return true })
			turned := w.row(v)
			turned.Choice = 'a' + 'b' - turned.Choice
			rows = append(without(rows, w.row(v)), turned)
			return rows, tallyOf(rows), Phantom
		},
		"a vote counts for another": func(t *rapid.T, w world, rows []Row) ([]Row, Tally, Kind) {
			v := victim(t, w, func(v ledger.Voter) bool { return w.promised(v) })
			other := w.row(v)
			other.VoterID = uuid.New()
			rows = append(without(rows, w.row(v)), other)
			return rows, tallyOf(rows), Phantom
		},
		"a voter counts twice": func(t *rapid.T, w world, rows []Row) ([]Row, Tally, Kind) {
			v := victim(t, w, func(ledger.Voter) bool { return true })
			again := w.row(v)
			again.VoterID = uuid.New()
			rows = append(rows, again)
			return rows, tallyOf(rows), Double
		},
		"the tally counts too many": func(_ *rapid.T, _ world, rows []Row) ([]Row, Tally, Kind) {
			tally := tallyOf(rows)
			tally.A++
			return rows, tally, Double
		},
		"the tally counts too few": func(t *rapid.T, _ world, rows []Row) ([]Row, Tally, Kind) {
			tally := tallyOf(rows)
			tally.A--
			if rapid.Bool().Draw(t, "on the other side") {
				tally.B++
			}
			return rows, tally, TallyOff
		},
	}
	for name, violate := range violations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				w := simulate(t)
				rows, tally, kind := violate(t, w, w.table())
				e := evidence(rapid.Permutation(rows).Draw(t, "order"))
				e.Tally = tally
				got := judged(t, w, e, all)
				if got.Result != Fail || got.Violations() != 1 || got.Found[kind] != 1 || len(got.Examples[kind]) != 1 {
					t.Fatalf("%s %v, want one %s", got.Result, found(got), kind)
				}
			})
		})
	}
}

// victim draws a voter with a row for whom the condition holds; a world without any is skipped.
func victim(t *rapid.T, w world, condition func(ledger.Voter) bool) ledger.Voter {
	var voters []ledger.Voter
	for v := range ledger.Voter(len(w.votes)) {
		if _, ok := w.rows[v]; ok && condition(v) {
			voters = append(voters, v)
		}
	}
	if len(voters) == 0 {
		t.Skip("nobody to do it to")
	}
	return rapid.SampledFrom(voters).Draw(t, "victim")
}

func without(rows []Row, one Row) []Row {
	var rest []Row
	for _, r := range rows {
		if r != one {
			rest = append(rest, r)
		}
	}
	return rest
}

// TestAgreesWithPorcupine: for whatever rows, the linear check and the general one find the same voters.
func TestAgreesWithPorcupine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := simulate(t)
		var rows []Row
		for v := range ledger.Voter(len(w.votes)) {
			if s := rapid.IntRange(-1, len(w.votes[v])-1).Draw(t, "row"); s >= 0 {
				rows = append(rows, row(v, ledger.Seq(s), w.votes[v][s].choice))
			}
		}
		e := evidence(rows)
		if rapid.Bool().Draw(t, "not drained") {
			e.Missing, e.Due = []string{"some wait"}, began.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "due")))
		}
		got := judged(t, w, e, all)
		if n := got.Found[Lost] + got.Found[Stale] + got.Found[Phantom]; n != got.Register.Violations || got.Register.Undecided > 0 {
			t.Fatalf("the linear check found %v, Porcupine %d", found(got), got.Register.Violations)
		}
	})
}

// TestJudgedMeanwhile: a system that is still at work is not accused of what it has not done yet.
func TestJudgedMeanwhile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := simulate(t)
		due := time.Duration(rapid.IntRange(0, 60).Draw(t, "due"))
		// All that was acknowledged until due has been counted. Of the rest some was.
		var rows []Row
		for v := range ledger.Voter(len(w.votes)) {
			state := -1
			for s, one := range w.votes[v] {
				switch {
				case one.kind == ledger.Acknowledged && one.ended <= due:
					state = s
				case one.kind == ledger.Refused:
				case rapid.Bool().Draw(t, "counted"):
					state = s
				}
			}
			if state >= 0 {
				rows = append(rows, row(v, ledger.Seq(state), w.votes[v][state].choice))
			}
		}
		e := evidence(rows)
		e.Missing, e.Due = []string{"a load goes on"}, began.Add(due)
		got := judged(t, w, e, all)
		if got.Result != Unknown || got.Violations() != 0 {
			t.Fatalf("%s %v", got.Result, found(got))
		}
		// The legal findings differ with what was counted.
		if diff := cmp.Diff(map[Kind]int64{}, found(got), cmpopts.IgnoreMapEntries(func(k Kind, _ int64) bool { return k == Recovered || k == Overtaken })); diff != "" {
			t.Fatal(diff)
		}
	})
}
