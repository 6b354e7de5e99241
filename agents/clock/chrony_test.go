package clock

import (
	"strings"
	"testing"
)

// What chrony 4.3 printed, on its own, as a server in local mode and as that server's client.
const (
	printedAtStart = "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n"
	printedLocal   = "7F7F0101,,10,1795241167.708850747,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,0.000000000,0.000000000,0.0,Normal\n"
	printedClient  = "C0A8210B,192.168.33.11,11,1795241176.058455356,-0.000001857,-0.000000217,0.000000217,-0.014,-0.000,0.866,0.000004561,0.000004377,4.0,Normal\n"
)

func TestParseTracking(t *testing.T) {
	for text, want := range map[string]Tracking{
		printedAtStart: {},
		printedLocal:   {Source: Local, Stratum: 10},
		printedClient:  {Source: "192.168.33.11", Stratum: 11},
		strings.Replace(printedClient, "Normal", "Insert second", 1):    {Source: "192.168.33.11", Stratum: 11},
		strings.Replace(printedClient, "Normal", "Not synchronised", 1): {},
		strings.Replace(printedClient, ",11,", ",16,", 1):               {},
	} {
		got, err := ParseTracking(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestParseTrackingRefuses(t *testing.T) {
	for _, text := range []string{
		"", "\n", "506 Cannot talk to daemon\n", "a,b\n",
		strings.Replace(printedClient, ",11,", ",eleven,", 1),
		strings.Replace(printedClient, ",11,", ",-1,", 1),
		strings.Replace(printedClient, "192.168.33.11", "", 1),
		strings.TrimSpace(printedClient) + ",more\n",
	} {
		if got, err := ParseTracking(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzParseTracking(f *testing.F) {
	for _, text := range []string{printedAtStart, printedLocal, printedClient, "506 Cannot talk to daemon\n", "\"", ",,,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseTracking(text)
		if err != nil && got != (Tracking{}) {
			t.Errorf("%q: %+v beside %v", text, got, err)
		}
		if (got.Source == "") != (got.Stratum == 0) || got.Stratum < 0 || got.Stratum > maxStratum {
			t.Errorf("%q: %+v", text, got)
		}
	})
}
