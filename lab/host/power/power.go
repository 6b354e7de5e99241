// Package power switches nodes on and off. [Vagrant] goes through the vagrant command, which knows all providers; [Switch] is for faults, takes
// the power from a node without a word, and asks the provider itself where Vagrant would be polite or slow. What a node does once it has power
// is none of its business.
package power

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/inherit"
	"github.com/swarmlab/swarmlab/lab/host/lock"
	"github.com/swarmlab/swarmlab/lab/host/plain"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// EnvLockHeld is set for vagrant, which by it knows that this command holds the clone's lock and prepares the lab; the
// Vagrantfile sets it for `lab vagrant`, for the same reason (vagrant/up.rb).
const EnvLockHeld = inherit.Held

// patience is how long vagrant may take to put things in order after an interrupt before it is killed.
const patience = 20 * time.Second

// Vagrant runs vagrant commands in a lab's clone, under the lab's settings.
type Vagrant struct {
	lab *settings.Lab
	// output receives everything that vagrant prints.
	output io.Writer
}

// New returns the vagrant command of a lab; its output goes to output.
func New(lab *settings.Lab, output io.Writer) *Vagrant { return &Vagrant{lab: lab, output: output} }

// Up creates or starts the nodes, in parallel, and provisions those it created or started. No node means all. A node
// that fails is left as it is, to be looked at and taken up again.
func (v *Vagrant) Up(ctx context.Context, nodes ...string) error {
	return v.run(ctx, "up", append([]string{"--provider=" + v.lab.Provider, "--no-destroy-on-error"}, nodes...)...)
}

// Provision installs on running nodes what has changed.
func (v *Vagrant) Provision(ctx context.Context, nodes ...string) error {
	return v.run(ctx, "provision", nodes...)
}

// Sync copies the shared folders to running nodes whose provider does not mount them.
func (v *Vagrant) Sync(ctx context.Context, nodes ...string) error {
	return v.run(ctx, "rsync", nodes...)
}

// Destroy removes nodes with their volumes. They are always named: what Vagrant takes for all its machines may be more than the lab's. One after
// the other: in parallel the last of libvirt's machines compete for removing the network they shared, and some fail.
func (v *Vagrant) Destroy(ctx context.Context, nodes ...string) error {
	if len(nodes) == 0 {
		return errors.New("destroy which nodes? None is named")
	}
	return v.run(ctx, "destroy", append([]string{"--force"}, nodes...)...)
}

// State of a node's machine, whatever the provider calls it.
type State int

// The states that matter.
const (
	// StateAbsent: not made yet, or removed.
	StateAbsent State = iota
	// StateOff: there, not running.
	StateOff
	// StatePaused: frozen, with its memory.
	StatePaused
	StateRunning
	// StateUnknown: its provider does not tell, or tells in a word that is none of the others. It may be running: nothing
	// may be done that would be wrong then.
	StateUnknown
	// StateKept: there is no machine, but what was on it: a new one will have it.
	StateKept
)

// statusPatience bounds `vagrant status`: it takes a second for each node, or a minute for all where the host is busy.
const statusPatience = 5 * time.Minute

// States asks Vagrant for the state of all nodes. One that Vagrant does not mention is unknown.
func (v *Vagrant) States(ctx context.Context) (map[string]State, error) {
	asking, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	var out strings.Builder
	cmd := v.command(asking, "status", "--machine-readable")
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() == nil && asking.Err() != nil {
			return nil, fmt.Errorf("could not tell which nodes run: `vagrant status` did not end within %s", statusPatience)
		}
		if said := parseError(out.String()); said != "" {
			return nil, fmt.Errorf("vagrant status: %s", said)
		}
		return nil, fmt.Errorf("vagrant status: %w", err)
	}
	states, err := parseStates(out.String())
	if err == nil && v.lab.Topology != nil {
		for _, node := range v.lab.Topology.Names() {
			if _, told := states[node]; !told {
				states[node] = StateUnknown
			}
		}
	}
	return states, err
}

