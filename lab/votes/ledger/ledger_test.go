package ledger

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func testRun() Run {
	return Run{
		ID: NewRunID(), Started: time.Now().UTC().Truncate(time.Microsecond), Lab: "swarmlab", Seed: math.MaxUint64,
		Plan: json.RawMessage(`{"votes":3}`),
	}
}

func TestVoteID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := RunID(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "run"))
		voter := Voter(rapid.Uint32().Draw(t, "voter"))
		seq := Seq(rapid.Uint32Range(0, uint32(MaxSeq)).Draw(t, "seq"))
		u := id.VoteID(voter, seq)
		if u.Version() != 8 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%s is of version %d, variant %v", u, u.Version(), u.Variant())
		}
		gotID, gotVoter, gotSeq, ok := Split(u)
		if !ok || gotID != id || gotVoter != voter || gotSeq != seq {
			t.Fatalf("%s: %v %v %v %v", u, gotID, gotVoter, gotSeq, ok)
		}
		parsed, err := ParseRunID(id.String())
		if err != nil || parsed != id {
			t.Fatalf("%s: %v %v", id, parsed, err)
		}
	})
	for _, text := range []string{"", "00000000000", "0000000000000", "00000000000g", "00000000-0000"} {
		if _, err := ParseRunID(text); err == nil {
			t.Errorf("ParseRunID(%q) is no error", text)
		}
	}
	for _, u := range []uuid.UUID{uuid.New(), uuid.Must(uuid.NewV7()), uuid.Nil, uuid.Max} {
		if _, _, _, ok := Split(u); ok {
			t.Errorf("%s is taken for a load's", u)
		}
	}
}

func records() *rapid.Generator[[]Record] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Record {
		r := Record{
			Voter: Voter(rapid.Uint32().Draw(t, "voter")), Seq: Seq(rapid.Uint32Range(0, uint32(MaxSeq)).Draw(t, "seq")),
			At: time.Duration(rapid.Int64().Draw(t, "at")),
		}
		if rapid.Bool().Draw(t, "sent") {
			r.Choice = rapid.SampledFrom([]byte("ab")).Draw(t, "choice")
			return r
		}
		r.Outcome = Outcome{Kind: rapid.SampledFrom([]Kind{Acknowledged, Refused, Unknown}).Draw(t, "kind")}
		if r.Outcome.Kind == Acknowledged {
			r.Outcome.VoterID = uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "voter id"))
			r.Outcome.Order = rapid.Int64().Draw(t, "order")
			r.Outcome.ServedBy = rapid.StringN(0, 20, maxServedBy).Draw(t, "served by")
		}
		return r
	}), 0, 30)
}

// file is a ledger of these records, byte by byte, with the offset of each record and of the end.
func file(t interface{ Fatal(...any) }, run Run, records []Record) ([]byte, []int64) {
	b, err := encodeHeader(run)
	if err != nil {
		t.Fatal(err)
	}
	offsets := []int64{int64(len(b))}
	for _, r := range records {
		if b, err = appendRecord(b, r); err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, int64(len(b)))
	}
	return b, offsets
}

// read reads a ledger from bytes.
func read(t interface{ Fatal(...any) }, dir string, data []byte) (records []Record, torn int64, err error) {
	path := filepath.Join(dir, "one"+Suffix)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close() //nolint:errcheck // only read
	records, err = rest(r)
	return records, r.Torn(), err
}

// rest is nil as error at the end of the file.
func rest(r *Reader) ([]Record, error) {
	var records []Record
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		records = append(records, record)
	}
}

