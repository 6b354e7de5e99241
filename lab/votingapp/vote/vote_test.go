package vote

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestParseChoice(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Choice
		ok   bool
	}{
		{"a", A, true},
		{"b", B, true},
		{"", 0, false},
		{"c", 0, false},
		{"A", 0, false},
		{"a ", 0, false},
		{"ab", 0, false},
		{"\x00", 0, false},
	} {
		got, err := ParseChoice(tt.in)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("ParseChoice(%q) = %v, %v; want %v, ok %v", tt.in, got, err, tt.want, tt.ok)
		}
	}
}

// few voters, few orders, few ids: so that all kinds of clashes occur.
func votes() *rapid.Generator[[]Vote] {
	small := func(label string, n int) *rapid.Generator[uuid.UUID] {
		return rapid.Map(rapid.IntRange(1, n), func(i int) uuid.UUID { return uuid.NewSHA1(uuid.Nil, []byte{label[0], byte(i)}) })
	}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Vote {
		id := small("vote", 40).Draw(t, "id")
		return Vote{
			ID: id, Voter: small("voter", 6).Draw(t, "voter"), Order: Order(rapid.IntRange(1, 8).Draw(t, "order")),
			// One id is one vote: what it says depends on it.
			Choice: Choice('a' + id[0]%2), Frontend: "frontend01",
		}
	}), 0, 60)
}

// model picks the latest of each voter the slow way.
func model(batch []Vote) map[uuid.UUID]Vote {
	latest := map[uuid.UUID]Vote{}
	for _, v := range batch {
		if have, ok := latest[v.Voter]; !ok || v.After(have) {
			latest[v.Voter] = v
		}
	}
	return latest
}

func TestLatest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batch := votes().Draw(t, "batch")
		before := slices.Clone(batch)
		got := Latest(batch)
		if diff := cmp.Diff(before, batch, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal("the batch was changed:", diff)
		}
		asMap := map[uuid.UUID]Vote{}
		for i, v := range got {
			asMap[v.Voter] = v
			if i > 0 && slices.Compare(got[i-1].Voter[:], v.Voter[:]) >= 0 {
				t.Fatal("not in the order of voters")
			}
		}
		if diff := cmp.Diff(model(batch), asMap); diff != "" || len(asMap) != len(got) {
			t.Fatal("not the latest votes:", diff)
		}
		// However the votes are cut into batches and shuffled, the end is the same.
		shuffled := rapid.Permutation(batch).Draw(t, "shuffled")
		cut := rapid.IntRange(0, len(batch)).Draw(t, "cut")
		if diff := cmp.Diff(got, Latest(append(Latest(shuffled[:cut]), Latest(shuffled[cut:])...)), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal("depends on the order of arrival:", diff)
		}
		// Redelivery changes nothing.
		if diff := cmp.Diff(got, Latest(append(slices.Clone(got), batch...)), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal("not idempotent:", diff)
		}
	})
}

func TestNextIsLaterWhateverTheClocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clocks := rapid.SliceOf(rapid.Int64()).Draw(t, "clocks")
		var seen Order
		for _, millis := range clocks {
			next := Next(time.UnixMilli(millis), seen)
			if next <= seen || !next.Valid() {
				t.Fatalf("Next(%d ms, %d) = %d", millis, seen, next)
			}
			seen = next
		}
	})
}

func TestNextIsBounded(t *testing.T) {
	const millis = 1_800_000_000_000
	now := time.UnixMilli(millis)
	if got := Next(now, 0).Time(); !got.Equal(now) {
		t.Errorf("the physical part is %v, want %v", got, now)
	}
	// A voter who met a clock far ahead goes on from there by single steps.
	ahead := Next(now.Add(10*365*24*time.Hour), 0)
	if got := Next(now, ahead); got != ahead+1 {
		t.Errorf("Next = %d, want one step after %d", got, ahead)
	}
	if got := Next(now, MaxOrder); got != MaxOrder {
		t.Errorf("Next(MaxOrder) = %d", got)
	}
	worst := Next(time.UnixMilli(1<<62), 0)
	if MaxOrder-worst < 1e15 {
		t.Errorf("a clock beyond all bounds leaves room for %d votes only", MaxOrder-worst)
	}
}

func BenchmarkLatest(b *testing.B) {
	batch := make([]Vote, 2000)
	for i := range batch {
		batch[i] = Vote{ID: uuid.New(), Voter: uuid.New(), Choice: A, Order: Order(i + 1), Frontend: "frontend01"}
	}
	for b.Loop() {
		Latest(batch)
	}
}
