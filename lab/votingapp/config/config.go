// Package config reads a program's settings from its environment and from secret files. It collects all that is wrong with them, so
// that somebody who starts a container manually learns everything at once; every message names the variable.
package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Env reads settings and remembers what was wrong.
type Env struct {
	lookup   func(string) (string, bool)
	readFile func(string) ([]byte, error)
	errs     []error
}

// FromOS reads the environment of the process.
func FromOS() *Env { return New(os.LookupEnv, os.ReadFile) }

// New reads through the given functions.
func New(lookup func(string) (string, bool), readFile func(string) ([]byte, error)) *Env {
	return &Env{lookup: lookup, readFile: readFile}
}

// Err is everything that was wrong, or nil.
func (e *Env) Err() error { return errors.Join(e.errs...) }

func (e *Env) fail(name, value, want string) {
	e.errs = append(e.errs, fmt.Errorf("%s=%q: %s", name, value, want))
}

// Has tells whether a variable is set and not empty.
func (e *Env) Has(name string) bool {
	value, _ := e.lookup(name)
	return value != ""
}

// String is a text. An empty variable counts as not set.
func (e *Env) String(name, fallback string) string {
	if value, _ := e.lookup(name); value != "" {
		return value
	}
	return fallback
}

// Int is a whole number from low to high; leading zeros are allowed, as in WORKER_NUMBER=01.
func (e *Env) Int(name string, low, high int) int {
	value, ok := e.lookup(name)
	if !ok || value == "" {
		e.errs = append(e.errs, fmt.Errorf("%s is not set: give a whole number from %d to %d", name, low, high))
		return low
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		e.fail(name, value, fmt.Sprintf("want a whole number from %d to %d", low, high))
		return low
	}
	return n
}

// Addr is a host:port, or a :port to listen on if fallback is one.
func (e *Env) Addr(name, fallback string) string {
	value := e.String(name, fallback)
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		e.fail(name, value, "want host:port")
		return value
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		e.fail(name, value, "the port is not a number from 0 to 65535")
	}
	if host == "" && !strings.HasPrefix(fallback, ":") {
		e.fail(name, value, "the host is missing")
	}
	return value
}

// Secret is the content of the file that the variable names, without white space around it. The variable set to nothing means: no
// secret.
func (e *Env) Secret(name, fallback string) string {
	path, ok := e.lookup(name)
	if !ok {
		path = fallback
	}
	if path == "" {
		return ""
	}
	content, err := e.readFile(path)
	if err != nil {
		e.errs = append(e.errs, fmt.Errorf("%s: %w: mount the secret there, or name another file", name, err))
		return ""
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		e.errs = append(e.errs, fmt.Errorf("%s: the file %s is empty", name, path))
	}
	return secret
}

// Invalid records a complaint about a variable that the caller found.
func (e *Env) Invalid(name string, err error) {
	e.errs = append(e.errs, fmt.Errorf("%s: %w", name, err))
}
