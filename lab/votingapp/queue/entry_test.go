package queue

import (
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
		{"v2": line},
		{"v1": line, "more": "x"},
		{"v1": 1},
		{"vote": "a"},
	} {
		if v, err := decode(fields); err == nil {
			t.Errorf("decode(%v) = %v", fields, v)
		}
	}
}

func TestEncodeParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Custom(func(t *rapid.T) uuid.UUID {
			return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		})
		v := vote.Vote{
			ID: id.Draw(t, "id"), Voter: id.Draw(t, "voter"), Choice: rapid.SampledFrom([]vote.Choice{vote.A, vote.B}).Draw(t, "choice"),
			Order:    vote.Order(rapid.Int64Range(1, int64(vote.MaxOrder)).Draw(t, "order")),
			Frontend: rapid.StringMatching(`[a-z0-9-]{1,32}`).Draw(t, "frontend"),
		}
		got, err := parse(encode(v))
		if err != nil || got != v {
			t.Fatalf("parse(encode(%v)) = %v, %v", v, got, err)
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
		if encode(v) != value {
			t.Fatalf("parse accepted %q, which is not what encode writes", value)
		}
	})
}
