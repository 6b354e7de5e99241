// Package noquery keeps the packages of the terminal UI from asking the terminal for its colours before main runs.
//
// When bubbletea is initialized it asks the terminal for its background and waits for up to five seconds, in each program that is linked with
// it, whatever the program was called for. The packages below it do not ask where the environment says CI. So this package says so, and
// [Restore], which main calls first of all, takes it back.
//
// It comes in time by the rules of the language (The Go Programming Language Specification, Program initialization): of all packages whose
// imports are initialized, the one with the first import path is next. This one imports nothing but syscall, and its path sorts before os, which
// all that can write to a terminal imports. So it must not import more.
package noquery

import "syscall"

// variable is what termenv looks for: where it is set, nothing is a terminal.
const variable = "CI"

// before is what this process was given.
var before, given = syscall.Getenv(variable)

//nolint:gochecknoinits // only another initialization comes before the one that asks
func init() { _ = syscall.Setenv(variable, "true") } // an error leaves the question asked, which is no reason not to start

// Restore gives the environment back as this process was given it.
func Restore() {
	if given {
		_ = syscall.Setenv(variable, before) // it was set to this before
		return
	}
	_ = syscall.Unsetenv(variable) // it does not fail for a name that could be set
}
