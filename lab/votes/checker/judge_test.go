package checker

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// book is a ledger in memory.
type book struct {
	run     ledger.Run
	records []ledger.Record
}

func (b book) Run() ledger.Run { return b.run }

func (b book) All() iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		for _, r := range b.records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

var (
	began  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	theRun = ledger.Run{ID: ledger.RunID{1, 2, 3}, Started: began}
	never  = time.Duration(-1)
)

// name is the app's name for a voter.
func name(v ledger.Voter) uuid.UUID { return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, v)) }

// cast adds a vote; an outcome of kind 0 is none.
func (b *book) cast(v ledger.Voter, s ledger.Seq, choice byte, sent time.Duration, kind ledger.Kind, ended time.Duration) {
	b.records = append(b.records, ledger.Record{Voter: v, Seq: s, Choice: choice, At: sent})
	o := ledger.Outcome{Kind: kind}
	if kind == ledger.Acknowledged {
		o.VoterID, o.ServedBy = name(v), "frontend01"
	}
	if kind != 0 {
		b.records = append(b.records, ledger.Record{Voter: v, Seq: s, At: ended, Outcome: o})
	}
}

func row(v ledger.Voter, s ledger.Seq, choice byte) Row {
	return Row{VoterID: name(v), VoteID: theRun.ID.VoteID(v, s), Choice: choice, At: began.Add(time.Second)}
}

func tallyOf(rows []Row) Tally {
	var t Tally
	for _, r := range rows {
		if r.Choice == 'a' {
			t.A++
		} else {
			t.B++
		}
	}
	return t
}

