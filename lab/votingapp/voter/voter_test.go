package voter

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

func testKey(t testing.TB, digit string) Key {
	t.Helper()
	key, err := ParseKey(strings.Repeat(digit, 64))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var alice = Identity{ID: uuid.MustParse("0b7e1f9e-6c55-4c0a-9f0e-3a1d2c4b5e6f"), Order: 1234567890123456, Choice: vote.B}

func TestParseKey(t *testing.T) {
	for _, bad := range []string{"", "abc", strings.Repeat("0", 63), strings.Repeat("0", 66), strings.Repeat("g", 64)} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) accepted", bad)
		} else if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

func TestOpen(t *testing.T) {
	key := testKey(t, "5")
	good := key.Seal(alice)
	if len(good) != valueSize {
		t.Fatalf("the cookie has %d characters, want %d", len(good), valueSize)
	}
	sealedAs := func(id Identity) string { return key.Seal(id) }
	for _, tt := range []struct {
		name, value string
		want        error
	}{
		{"good", good, nil},
		{"not voted yet", sealedAs(Identity{ID: alice.ID}), nil},
		{"empty", "", ErrVersion},
		{"older version", "v0" + good[2:], ErrVersion},
		{"newer version", "v2" + good[2:], ErrVersion},
		{"plain uuid, as the first voting apps had", alice.ID.String(), ErrVersion},
		{"cut", good[:len(good)-1], ErrDamaged},
		{"longer", good + "A", ErrDamaged},
		{"oversized", prefix + strings.Repeat("A", 1<<20), ErrDamaged},
		{"not base64", good[:10] + "!" + good[11:], ErrDamaged},
		{"with a line break", good[:10] + "\n" + good[11:], ErrDamaged},
		{"another key", testKey(t, "6").Seal(alice), ErrForged},
		{"no signature", prefix + base64.RawURLEncoding.EncodeToString(make([]byte, sealedSize)), ErrForged},
		{"signed without a voter", sealedAs(Identity{}), ErrDamaged},
		{"signed with a bad order", sealedAs(Identity{ID: alice.ID, Order: vote.MaxOrder + 1, Choice: vote.A}), ErrDamaged},
		{"signed with a negative order", sealedAs(Identity{ID: alice.ID, Order: -1, Choice: vote.A}), ErrDamaged},
		{"signed with a bad choice", sealedAs(Identity{ID: alice.ID, Order: 1, Choice: 'c'}), ErrDamaged},
		{"signed with a choice but no order", sealedAs(Identity{ID: alice.ID, Choice: 'a'}), ErrDamaged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := key.Open(tt.value)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open = %v, want %v", err, tt.want)
			}
			if err != nil && id != (Identity{}) {
				t.Errorf("an identity came with the error: %v", id)
			}
		})
	}
	if id, _ := key.Open(good); id != alice {
		t.Errorf("Open(Seal(%v)) = %v", alice, id)
	}
}

func TestEveryBitIsSigned(t *testing.T) {
	key := testKey(t, "5")
	sealed, err := base64.RawURLEncoding.DecodeString(key.Seal(alice)[len(prefix):])
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(sealed) * 8 {
		sealed[bit/8] ^= 1 << (bit % 8)
		if _, err := key.Open(prefix + base64.RawURLEncoding.EncodeToString(sealed)); !errors.Is(err, ErrForged) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
		sealed[bit/8] ^= 1 << (bit % 8)
	}
}

