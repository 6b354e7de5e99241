// Package drill says what a failure drill is: what gets broken, what must be seen then and within what time, and what people are told and
// asked. Drills are YAML files; those that come with the kit are in the binary.
//
// A drill is read in full before anything happens: unknown fields, impossible numbers and expressions that do not compile are errors with
// their lines. What it means on a running lab is the business of package rehearsal.
package drill

import (
	"fmt"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
)

// Drill is one experiment on a lab.
type Drill struct {
	// ID is a short name in lower case, "redis-stop".
	ID    string `yaml:"id"`
	Title string `yaml:"title"`
	// Section of the tutorial's "Troubleshooting the application"; one of Sections.
	Section string `yaml:"section"`
	// Story is what happens, told before.
	Story string `yaml:"story"`
	// Predict are the questions to answer before anything is broken.
	Predict []Question `yaml:"predict"`
	// Machines: it can be done on virtual machines only, not on nodes that are containers.
	Machines bool `yaml:"machines"`
	Load     Load `yaml:"load"`
	// Steady must hold before, and again afterwards, besides what every drill demands; see Steady.
	Steady []Check `yaml:"steady"`
	// Inject is what is broken. Times count from the first injection.
	Inject []Injection `yaml:"inject"`
	// Watch is how long things are watched from the first injection on, if longer than the faults last.
	Watch time.Duration `yaml:"watch"`
	// Expect must be seen while the faults last; times count from the last injection that stands before it.
	Expect []Check `yaml:"expect"`
	// Recover must be seen after the faults were healed; times count from the order to heal.
	Recover []Check `yaml:"recover"`
	// RecoverWithin is when the steady state must be back.
	RecoverWithin time.Duration `yaml:"recover_within"`
	// Stop ends the drill before its time, and heals, as soon as it is true.
	Stop Condition `yaml:"stop"`
	// ErrorsAtMost is the share of tries that may fail from the first injection to the end of the load, 0 to 1; nil: any.
	ErrorsAtMost *float64 `yaml:"errors_at_most"`
	Debrief      string   `yaml:"debrief"`
	// Fix is what would make the app stand it.
	Fix string `yaml:"fix"`

	warnings []string
}

// Warnings are about words in the drill's file that are read in this release, and no longer in the next: one line each, with its place.
func (d *Drill) Warnings() []string { return d.warnings }

// Question asks for a prediction; the answer is told afterwards.
type Question struct {
	Ask    string `yaml:"ask"`
	Answer string `yaml:"answer"`
}

// Load is how votes are cast meanwhile.
type Load struct {
	// Rate is votes per second, by the clock.
	Rate float64 `yaml:"rate"`
	// Change is the share of votes by somebody who voted before.
	Change float64 `yaml:"change"`
	// Before is how long votes are cast before the first injection, After how long when all is well again.
	Before time.Duration `yaml:"before"`
	After  time.Duration `yaml:"after"`
}

// Injection breaks something.
type Injection struct {
	// Fault is its kind, as `lab fault` has it.
	Fault string `yaml:"fault"`
	// Container, or Node, is the target.
	Container string `yaml:"container"`
	Node      string `yaml:"node"`
	// Peers of a partition.
	Peers []string `yaml:"from"`
	// At is when, from the first injection on.
	At time.Duration `yaml:"at"`
	// For is how long it lasts; the drill ends it then. 0 for what is over once it has happened, as a kill.
	For time.Duration `yaml:"for"`
	// How bad it is: delay, jitter, loss (0 to 1), rate (bytes per second) and skew, each for the kinds that take it.
	faultkind.Strength `yaml:",inline"`

	at place
}

// Target is what is broken, by name.
func (i Injection) Target() string {
	if i.Container != "" {
		return i.Container
	}
	return i.Node
}

// Mistake is something that is wrong with it, with its place in the drill's file.
func (i Injection) Mistake(format string, args ...any) error { return i.at.mistake(format, args...) }

// What is broken and how, in two words: "stop redis01".
func (i Injection) What() string { return i.Fault + " " + i.Target() }

// Check is something that has to be seen.
type Check struct {
	// See says it in words.
	See  string    `yaml:"see"`
	When Condition `yaml:"when"`
	// Within is how long it may take to be seen for the first time.
	Within time.Duration `yaml:"within"`
	// Always: from From on it has to hold all the time, to the end of the phase. Nothing is said about what was before.
	Always bool          `yaml:"always"`
	From   time.Duration `yaml:"from"`
	// After is the number of the injection from which the times count, 1 for the first; 0 is the first as well.
	After int `yaml:"after"`
	// Annotation names the moment in the plots, Metric the time it took, in the report.
	Annotation string `yaml:"annotation"`
	Metric     string `yaml:"metric"`
}

// place is where something stands; that of what was made elsewhere is empty.
type place struct {
	file string
	line int
}

func (p place) mistake(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if p.file == "" {
		return err
	}
	return &Error{File: p.file, Line: p.line, Text: err.Error(), cause: err}
}

// Condition is an expression over an Env.
type Condition struct {
	Text    string
	program *vm.Program
	// parts are what it looks at, to be told when it does not hold.
	parts []part
	// looks make all its calls, for Check.
	looks []*vm.Program
	at    place
}

// Sections of the tutorial's "Troubleshooting the application", in its order.
func Sections() []string {
	return []string{
		"Swarm manager failures", "Consul failures", "Interlock load balancer failures", "web-vote-app failures", "Redis failures",
		"Worker failures", "Postgres failures", "Results-app failures", "Infrastructure failures",
	}
}

// Length is for how long faults are in force and things are watched, from the first injection on.
func (d *Drill) Length() time.Duration {
	length := d.Watch
	for _, i := range d.Inject {
		length = max(length, i.At+i.For)
	}
	return length
}