func evidence(rows []Row) Evidence {
	return Evidence{Tally: tallyOf(rows), Rows: func(yield func(Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}}
}

// all asks for the second opinion on every voter.
var all = Options{Sample: 1 << 20}

// found are the findings that are not zero.
func found(r Report) map[Kind]int64 {
	f := map[Kind]int64{}
	for k, n := range r.Found {
		if n != 0 {
			f[k] = n
		}
	}
	return f
}

func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	ack, refused, unknown := ledger.Acknowledged, ledger.Refused, ledger.Unknown
	stranger := Row{VoterID: uuid.New(), VoteID: uuid.New(), Choice: 'a', At: began.Add(-time.Hour)}
	late := stranger
	late.At = began.Add(time.Hour)
	otherRun := row(0, 0, 'a')
	otherRun.VoteID[0]++
	otherName := row(0, 0, 'a')
	otherName.VoterID = name(9)

	// Voter 0 votes a, then b, both acknowledged.
	changed := func(b *book) {
		b.cast(0, 0, 'a', 1*ms, ack, 2*ms)
		b.cast(0, 1, 'b', 3*ms, ack, 4*ms)
	}
	for _, tt := range []struct {
		name    string
		votes   func(*book)
		rows    []Row
		tally   *Tally
		options Options
		missing []string
		due     time.Duration
		result  Result
		found   map[Kind]int64
		why     string
	}{
		{name: "the latest counts", votes: changed, rows: []Row{row(0, 1, 'b')}, result: Pass},
		{name: "no row", votes: changed, result: Fail, found: map[Kind]int64{Lost: 1}, why: "no row"},
		{name: "the earlier counts", votes: changed, rows: []Row{row(0, 0, 'a')}, result: Fail, found: map[Kind]int64{Stale: 1}, why: "earlier"},
		{
			name:   "answered when the next is sent is not strictly earlier",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2); b.cast(0, 1, 'b', 2, ack, 3) },
			rows:   []Row{row(0, 0, 'a')},
			result: Pass,
		},
		{
			name:   "an unknown vote may count",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2); b.cast(0, 1, 'b', 3, unknown, 4) },
			rows:   []Row{row(0, 1, 'b')},
			result: Pass, found: map[Kind]int64{Recovered: 1}, why: "never known",
		},
		{
			name:   "an unknown vote may not count",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2); b.cast(0, 1, 'b', 3, unknown, 4) },
			rows:   []Row{row(0, 0, 'a')},
			result: Pass,
		},
		{
			name:   "so may one without an answer",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2); b.cast(1, 0, 'b', 3, 0, never) },
			rows:   []Row{row(0, 0, 'a'), row(1, 0, 'b')},
			result: Pass, found: map[Kind]int64{Recovered: 1},
		},
		{
			name:   "an unknown vote may count in place of a later one",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, unknown, 2); b.cast(0, 1, 'b', 3, ack, 4) },
			rows:   []Row{row(0, 0, 'a')},
			result: Pass, found: map[Kind]int64{Recovered: 1, Overtaken: 1}, why: "in place of a later",
		},
		{
			name:   "who was refused need not have a row",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, refused, 2); b.cast(1, 0, 'b', 1, ack, 2) },
			rows:   []Row{row(1, 0, 'b')},
			result: Pass,
		},
		{
			name:   "a refused vote counts",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2); b.cast(0, 1, 'b', 3, refused, 4) },
			rows:   []Row{row(0, 1, 'b')},
			result: Fail, found: map[Kind]int64{Phantom: 1}, why: "refused",
		},
		{name: "another choice counts", votes: changed, rows: []Row{row(0, 1, 'a')}, result: Fail, found: map[Kind]int64{Phantom: 1}, why: "b was sent"},
		{name: "no such vote", votes: changed, rows: []Row{row(0, 2, 'b')}, result: Fail, found: map[Kind]int64{Phantom: 1}, why: "never sent"},
		{name: "no such voter", votes: changed, rows: []Row{row(0, 1, 'b'), row(1, 0, 'a')}, result: Fail, found: map[Kind]int64{Phantom: 1}, why: "never sent"},
		{
			name:   "a gap in the numbers of votes",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2); b.cast(0, 2, 'b', 3, ack, 4) },
			rows:   []Row{row(0, 1, 'b')},
			result: Fail, found: map[Kind]int64{Phantom: 1}, why: "never sent",
		},
		{
			name:   "a gap in the numbers of voters",
			votes:  func(b *book) { b.cast(1, 0, 'a', 1, ack, 2) },
			rows:   []Row{row(0, 0, 'b'), row(1, 0, 'a')},
			result: Fail, found: map[Kind]int64{Phantom: 1}, why: "never sent",
		},
		{
			name: "a gap at the end",
			votes: func(b *book) {
				b.cast(0, 0, 'a', 1, ack, 2)
				b.records = append(b.records, ledger.Record{Voter: 1, Seq: 1, Choice: 'b'})
			},
			rows:   []Row{row(0, 0, 'a'), row(1, 0, 'b')},
			result: Fail, found: map[Kind]int64{Phantom: 1}, why: "never sent",
		},
		{
			name:   "under another voter's name",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2) },
			rows:   []Row{otherName},
			result: Fail, found: map[Kind]int64{Phantom: 1}, why: "another voter's",
		},
		{
			name:   "the same vote counted twice",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2) },
			rows:   []Row{otherName, row(0, 0, 'a')},
			result: Fail, found: map[Kind]int64{Double: 1}, why: "two rows",
		},
		{
			name:   "the same vote counted three times",
			votes:  func(b *book) { b.cast(0, 0, 'a', 1, ack, 2) },
			rows:   []Row{row(0, 0, 'a'), otherName, otherName},
			result: Fail, found: map[Kind]int64{Double: 2}, why: "two rows",
		},
		{
			name: "one browser taken for two voters",
			votes: func(b *book) {
				changed(b)
				b.records[3].Outcome.VoterID = name(9)
			},
			rows:   []Row{{VoterID: name(9), VoteID: theRun.ID.VoteID(0, 1), Choice: 'b'}, row(0, 0, 'a')},
			result: Fail, found: map[Kind]int64{Double: 1}, why: "two rows",
		},
		{
			name: "the tally counts a voter twice", votes: changed, rows: []Row{row(0, 1, 'b')}, tally: &Tally{A: 0, B: 2},
			result: Fail, found: map[Kind]int64{Double: 1}, why: "the tally says a 0, b 2; the rows are a 0, b 1",
		},
		{
			name: "the tally misses one", votes: changed, rows: []Row{row(0, 1, 'b')}, tally: &Tally{},
			result: Fail, found: map[Kind]int64{TallyOff: 1}, why: "the tally says",
		},
		{
			name: "the tally has one on the wrong side", votes: changed, rows: []Row{row(0, 1, 'b')}, tally: &Tally{A: 1},
			result: Fail, found: map[Kind]int64{TallyOff: 1}, why: "the tally says",
		},
		{
			name: "the tally has one on the wrong side, and two that nobody cast", votes: changed, rows: []Row{row(0, 1, 'b')}, tally: &Tally{A: 3},
			result: Fail, found: map[Kind]int64{TallyOff: 1, Double: 2},
		},
		{name: "votes of others", votes: changed, rows: []Row{row(0, 1, 'b'), stranger, late, otherRun}, result: Pass},
		{
			name: "votes of others where there should be none", votes: changed, rows: []Row{row(0, 1, 'b'), stranger, late, otherRun},
			options: Options{Exclusive: true}, result: Fail, found: map[Kind]int64{Phantom: 2}, why: "nobody but the loads",
		},
		{
			name: "votes of others from before", votes: changed, rows: []Row{row(0, 1, 'b'), stranger},
			options: Options{Exclusive: true}, result: Pass,
		},
		{name: "not drained", votes: changed, rows: nil, missing: []string{"1 vote waits"}, result: Unknown},
		{name: "not drained, all there", votes: changed, rows: []Row{row(0, 1, 'b')}, missing: []string{"1 vote waits"}, due: 5 * ms, result: Unknown},
		{
			name: "not drained, but this one had to be", votes: changed, rows: nil, missing: []string{"1 vote waits"}, due: 2 * ms,
			result: Fail, found: map[Kind]int64{Lost: 1},
		},
		{name: "not drained, the later one is not due", votes: changed, rows: []Row{row(0, 0, 'a')}, missing: []string{"1 vote waits"}, due: 3 * ms, result: Unknown},
		{
			name: "not drained, the later one is due", votes: changed, rows: []Row{row(0, 0, 'a')}, missing: []string{"1 vote waits"}, due: 4 * ms,
			result: Fail, found: map[Kind]int64{Stale: 1},
		},
		{name: "not drained, but there", votes: changed, rows: []Row{row(0, 1, 'b')}, missing: []string{"1 vote waits"}, due: 2 * ms, result: Unknown},
		{name: "nothing was promised", votes: func(b *book) { b.cast(0, 0, 'a', 1, unknown, 2) }, result: Unknown},
		{name: "nothing was sent", votes: func(*book) {}, result: Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := book{run: theRun}
			tt.votes(&b)
			e := evidence(tt.rows)
			if tt.tally != nil {
				e.Tally = *tt.tally
			}
			e.Missing = tt.missing
			if tt.due != 0 {
				e.Due = began.Add(tt.due)
			}
			tt.options.Sample = all.Sample
			got, err := Judge([]Source{b}, e, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.found, found(got), cmpopts.EquateEmpty()); diff != "" || got.Result != tt.result {
				t.Errorf("%s %v, want %s: %s", got.Result, got.Missing, tt.result, diff)
			}
			whys := ""
			for _, examples := range got.Examples {
				for _, x := range examples {
					whys += x.Why + "\n"
				}
			}
			if !strings.Contains(whys, tt.why) {
				t.Errorf("examples: %swant %q", whys, tt.why)
			}
			if wrong := got.Found[Lost]+got.Found[Stale] > 0; wrong != (got.Register.Violations > 0) && got.Found[Phantom] == 0 {
				t.Errorf("Porcupine found %d", got.Register.Violations)
			}
		})
	}
}