func TestFromRequest(t *testing.T) {
	key := testKey(t, "5")
	good := key.Seal(alice)
	for _, tt := range []struct {
		name   string
		cookie []string
		want   Identity
		err    error
	}{
		{"none", nil, Identity{}, nil},
		{"good", []string{CookieName + "=" + good}, alice, nil},
		{"among others", []string{"x=1; " + CookieName + "=" + good + "; y=2"}, alice, nil},
		{"twice in a header", []string{CookieName + "=" + good + "; " + CookieName + "=" + good}, Identity{}, ErrDuplicate},
		{"in two headers", []string{CookieName + "=" + good, CookieName + "=x"}, Identity{}, ErrDuplicate},
		{"in the second header", []string{"x=1", CookieName + "=" + good}, alice, nil},
		{"in quotation marks", []string{CookieName + "=\"" + good + "\""}, alice, nil},
		{"with white space", []string{"x;  " + CookieName + "=" + good + " ;"}, alice, nil},
		{"only alike", []string{"x" + CookieName + "=" + good + "; " + CookieName + "2=" + good}, Identity{}, nil},
		{"without a value", []string{CookieName}, Identity{}, ErrVersion},
		{"oversized", []string{CookieName + "=" + good + strings.Repeat("A", 60<<10)}, Identity{}, ErrDamaged},
		{"old", []string{CookieName + "=" + strings.Replace(good, "v1", "v0", 1)}, Identity{}, ErrVersion},
		{"forged", []string{CookieName + "=" + testKey(t, "6").Seal(alice)}, Identity{}, ErrForged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := key.FromRequest(&http.Request{Header: http.Header{"Cookie": tt.cookie}})
			if id != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("FromRequest = %v, %v; want %v, %v", id, err, tt.want, tt.err)
			}
		})
	}
}

func TestDerivedIDs(t *testing.T) {
	key := testKey(t, "5")
	request1, request2 := uuid.New(), uuid.New()
	one := key.VoteID(request1)
	switch {
	case one != key.VoteID(request1):
		t.Error("a retry is another vote")
	case one == key.VoteID(request2):
		t.Error("two requests are one vote")
	case one == testKey(t, "6").VoteID(request1):
		t.Error("the key does not matter")
	case key.VoterID(one) == one:
		t.Error("voter and vote have the same id")
	case one.Version() != 8 || one.Variant() != uuid.RFC4122:
		t.Errorf("%v is not a uuid of version 8", one)
	}
}

func TestSetCookie(t *testing.T) {
	key := testKey(t, "5")
	c, err := http.ParseSetCookie(key.SetCookie(alice))
	if err != nil || c.Valid() != nil || len(c.Unparsed) != 0 {
		t.Fatalf("%v, %v", c, err)
	}
	if c.Name != CookieName || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge <= 0 {
		t.Errorf("cookie %v", c)
	}
	if id, err := key.Open(c.Value); id != alice || err != nil {
		t.Errorf("cookie of %v, %v", id, err)
	}
}

func FuzzOpen(f *testing.F) {
	key := testKey(f, "5")
	f.Add(key.Seal(alice))
	f.Add(key.Seal(Identity{ID: alice.ID}))
	f.Add("v1.")
	f.Add("")
	f.Add("v1." + strings.Repeat("A", 56))
	f.Fuzz(func(t *testing.T, value string) {
		id, err := key.Open(value)
		if err != nil {
			if id != (Identity{}) {
				t.Fatalf("an identity came with the error %v: %v", err, id)
			}
			return
		}
		if key.Seal(id) != value {
			t.Fatalf("Open accepted %q, which is not what Seal writes", value)
		}
	})
}

func FuzzFromRequest(f *testing.F) {
	key := testKey(f, "5")
	f.Add(CookieName + "=" + key.Seal(alice))
	f.Add(CookieName + "=a; " + CookieName + "=b")
	f.Add(CookieName + "=\"v1.x\"; =; ;;")
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		id, err := key.FromRequest(r)
		if err != nil && id != (Identity{}) {
			t.Fatalf("an identity came with the error %v: %v", err, id)
		}
		// Go's own parser leaves out cookies that it holds for malformed; nobody may be recognised by one of those.
		var others []Identity
		for _, c := range r.CookiesNamed(CookieName) {
			if other, err := key.Open(c.Value); err == nil {
				others = append(others, other)
			}
		}
		switch {
		case id != Identity{} && !slices.Equal(others, []Identity{id}):
			t.Fatalf("%v was recognised, by http %v", id, others)
		case len(others) > 0 && err == nil && id == Identity{}:
			t.Fatalf("nobody was recognised, by http %v", others)
		}
	})
}

func BenchmarkOpenSeal(b *testing.B) {
	key := testKey(b, "5")
	value := key.Seal(alice)
	b.ReportAllocs()
	for b.Loop() {
		id, err := key.Open(value)
		if err != nil {
			b.Fatal(err)
		}
		key.Seal(id)
	}
}
