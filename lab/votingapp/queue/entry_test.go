package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

const line = "0b7e1f9e-6c55-4c0a-9f0e-3a1d2c4b5e6f 7c9e6679-7425-40de-944b-e07fc1f90ae7 b 1838314796138497 frontend01"

func TestParse(t *testing.T) {
	got, err := parse(line)
	want := vote.Vote{
		Voter: uuid.MustParse("0b7e1f9e-6c55-4c0a-9f0e-3a1d2c4b5e6f"), ID: uuid.MustParse("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
		Choice: vote.B, Order: 1838314796138497, Frontend: "frontend01",
	}
	if err != nil || got != want {
		t.Fatalf("parse = %v, %v", got, err)
	}
	word := strings.Fields(line)
	with := func(i int, s string) string {
		changed := append([]string{}, word...)
		changed[i] = s
		return strings.Join(changed, " ")
	}
	for name, bad := range map[string]string{
		"empty":                   "",
		"garbage":                 "\x00\xff",
		"a word less":             strings.Join(word[:4], " "),
		"a word more":             line + " x",
		"two spaces":              strings.Replace(line, " ", "  ", 1),
		"voter not a uuid":        with(0, "alice"),
		"voter in capitals":       with(0, strings.ToUpper(word[0])),
		"voter in braces":         with(0, "{"+word[0]+"}"),
		"vote id not a uuid":      with(1, "1"),
		"no choice":               with(2, "c"),
		"order zero":              with(3, "0"),
		"order negative":          with(3, "-1"),
		"order with a plus":       with(3, "+1"),
		"order with a zero ahead": with(3, "01"),
		"order beyond the bound":  with(3, "9007199254740992"),
		"order beyond int64":      with(3, "99999999999999999999"),
		"frontend empty":          with(4, ""),
		"frontend in capitals":    with(4, "Frontend01"),
		"frontend too long":       with(4, strings.Repeat("f", maxFrontend+1)),
		"oversized":               strings.Repeat("x", 1<<20),
	} {
		if v, err := parse(bad); err == nil {
			t.Errorf("%s: accepted as %v", name, v)
		} else if len(err.Error()) > 200 {
			t.Errorf("%s: the error is as long as the entry", name)
		}
	}
}

func TestDecodeOtherVersions(t *testing.T) {
	for _, fields := range []map[string]any{
		nil,
		{},
		{"v1": line},
		{"v2": line, "more": "x"},
		{"v2": 1},
		{"vote": "a"},
		{"v2": strings.Repeat(line+"\n", maxVotes) + line},
	} {
		if e := decode("1-1", fields); len(e.Votes) != 0 || len(e.Dead) != 1 || e.size != 0 {
			t.Errorf("decode(%v) = %v", fields, e)
		}
	}
}

// One bad vote takes none of its neighbours along.
func TestDecodeVoteByVote(t *testing.T) {
	e := decode("1-1", map[string]any{"v2": line + "\ngarbage\n" + line + "\n"})
	if len(e.Votes) != 2 || len(e.Dead) != 2 || e.size != 4 || e.Dead[0].text != "garbage" || e.Dead[1].text != "" {
		t.Errorf("two good votes and two bad ones: %+v", e)
	}
	e.Reject(map[vote.Vote]error{e.Votes[0]: errors.New("no such voter")})
	if len(e.Votes) != 0 || len(e.Dead) != 4 || e.Dead[2].text != line {
		t.Errorf("rejected: %+v", e)
	}
}

func votes() *rapid.Generator[vote.Vote] {
	id := rapid.Custom(func(t *rapid.T) uuid.UUID {
		return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
	})
	return rapid.Custom(func(t *rapid.T) vote.Vote {
		return vote.Vote{
			ID: id.Draw(t, "id"), Voter: id.Draw(t, "voter"), Choice: rapid.SampledFrom([]vote.Choice{vote.A, vote.B}).Draw(t, "choice"),
			Order:    vote.Order(rapid.Int64Range(1, int64(vote.MaxOrder)).Draw(t, "order")),
			Frontend: rapid.StringMatching(`[a-z0-9-]{1,32}`).Draw(t, "frontend"),
		}
	})
}

func TestEncodeDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfN(votes(), 1, 20).Draw(t, "votes")
		var text []byte
		for i, v := range sent {
			if i > 0 {
				text = append(text, '\n')
			}
			text = appendVote(text, v)
		}
		e := decode("1-1", map[string]any{field: string(text)})
		if !slices.Equal(e.Votes, sent) || len(e.Dead) != 0 || e.size != len(sent) {
			t.Fatalf("%v became %+v", sent, e)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(line)
	f.Add("")
	f.Add("a b c d e")
	f.Add(strings.Repeat(" ", 4))
	f.Fuzz(func(t *testing.T, value string) {
		v, err := parse(value)
		if err != nil {
			return
		}
		if string(appendVote(nil, v)) != value {
			t.Fatalf("parse accepted %q, which is not what the writer writes", value)
		}
		if _, err := uuid.Parse(value[:uuidLength]); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	fields := map[string]any{field: strings.TrimSuffix(strings.Repeat(line+"\n", maxVotes), "\n")}
	b.ReportAllocs()
	for b.Loop() {
		if e := decode("1-1", fields); len(e.Votes) != maxVotes {
			b.Fatal(e)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*maxVotes), "ns/vote")
}
