package faultkind

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
)

func TestEveryKindSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	for _, k := range All() {
		if k.Does() == "" || !k.Known() {
			t.Errorf("%s does %q, known %v", k, k.Does(), k.Known())
		}
	}
	if Kind("burn").Known() || Kind("burn").Does() != "" || Kind("burn").OfContainer() {
		t.Error("burn is a kind")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]*agentv1.Fault{
		"stop redis01":                   {Kind: "stop", Container: "redis01"},
		"engine-stop":                    {Kind: "engine-stop"},
		"partition from worker01, store": {Kind: "partition", Peers: []string{"worker01", "store"}},
		"delay frontend01 by 1s":         {Kind: "delay", Container: "frontend01", Delay: durationpb.New(time.Second)},
		"loss worker01 20 %":             {Kind: "loss", Container: "worker01", Loss: 0.2},
		"loss worker01 0.01 %":           {Kind: "loss", Container: "worker01", Loss: 0.0001},
		"loss worker01 33.33 %":          {Kind: "loss", Container: "worker01", Loss: 1. / 3},
		"bandwidth pg 64 KiB/s":          {Kind: "bandwidth", Container: "pg", Rate: 64 << 10},
		"bandwidth pg 1.5 MiB/s":         {Kind: "bandwidth", Container: "pg", Rate: 3 << 19},
		"skew by -5s":                    {Kind: "skew", Skew: durationpb.New(-5 * time.Second)},
		"delay frontend01 by 200ms ± 50ms": {
			Kind: "delay", Container: "frontend01",
			Delay: durationpb.New(200 * time.Millisecond), Jitter: durationpb.New(50 * time.Millisecond),
		},
	} {
		if got := TextOf(f); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind     Kind
		strength Strength
		// complaint; empty: it will do.
		complaint string
	}{
		{Stop, Strength{}, ""},
		{Stop, Strength{Loss: 0.1}, "stop knows no loss"},
		{Stop, Strength{Loss: math.NaN()}, "stop knows no loss"},
		{Partition, Strength{Delay: 1, Jitter: 1, Loss: 1, Rate: 1, Skew: 1}, "partition knows no delay, no jitter, no loss, no rate, no skew"},
		{Delay, Strength{Delay: time.Millisecond}, ""},
		{Delay, Strength{Delay: 10 * time.Second, Jitter: 10 * time.Second}, ""},
		{Delay, Strength{}, "a delay of 0s; give one from 1ms to 10s"},
		{Delay, Strength{Delay: time.Microsecond}, "a delay of 1µs"},
		{Delay, Strength{Delay: time.Minute}, "a delay of 1m0s"},
		{Delay, Strength{Delay: -time.Second}, "a delay of -1s"},
		{Delay, Strength{Delay: time.Second, Jitter: 2 * time.Second}, "a jitter of 2s"},
		{Delay, Strength{Delay: time.Second, Jitter: -1}, "a jitter of -1ns"},
		{Delay, Strength{Delay: time.Second, Rate: 1 << 20}, "delay knows no rate"},
		{Loss, Strength{Loss: 1}, ""},
		{Loss, Strength{Loss: 0.0001}, ""},
		{Loss, Strength{}, "a loss of 0 %"},
		{Loss, Strength{Loss: 1.1}, "a loss of 110 %"},
		{Loss, Strength{Loss: -0.1}, "a loss of -10 %"},
		{Loss, Strength{Loss: math.NaN()}, "a loss of NaN"},
		{Loss, Strength{Loss: math.Inf(1)}, "a loss of +Inf"},
		{Bandwidth, Strength{Rate: 1 << 10}, ""},
		{Bandwidth, Strength{Rate: 1 << 30}, ""},
		{Bandwidth, Strength{Rate: 1000}, "a rate of 1000 B/s; give one from 1 KiB/s to 1 GiB/s"},
		{Bandwidth, Strength{Rate: 1 << 31}, "a rate of 2 GiB/s"},
		{Bandwidth, Strength{Rate: 1 << 20, Skew: time.Second}, "bandwidth knows no skew"},
		{Skew, Strength{Skew: time.Hour}, ""},
		{Skew, Strength{Skew: -time.Second}, ""},
		{Skew, Strength{}, "a skew of 0s; give one from 1s to 1h0m0s, ahead or behind"},
		{Skew, Strength{Skew: -2 * time.Hour}, "a skew of -2h0m0s"},
		{Skew, Strength{Skew: math.MinInt64}, "a skew of"},
		{Skew, Strength{Skew: time.Minute, Jitter: 1}, "skew knows no jitter"},
	} {
		err := c.strength.Check(c.kind)
		if (err == nil) != (c.complaint == "") || err != nil && !strings.HasPrefix(err.Error(), c.complaint) {
			t.Errorf("%s %+v: %v, want %q", c.kind, c.strength, err, c.complaint)
		}
	}
}