func TestCutOffAnywhere(t *testing.T) {
	run, dir := testRun(), t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		want := records().Draw(t, "records")
		data, offsets := file(t, run, want)
		cut := rapid.Int64Range(offsets[0], int64(len(data))).Draw(t, "cut")
		data = data[:cut]
		whole, found := slices.BinarySearch(offsets, cut)
		if !found {
			whole--
		}
		// A power failure leaves zeros where a file had grown but was not written yet.
		zeros := rapid.IntRange(0, 3*maxRecord).Draw(t, "zeros")
		data = append(data, make([]byte, zeros)...)
		got, torn, err := read(t, dir, data)
		if err != nil || torn != int64(len(data))-offsets[whole] {
			t.Fatalf("torn %d of %d bytes with %d records: %v", torn, len(data), whole, err)
		}
		if diff := cmp.Diff(want[:whole], got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDamagedAnywhere(t *testing.T) {
	run, dir := testRun(), t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		want := records().Filter(func(r []Record) bool { return len(r) > 0 }).Draw(t, "records")
		data, offsets := file(t, run, want)
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		data[at] ^= rapid.ByteRange(1, 255).Draw(t, "mask")
		damaged, found := slices.BinarySearch(offsets, int64(at))
		if !found {
			damaged--
		}
		got, torn, err := read(t, dir, data)
		var e *DamagedError
		switch {
		case damaged < 0:
			if err == nil {
				t.Fatal("the damaged header is read")
			}
			return
		case damaged == len(want)-1:
			if err != nil || torn != int64(len(data))-offsets[damaged] {
				t.Fatalf("damage to the last record, torn %d: %v", torn, err)
			}
		case !errors.As(err, &e) || e.Offset != offsets[damaged]:
			t.Fatalf("damage at byte %d, in the record at %d: %v", at, offsets[damaged], err)
		}
		if diff := cmp.Diff(want[:damaged], got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestDamageBeforeMuch: the records that tell damage from a torn tail may be far away.
func TestDamageBeforeMuch(t *testing.T) {
	data, offsets := file(t, testRun(), []Record{{Choice: 'a'}, {Choice: 'b'}})
	hole := make([]byte, 3<<20)
	data = slices.Concat(data[:offsets[1]], hole, data[offsets[1]:])
	_, _, err := read(t, t.TempDir(), data)
	var e *DamagedError
	if !errors.As(err, &e) || e.Offset != offsets[1] {
		t.Errorf("got %v, want damage at %d", err, offsets[1])
	}
}

func TestWriteAndRead(t *testing.T) {
	run, dir := testRun(), filepath.Join(t.TempDir(), "[a-c]* {b,c} ledgers\\")
	w, err := Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	const voters, votes = 20, 200
	var all sync.WaitGroup
	for v := range Voter(voters) {
		all.Go(func() {
			for s := range Seq(votes) {
				if err := w.Sent(v, s, "ab"[s%2], time.Duration(2*s)); err != nil {
					t.Error(err)
				}
				o := Outcome{Kind: Acknowledged, VoterID: uuid.UUID{byte(v)}, Order: int64(s), ServedBy: "frontend01"}
				if err := w.Answered(v, s, o, time.Duration(2*s+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()

	r, err := Open(Path(dir, run.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // only read
	if diff := cmp.Diff(run, r.Run()); diff != "" {
		t.Error(diff)
	}
	if live, err := r.Live(); !live || err != nil {
		t.Errorf("its writer is at work: %v %v", live, err)
	}
	early, err := rest(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// The reader goes on where it was.
	late, err := rest(r)
	if err != nil || r.Torn() != 0 {
		t.Fatal(err, r.Torn())
	}
	if live, err := r.Live(); live || err != nil {
		t.Errorf("its writer is gone: %v %v", live, err)
	}
	next := map[Voter]time.Duration{}
	for _, record := range append(early, late...) {
		if record.At != next[record.Voter] || record.Seq != Seq(record.At/2) || record.IsSent() != (record.At%2 == 0) {
			t.Fatalf("%+v out of order", record)
		}
		next[record.Voter]++
	}
	whole := 0
	for _, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		whole++
	}
	if whole != 2*voters*votes {
		t.Errorf("%d records from the first one", whole)
	}
	for v := range Voter(voters) {
		if next[v] != 2*votes {
			t.Errorf("voter %d has %d records", v, next[v])
		}
	}

	info, err := os.Stat(Path(dir, run.ID))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := w.Sent(0, 0, 'a', 0); !errors.Is(err, ErrClosed) {
		t.Errorf("Sent after Close: %v", err)
	}
	if err := w.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close after Close: %v", err)
	}
	if _, err := Create(dir, run); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second ledger of the same run: %v", err)
	}
	found, err := Find(dir)
	if err != nil || len(found) != 1 || found[0] != Path(dir, run.ID) {
		t.Errorf("%v %v", found, err)
	}
	if found, err := Find(filepath.Join(dir, "none")); err != nil || len(found) != 0 {
		t.Errorf("%v %v", found, err)
	}
}

func TestNoRoomForIt(t *testing.T) {
	w, err := Create(t.TempDir(), testRun())
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"vote number":   w.Sent(0, MaxSeq+1, 'a', 0),
		"choice":        w.Sent(0, 0, 'c', 0),
		"no choice":     w.Sent(0, 0, 0, 0),
		"outcome":       w.Answered(0, 0, Outcome{}, 0),
		"outcome's":     w.Answered(0, 0, Outcome{Kind: 4}, 0),
		"long name":     w.Answered(0, 0, Outcome{Kind: Unknown, ServedBy: string(make([]byte, 256))}, 0),
		"vote number's": w.Answered(0, MaxSeq+1, Outcome{Kind: Unknown}, 0),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// What was refused leaves no trace.
	if err := w.Sent(7, MaxSeq, 'b', 0); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	r, err := Open(w.file.Name()[:len(w.file.Name())-len(".new")])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // only read
	if got, err := rest(r); err != nil || len(got) != 1 || got[0].Voter != 7 {
		t.Errorf("%v %v", got, err)
	}
}

func TestFullDisk(t *testing.T) {
	w, err := Create(t.TempDir(), testRun())
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	w.io.Lock()
	_ = w.file.Close()
	w.file = full
	w.io.Unlock()
	first := w.Sent(0, 0, 'a', 0)
	if first == nil {
		t.Fatal("a full disk takes a vote")
	}
	for _, err := range []error{w.Sent(1, 0, 'a', 0), w.Answered(0, 0, Outcome{Kind: Unknown}, 0), w.Close()} {
		if !errors.Is(err, first) {
			t.Errorf("%v after %v", err, first)
		}
	}
}

func TestNoLedger(t *testing.T) {
	good, _ := file(t, testRun(), nil)
	later := slices.Clone(good)
	later[len(magic)+1]++
	long := slices.Clone(good)
	long[len(magic)+2] = 0xff
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("voter,vote\n1,a\n"), "cut": good[:len(good)-1], "cut short": good[:len(magic)+3], "long": long,
	} {
		if _, _, err := read(t, t.TempDir(), data); !errors.Is(err, ErrNoLedger) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := read(t, t.TempDir(), later); err == nil || errors.Is(err, ErrNoLedger) {
		t.Errorf("a later version: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzReader: whatever stands behind a header, every record that is delivered is one that the writer writes, and no byte is passed over in silence.
func FuzzReader(f *testing.F) {
	header, err := encodeHeader(Run{})
	if err != nil {
		f.Fatal(err)
	}
	body, _ := file(f, Run{}, []Record{
		{Voter: 1, Choice: 'a'},
		{Voter: 1, At: 5, Outcome: Outcome{Kind: Acknowledged, Order: 9, ServedBy: "frontend01"}},
		{Voter: 2, Seq: MaxSeq, Choice: 'b', At: 6},
	})
	body = body[len(header):]
	f.Add(body)
	f.Add(body[:len(body)-1])
	f.Add(append([]byte{0}, body...))
	f.Add([]byte{tagAnswered})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		got, torn, err := read(t, dir, slices.Concat(header, data))
		again, _ := file(t, Run{}, got)
		again = again[len(header):]
		if len(again) > len(data) || string(again) != string(data[:len(again)]) {
			t.Fatalf("read %v", got)
		}
		var damaged *DamagedError
		switch {
		case errors.As(err, &damaged):
			if damaged.Offset != int64(len(header)+len(again)) {
				t.Fatalf("damage at %d after %d bytes", damaged.Offset, len(header)+len(again))
			}
		case err != nil:
			t.Fatal(err)
		case len(again)+int(torn) != len(data):
			t.Fatalf("%d bytes of records and %d torn are not %d", len(again), torn, len(data))
		}
	})
}

// FuzzHeader: a file that anybody may have made is opened or refused.
func FuzzHeader(f *testing.F) {
	header, err := encodeHeader(testRun())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(header)
	f.Add(header[:len(header)-1])
	f.Add([]byte(magic))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, err := read(t, dir, data); err == nil && string(data[:len(magic)]) != magic {
			t.Fatal("taken for a ledger")
		}
	})
}

// A ledger that was removed while it is written is no witness: its writer must not go on to send votes.
func TestRemovedWhileWritten(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no file that is open is removed there")
	}
	dir := filepath.Join(t.TempDir(), "ledgers")
	w, err := Create(dir, Run{ID: NewRunID()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // it is broken
	// One that was moved, with its clone, is still one.
	if err := os.Rename(dir, dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * syncInterval)
	if err := w.Sent(0, 0, 'a', 1); err != nil {
		t.Fatalf("moved: %v", err)
	}
	if err := os.RemoveAll(dir + "-moved"); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if err := w.Sent(0, 1, 'a', 2); errors.Is(err, ErrRemoved) {
			return
		} else if err != nil || time.Since(begun) > 5*time.Minute {
			t.Fatalf("removed: %v", err)
		}
	}
}