func TestReport(t *testing.T) {
	b, other := book{run: theRun}, book{run: ledger.Run{ID: ledger.RunID{9}, Started: began.Add(time.Minute)}}
	for v := range ledger.Voter(20) {
		b.cast(v, 0, 'a', time.Second, ledger.Acknowledged, 2*time.Second)
	}
	b.cast(3, 1, 'b', 3*time.Second, ledger.Refused, 4*time.Second)
	b.cast(4, 1, 'b', 3*time.Second, ledger.Unknown, 4*time.Second)
	b.cast(5, 1, 'b', 3*time.Second, 0, never)
	other.cast(0, 0, 'b', time.Second, ledger.Acknowledged, 2*time.Second)
	e := evidence([]Row{row(0, 0, 'a'), {VoterID: uuid.New(), VoteID: uuid.New(), Choice: 'b'}, {VoterID: name(0), VoteID: other.run.ID.VoteID(0, 0), Choice: 'b'}})
	got, err := Judge([]Source{b, other}, e, Options{Sample: 5, Seed: 42})
	if err != nil {
		t.Fatal(err)
	}
	sent := Votes{Voters: 20, Votes: 23, Acknowledged: 20, Refused: 1, Unknown: 2, Unanswered: 1}
	one := Votes{Voters: 1, Votes: 1, Acknowledged: 1}
	total := sent
	total.add(one)
	want := Report{
		Result: Fail, Missing: []string{}, Sent: total, Rows: 3, Others: 1, Tally: Tally{A: 1, B: 2}, Counted: Tally{A: 1, B: 2},
		Runs:     []Run{{ID: theRun.ID, Started: began, Votes: sent}, {ID: other.run.ID, Started: other.run.Started, Votes: one}},
		Found:    map[Kind]int64{Lost: 19, Stale: 0, Phantom: 0, Double: 0, TallyOff: 0, Recovered: 0, Overtaken: 0},
		Register: Register{Voters: 5, Seed: 42},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Report{}, "Examples", "Register.Violations")); diff != "" {
		t.Error(diff)
	}
	if got.Violations() != 19 || len(got.Examples[Lost]) != maxExamples {
		t.Errorf("%d violations, examples %v", got.Violations(), got.Examples)
	}
	sentAt, answeredAt, id := began.Add(time.Second), began.Add(2*time.Second), name(1)
	example := Example{Why: "no row", VoterID: &id, Promised: &Cast{
		VoteID: theRun.ID.VoteID(1, 0), Choice: "a", Run: &theRun.ID, Voter: 1, Sent: &sentAt, Answered: &answeredAt,
		Outcome: "acknowledged", ServedBy: "frontend01",
	}}
	if diff := cmp.Diff(example, got.Examples[Lost][0]); diff != "" {
		t.Error(diff)
	}
}

