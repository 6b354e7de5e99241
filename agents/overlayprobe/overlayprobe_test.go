package overlayprobe

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

func TestQuestionAndAnswer(t *testing.T) {
	packet, err := question(7, "redis01")
	if err != nil {
		t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || m.ID != 7 || m.Questions[0].Name.String() != "redis01." {
		t.Fatalf("%+v, %v", m, err)
	}
	m.Response = true
	m.Answers = []dnsmessage.Resource{
		{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{10, 33, 1, 8}}},
	}
	if packet, err = m.Pack(); err != nil {
		t.Fatal(err)
	}
	id, addresses, err := answer(packet)
	if err != nil || id != 7 || !slices.Equal(addresses, []netip.Addr{netip.MustParseAddr("10.33.1.8")}) {
		t.Errorf("%d, %v, %v", id, addresses, err)
	}
	if _, _, err := answer([]byte("nonsense")); err == nil {
		t.Error("made sense of nonsense")
	}
	if _, err := question(1, strings.Repeat("x", 300)); err == nil {
		t.Error("asked for an endless name")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{})
	if packet, err := question(1, "redis01"); err == nil {
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if _, addresses, err := answer(packet); err != nil && len(addresses) > 0 {
			t.Errorf("both %v and %v", addresses, err)
		}
	})
}

// In the namespace of the test itself no name server answers, this machine does, and the broadcast address does not.
func TestProbe(t *testing.T) {
	here := netip.MustParseAddr("127.0.0.1")
	findings, err := Probe(t.Context(), os.Getpid(), []Target{
		{Name: "here", Node: "n", Address: here}, {Name: "nowhere", Node: "n", Address: netip.MustParseAddr("255.255.255.255")},
	})
	if errors.Is(err, unix.EPERM) {
		t.Skip("to enter a network namespace takes root")
	}
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(findings[0].Err, ErrNoName) || errors.Is(findings[0].Err, ErrNoAnswer) {
		t.Errorf("here: %v", findings[0].Err)
	}
	if !errors.Is(findings[1].Err, ErrNoName) || !errors.Is(findings[1].Err, ErrNoAnswer) {
		t.Errorf("nowhere: %v", findings[1].Err)
	}
	if _, err := Probe(t.Context(), 1<<30, []Target{{Address: here}}); err == nil {
		t.Error("probed from a process that does not exist")
	}
	if findings, err := Probe(t.Context(), 1, nil); err != nil || findings != nil {
		t.Errorf("nothing to probe: %v, %v", findings, err)
	}
}
