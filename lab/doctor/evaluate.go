package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/owner"
)

// Evaluate turns facts into findings, in the order in which a person would mend them.
func Evaluate(f Facts) []Finding {
	j := &evaluation{Facts: &f}
	j.engine()
	j.memory()
	j.disks()
	j.inotify()
	j.kernel()
	j.name()
	j.subnet()
	j.hostPorts()
	j.vagrant()
	j.provider()
	j.kvm()
	j.records()
	j.goVersion()
	j.images()
	j.state()
	return j.findings
}

type evaluation struct {
	*Facts
	findings []Finding
	// trial: only the verdicts are wanted, not the fixes, which would ask for the verdicts again.
	trial bool
}

func (j *evaluation) ok(check, format string, args ...any) {
	j.add(Finding{Check: check, Status: OK, Message: fmt.Sprintf(format, args...)})
}

func (j *evaluation) skip(check, format string, args ...any) {
	j.add(Finding{Check: check, Status: Skip, Message: fmt.Sprintf(format, args...)})
}

func (j *evaluation) warn(check, fix, format string, args ...any) {
	j.add(Finding{Check: check, Status: Warn, Message: fmt.Sprintf(format, args...), Fix: fix})
}

// fail is for what hurts, but does not keep the lab from coming up.
func (j *evaluation) fail(check, fix, format string, args ...any) {
	j.add(Finding{Check: check, Status: Fail, Message: fmt.Sprintf(format, args...), Fix: fix})
}

// block is for what keeps the lab from coming up.
func (j *evaluation) block(check, fix, format string, args ...any) {
	j.add(Finding{Check: check, Status: Fail, Message: fmt.Sprintf(format, args...), Fix: fix, Blocking: true})
}

// blockIf blocks or, where that would be too much, warns.
func (j *evaluation) blockIf(blocking bool, check, fix, format string, args ...any) {
	if blocking {
		j.block(check, fix, format, args...)
		return
	}
	j.warn(check, fix, format, args...)
}

func (j *evaluation) add(f Finding) { j.findings = append(j.findings, f) }

// reason is the first line of an error, for people.
func reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// install says how to get a program.
func (j *evaluation) install(debian, brew string) string {
	switch {
	case j.Host.OS == "darwin":
		return "brew install " + brew
	case j.Host.Debian && j.Host.UID == 0:
		return "apt-get install -y " + debian
	case j.Host.Debian:
		return "sudo apt-get install -y " + debian
	}
	return "install " + debian + " with this system's package manager"
}

// sudo puts sudo before a command where it is needed.
func (j *evaluation) sudo(command string) string {
	if j.Host.UID == 0 {
		return command
	}
	return "sudo " + command
}

// quote makes a word safe to paste into a shell.
func quote(s string) string { return owner.Quote(s) }

// takeDown is the command that removes another lab.
func takeDown(o Owner) string {
	if o.FolderGone || o.Folder == "" {
		// Where its clone is gone nothing is left that could take it down but its labels.
		fix := owner.Removal(owner.Mark{Lab: o.Lab, Folder: o.Folder, Clone: o.Clone})
		if o.Folder != "" {
			fix += "   # if that clone was moved, and its lab is wanted, do not; `make down` there takes it down"
		}
		return fix
	}
	return "make -C " + quote(o.Folder) + " down"
}

// describe names another lab, with its folder.
func describe(o Owner) string {
	switch {
	case o.Lab == "":
		return "no lab"
	case o.FolderGone:
		return fmt.Sprintf("the lab %s of %s, a clone that is gone from there", o.Lab, o.Folder)
	case o.Folder == "":
		return "the lab " + o.Lab
	}
	return fmt.Sprintf("the lab %s of %s", o.Lab, o.Folder)
}

func gib(bytes uint64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30)) }

const mib = 1 << 20

// unknown says what could not be told, and why. It is neither a verdict on the host nor a reason to change anything.
func (j *evaluation) unknown(check, what string, err error) {
	j.add(Finding{Check: check, Status: Skip, Message: fmt.Sprintf("could not tell %s: %s", what, reason(err)), Unknown: true})
}

// why joins the reasons for which facts are not known, each told once. Those of which there is nothing to know do not count.
func why(errs ...error) error {
	var reasons []string
	var first error
	for _, err := range errs {
		if err == nil || errors.Is(err, ErrMissing) || errors.Is(err, ErrNotLooked) || slices.Contains(reasons, reason(err)) {
			continue
		}
		if first == nil {
			first = err
		}
		reasons = append(reasons, reason(err))
	}
	if len(reasons) < 2 {
		return first
	}
	return errors.New(strings.Join(reasons, "; "))
}

func unique(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}