func TestSample(t *testing.T) {
	b := book{run: theRun}
	for v := range ledger.Voter(1000) {
		b.cast(v, 0, 'a', 1, ledger.Acknowledged, 2)
	}
	choose := func(o Options) []uint64 {
		h, err := readHistory(b)
		if err != nil {
			t.Fatal(err)
		}
		return newSample([]*history{h, h}, o).chosen
	}
	first := choose(Options{Sample: 100, Seed: 1})
	seen := map[uint64]bool{}
	for i, v := range first {
		if seen[v] || v >= 2000 || i > 0 && first[i-1] > v {
			t.Fatalf("%v", first)
		}
		seen[v] = true
	}
	if len(first) != 100 || !cmp.Equal(first, choose(Options{Sample: 100, Seed: 1})) || cmp.Equal(first, choose(Options{Sample: 100, Seed: 2})) {
		t.Errorf("%v", first)
	}
	if everybody := choose(Options{Sample: 5000}); len(everybody) != 2000 {
		t.Errorf("%d of 2000", len(everybody))
	}
}

func TestContradictions(t *testing.T) {
	sent := func(v ledger.Voter, s ledger.Seq, at time.Duration) ledger.Record {
		return ledger.Record{Voter: v, Seq: s, Choice: 'a', At: at}
	}
	answered := ledger.Record{At: 5, Outcome: ledger.Outcome{Kind: ledger.Acknowledged}}
	for name, records := range map[string][]ledger.Record{
		"sent twice":       {sent(0, 0, 1), sent(0, 0, 2)},
		"answered twice":   {sent(0, 0, 1), answered, answered},
		"before it":        {answered, sent(0, 0, 1)},
		"before the time":  {sent(0, 0, 6), answered},
		"impossible time":  {sent(0, 0, -1)},
		"voter number":     {sent(1<<32-1, 0, 1)},
		"vote number":      {sent(0, ledger.MaxSeq, 1)},
		"impossible time ": {sent(0, 0, 1<<63-1)},
	} {
		_, err := Judge([]Source{book{run: theRun, records: records}}, evidence(nil), all)
		if !errors.Is(err, ErrContradiction) || !strings.Contains(err.Error(), strings.TrimSpace(name)) || !strings.Contains(err.Error(), theRun.ID.String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Judge([]Source{book{run: theRun}, book{run: theRun}}, evidence(nil), all); !errors.Is(err, ErrContradiction) {
		t.Errorf("the same ledger twice: %v", err)
	}
	broken := errors.New("broken")
	e := evidence(nil)
	e.Rows = func(yield func(Row, error) bool) { yield(Row{}, broken) }
	if _, err := Judge([]Source{book{run: theRun}}, e, all); !errors.Is(err, broken) {
		t.Errorf("rows that cannot be read: %v", err)
	}
}

// growing gives more records each time.
type growing struct {
	book
	times *int
}

func (g growing) All() iter.Seq2[ledger.Record, error] {
	*g.times++
	g.records = g.records[:min(2**g.times, len(g.records))]
	return g.book.All()
}

func TestLedgerThatGrows(t *testing.T) {
	b := book{run: theRun}
	for v := range ledger.Voter(10) {
		b.cast(v, 0, 'a', 1, ledger.Acknowledged, 2)
	}
	got, err := Judge([]Source{growing{b, new(int)}}, evidence([]Row{row(0, 0, 'a')}), all)
	if err != nil || got.Result != Pass || got.Sent.Votes != 1 {
		t.Errorf("%+v %v", got, err)
	}
}
