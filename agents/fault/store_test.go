package fault

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
)

func FuzzParseRecord(f *testing.F) {
	for _, kind := range faultkind.All() {
		content, err := json.Marshal(Record{
			ID: "01234567", Spec: of(kind), Holder: "me", Injected: time.Unix(1e9, 0).UTC(), Phase: InForce,
			Deadline: Instant{Boot: "b", At: time.Hour}, Before: Before{ID: "c", PID: 7}, Evidence: "seen",
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte(`{"id":"../../x","fault":{"kind":"stop","container":"web"},"phase":"in-force"}`))
	f.Add([]byte(`{"id":"01234567","fault":{"kind":"stop"},"phase":"in-force"}`))
	f.Add([]byte(`{"id":"01234567","fault":{"kind":"stop","container":"web"},"phase":"over"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := parseRecord(content)
		if err != nil {
			return
		}
		if (&Deps{}).verb(r.Spec.Kind) == nil || !validID(r.ID) {
			t.Errorf("nobody can end %+v", r)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		same, err := parseRecord(again)
		if err != nil {
			t.Fatal(err)
		}
		third, err := json.Marshal(same)
		if err != nil || !bytes.Equal(again, third) {
			t.Errorf("%s became %s, %v", again, third, err)
		}
	})
}

func TestInstant(t *testing.T) {
	i := Instant{Boot: "one", At: time.Hour}
	for _, c := range []struct {
		later Instant
		want  time.Duration
	}{
		{i.Add(time.Minute), time.Minute}, {i, 0}, {i.Add(-time.Minute), 0}, {Instant{Boot: "two", At: 2 * time.Hour}, 0},
	} {
		if got := i.Until(c.later); got != c.want {
			t.Errorf("%v until %v is %v, want %v", i, c.later, got, c.want)
		}
	}
	a, err := Now()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Now()
	if err != nil || a.Boot == "" || a.Boot != b.Boot || a.At <= 0 || b.At < a.At {
		t.Errorf("%v, %v, %v", a, b, err)
	}
}

func TestRules(t *testing.T) {
	const want = `add table inet t
add counter inet t dropped
add chain inet t in { type filter hook prerouting priority raw - 10; policy accept; }
add chain inet t out { type filter hook output priority raw - 10; policy accept; }
add rule inet t in ip saddr { 10.0.0.1, 10.0.0.2 } tcp dport 7400 accept
add rule inet t in ip saddr { 10.0.0.1, 10.0.0.2 } tcp sport 7400 accept
add rule inet t in ip saddr { 10.0.0.1, 10.0.0.2 } counter name dropped drop
add rule inet t in ip daddr { 10.0.0.1, 10.0.0.2 } tcp dport 7400 accept
add rule inet t in ip daddr { 10.0.0.1, 10.0.0.2 } tcp sport 7400 accept
add rule inet t in ip daddr { 10.0.0.1, 10.0.0.2 } counter name dropped drop
add rule inet t out ip daddr { 10.0.0.1, 10.0.0.2 } tcp dport 7400 accept
add rule inet t out ip daddr { 10.0.0.1, 10.0.0.2 } tcp sport 7400 accept
add rule inet t out ip daddr { 10.0.0.1, 10.0.0.2 } counter name dropped drop
`
	if got := rules("t", []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}, 7400); got != want {
		t.Errorf("got\n%s", got)
	}
}