// parseError finds what a machine-readable command failed with: timestamp,machine,error-exit,class,message.
func parseError(text string) string {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ",", 5)
		if len(fields) == 5 && fields[2] == "error-exit" {
			return strings.NewReplacer("%!(VAGRANT_COMMA)", ",", `\n`, " ", `\r`, "").Replace(fields[4])
		}
	}
	return ""
}

// parseStates reads `vagrant status --machine-readable`: timestamp,machine,kind,data…
func parseStates(text string) (map[string]State, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	states := map[string]State{}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return states, nil
		}
		if err != nil {
			return nil, fmt.Errorf("vagrant status: %w", err)
		}
		if len(record) < 4 || record[2] != "state" {
			continue
		}
		switch record[3] {
		case "running":
			states[record[1]] = StateRunning
		case "not_created":
			states[record[1]] = StateAbsent
		case "paused", "saved", "suspended", "pmsuspended":
			states[record[1]] = StatePaused
		// In the words of VirtualBox, libvirt, Docker, VMware and Parallels.
		case "poweroff", "aborted", "aborted-saved", "gurumeditation", "shutoff", "crashed", "stopped", "not_running", "off":
			states[record[1]] = StateOff
		default: // unknown, inaccessible, host_state_unknown, preparing, …
			states[record[1]] = StateUnknown
		}
	}
}

func (v *Vagrant) run(ctx context.Context, verb string, args ...string) error {
	cmd := v.command(ctx, append([]string{verb}, args...)...)
	words := strings.Join(append([]string{"vagrant", verb}, args...), " ")
	fmt.Fprintf(v.output, "\n$ %s\n", words)
	// Were this process killed, vagrant would go on: the lab stays locked for as long as it does.
	member, err := lock.Join(lock.Working(v.lab), "`"+words+"`")
	if err != nil {
		return err
	}
	defer member.Leave()
	cmd.Env = append(cmd.Env, EnvLockHeld+"=1")
	handDown(cmd, member.File())
	if err = cmd.Start(); err == nil {
		member.Sign("`"+words+"`", cmd.Process.Pid)
		err = cmd.Wait()
	}
	if err != nil {
		if ctx.Err() != nil {
			if cmd.Process != nil {
				// What the interrupt did not end, vagrant's own children included. Usually nothing is left, and the error says so.
				killGroup(cmd.Process)
			}
			return ctx.Err()
		}
		if errors.Is(err, exec.ErrNotFound) {
			return errors.New("vagrant is not installed: `make up` installs it on Debian and Ubuntu, `bin/lab doctor` says how elsewhere")
		}
		return fmt.Errorf("vagrant %s: %w", verb, err)
	}
	return nil
}

func (v *Vagrant) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "vagrant", append(args, "--no-color")...)
	cmd.Dir = v.lab.Dir
	cmd.Env = v.environ()
	cmd.Stdout, cmd.Stderr = v.output, v.output
	// In a process group of its own vagrant does not get the terminal's ctrl-C beside ours: it takes a second interrupt
	// as the order to drop everything.
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	return cmd
}

// environ is what vagrant gets: the lab's settings, no proxy in its way to the nodes, and a language in which it can read the clone's path.
func (v *Vagrant) environ() []string {
	env := inherit.Environ(os.Environ(), append(v.lab.Environ(), "VAGRANT_CHECKPOINT_DISABLE=1")...)
	if utf8, _ := plain.Unicode(os.Getenv); !utf8 && !plain.IsASCII(v.lab.Dir) {
		env = append(env, "LC_ALL="+utf8Locale())
	}
	for i, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if slices.Contains(inherit.NoProxies(), name) && v.lab.Subnet.IsValid() {
			env[i] = name + "=" + inherit.Except(value, v.lab.Subnet.String())
		}
	}
	return env
}

// utf8Locale is a language that this host has without anybody having installed it.
func utf8Locale() string {
	if runtime.GOOS == "darwin" {
		return "en_US.UTF-8"
	}
	return "C.UTF-8"
}
