package drill

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
	"github.com/goccy/go-yaml"
)

// Env is what a condition is about: the lab at one moment, as it is seen from outside. Numbers that nobody tells are -1, so that
// `queue("frontend01") < 10` is to be written with `>= 0` where silence must not count. The functions fail for a name that the lab does not have.
type Env struct {
	// Elapsed is seconds since the moment from which the check's times count.
	Elapsed float64 `expr:"elapsed"`

	// Ready: every node is all that it should be. Faults in force or ending, on the nodes and of their power.
	Ready  bool `expr:"ready"`
	Faults int  `expr:"faults"`
	// Voting and Results are the HTTP statuses of the voting page and of the tally, 503 for one that would be old; 0: no answer.
	Voting  int `expr:"voting"`
	Results int `expr:"results"`

	// Rate is the votes per second that are cast. Accepted, Failed (tries) and Counted (votes that left the
	// queues) are per second, over the last two seconds.
	Rate     float64 `expr:"rate"`
	Accepted float64 `expr:"accepted"`
	Failed   float64 `expr:"failed"`
	Counted  float64 `expr:"counted"`
	// Silent is seconds since a vote was accepted last.
	Silent float64 `expr:"silent"`
	// P99 of the latency of the votes accepted in the last half second, in milliseconds.
	P99 float64 `expr:"p99"`
	// Queued is the votes that wait in all queues that tell.
	Queued float64 `expr:"queued"`

	// Queue is the votes that wait at a frontend.
	Queue func(frontend string) (float64, error) `expr:"queue"`
	// Container is Docker's word for a container's state, as "running", "exited" or "paused"; "missing", or "away" with its node or engine.
	Container func(name string) (string, error) `expr:"container"`
	// Restarted: the container runs, but no longer as the process that it was in the steady state.
	Restarted func(name string) (bool, error) `expr:"restarted"`
	// Died: a node told that the container's process ended, since the steady state.
	Died func(name string) (bool, error) `expr:"died"`
	// Connected: the container has an address on mynet.
	Connected func(name string) (bool, error) `expr:"connected"`
	// Node is "ready", "degraded" or "away".
	Node func(name string) (string, error) `expr:"node"`
	// Engine is "up", "down", or "away" with the node.
	Engine func(node string) (string, error) `expr:"engine"`
	// Healthy: the node's role says that it does its job.
	Healthy func(node string) (bool, error) `expr:"healthy"`
	// Server is how the balancer calls a frontend: "up", "down", "absent" from its configuration, or "unknown" when it does not answer.
	Server func(frontend string) (string, error) `expr:"server"`
	// Registered is how many services of a node Consul knows.
	Registered func(node string) (float64, error) `expr:"registered"`
}

// Compile makes a condition of an expression.
func Compile(text string) (Condition, error) {
	if strings.TrimSpace(text) == "" {
		return Condition{}, errors.New("the condition is empty")
	}
	program, err := expr.Compile(text, expr.Env(Env{}), expr.AsBool())
	if err != nil {
		return Condition{}, err
	}
	c := Condition{Text: text, program: program}
	tree, err := parser.Parse(text)
	if err != nil {
		return Condition{}, err
	}
	// What cannot be looked at by itself is not told; the condition is good all the same.
	for _, p := range partsOf(tree.Node) {
		if p.program, err = expr.Compile(p.source, expr.Env(Env{})); err == nil {
			c.parts = append(c.parts, p)
		}
	}
	for _, look := range looks(tree.Node) {
		if program, err := expr.Compile(look, expr.Env(Env{})); err == nil {
			c.looks = append(c.looks, program)
		}
	}
	return c, nil
}

// Saw says what a condition's parts are in an Env: `server("frontend01") is up, accepted is 140`.
func (c Condition) Saw(s Env) string {
	var said []string
	for _, part := range c.parts {
		value, err := vm.Run(part.program, s)
		switch v := value.(type) {
		case float64:
			value = math.Round(10*v) / 10
		case nil:
			value = err
		default:
			if reflect.TypeOf(v).Kind() == reflect.Func {
				continue
			}
		}
		said = append(said, fmt.Sprintf("%s is %v", part.shown, value))
	}
	return strings.Join(said, ", ")
}

// UnmarshalYAML implements yaml.BytesUnmarshaler. It leaves the compiling to Parse, which knows the line.
func (c *Condition) UnmarshalYAML(data []byte) error { return yaml.Unmarshal(data, &c.Text) }

// Set reports whether there is a condition.
func (c Condition) Set() bool { return c.program != nil }

// Holds evaluates the condition.
func (c Condition) Holds(s Env) (bool, error) {
	if !c.Set() {
		return false, errors.New("there is no condition")
	}
	result, err := vm.Run(c.program, s)
	if err != nil {
		return false, c.Mistake("%q: %w", c.Text, cause(err))
	}
	holds, ok := result.(bool)
	if !ok {
		return false, c.Mistake("%q: it is no yes or no but %v", c.Text, result)
	}
	return holds, nil
}

// NoSuchError says that a condition names what the lab does not have, in words as "node frontend99". The functions of an Env return it.
type NoSuchError struct{ What string }

func (e NoSuchError) Error() string { return "the lab has no " + e.What }

// Check finds what a condition names and the lab of the Env does not have, also where it is not looked at now.
func (c Condition) Check(s Env) error {
	programs := []*vm.Program{c.program}
	for _, part := range c.parts {
		programs = append(programs, part.program)
	}
	for _, program := range append(programs, c.looks...) {
		var missing NoSuchError
		if _, err := vm.Run(program, s); errors.As(err, &missing) {
			return c.Mistake("%q: %w", c.Text, missing)
		}
	}
	return nil
}

// Mistake is something that is wrong with a condition, with its place in the drill's file.
func (c Condition) Mistake(format string, args ...any) error { return c.at.mistake(format, args...) }

// cause is what an env's function had to say, without the excerpt that the library adds.
func cause(err error) error {
	var located *file.Error
	if errors.As(err, &located) && located.Prev != nil {
		return located.Prev
	}
	return err
}

// Steady must hold before each drill, and be back after it.
func Steady() ([]Check, error) {
	var all []Check
	for _, s := range []struct{ see, when string }{
		{"every node is ready", "ready"},
		{"no fault is in force", "faults == 0"},
		{"the voting page answers", "voting == 200"},
		{"the results page answers", "results == 200"},
		{"the queues are as good as empty", "queued >= 0 && queued <= max(50, 2 * rate)"},
	} {
		when, err := Compile(s.when)
		if err != nil {
			return nil, err
		}
		all = append(all, Check{See: s.see, When: when})
	}
	return all, nil
}
