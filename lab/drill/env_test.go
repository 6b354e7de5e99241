package drill

import (
	"errors"
	"strings"
	"testing"
)

func env() Env {
	s := Env{Accepted: 140.26, Rate: 150, Ready: true}
	s.Server = func(name string) (string, error) {
		if name != "frontend01" {
			return "", errors.New("the lab has no node " + name)
		}
		return "up", nil
	}
	s.Container = func(string) (string, error) { return "paused", nil }
	return s
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		holds bool
		saw   string
	}{
		`accepted >= 0.9 * rate`:                       {true, "accepted is 140.3, rate is 150"},
		`server("frontend01") == "down"`:               {false, `server("frontend01") is up`},
		`container("pg") in ["paused", "away"]`:        {true, `container("pg") is paused`},
		`ready && accepted > 150 || accepted < 1`:      {false, "ready is true, accepted is 140.3"},
		`server("frontend01") == "up" && elapsed == 0`: {true, `server("frontend01") is up, elapsed is 0`},
		`all(["frontend01"], server(#) == "up")`:       {true, `all(["frontend01"], server(#) == "up") is true`},
		`any(["frontend01"], {server(#) == "down" || accepted < 1})`: {
			false, `any(["frontend01"], server(#) == "down" || accepted < 1) is false, accepted is 140.3`,
		},
		`count(["frontend01"], server(#) != "up") > rate`: {false, `count(["frontend01"], server(#) != "up") is 0, rate is 150`},
		`["frontend01"] | all(server(#) == "up")`:         {true, `all(["frontend01"], server(#) == "up") is true`},
		`all(1..2, let n = #; any([n], # > 5 && ready))`:  {false, `all(1..2, let n = #; any([n], # > 5 && ready)) is false, ready is true`},
		`let enough = 0.5 * rate; accepted > enough`:      {true, "rate is 150, accepted is 140.3"},
		`let name = "frontend01"; server(name) == "down"`: {false, `server(name) is up`},
		`let a = "front"; let b = a + "end01"; server(b) == "up" ? ready : false`: {
			true, `server(b) is up, ready is true`,
		},
		`all(map(["frontend01"], server(#)), # == "up")`: {
			true, `all(map(["frontend01"], server(#)), # == "up") is true, map(["frontend01"], server(#)) is [up]`,
		},
		`reduce([1, 2], #acc + # * rate, 0) > accepted`: {true, "reduce([1, 2], #acc + # * rate, 0) is 450, rate is 150, accepted is 140.3"},
		`server != nil && ready`:                        {true, "ready is true"},
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if holds, err := c.Holds(env()); err != nil || holds != want.holds {
			t.Errorf("%s: %t, %v", text, holds, err)
		}
		if saw := c.Saw(env()); saw != want.saw {
			t.Errorf("%s: saw %q, want %q", text, saw, want.saw)
		}
	}
}

// A name that the lab does not have is no plain no.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	c, err := Compile(`server("frontend99") == "up"`)
	if err != nil {
		t.Fatal(err)
	}
	if holds, err := c.Holds(env()); err == nil || holds || !strings.Contains(err.Error(), "no node frontend99") {
		t.Errorf("%t, %v", holds, err)
	}
	if saw := c.Saw(env()); !strings.Contains(saw, "no node frontend99") {
		t.Error(saw)
	}
	if _, err := (Condition{}).Holds(env()); err == nil {
		t.Error("no condition holds")
	}
}

func TestSteady(t *testing.T) {
	t.Parallel()
	all, err := Steady()
	if err != nil || len(all) < 4 {
		t.Fatalf("%v, %v", all, err)
	}
	s := env()
	s.Voting, s.Results, s.Queued = 200, 200, 3
	for _, c := range all {
		if holds, err := c.When.Holds(s); err != nil || !holds {
			t.Errorf("%s: %t, %v", c.See, holds, err)
		}
	}
}
