package config

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func env(vars map[string]string, files map[string]string) *Env {
	return New(
		func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		func(path string) ([]byte, error) {
			if content, ok := files[path]; ok {
				return []byte(content), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	)
}

func TestGood(t *testing.T) {
	e := env(map[string]string{
		"N": "01", "S": "x", "EMPTY": "", "A": "store:5432", "L": ":0", "P": "/pw", "NOPW": "",
	}, map[string]string{"/pw": " secret\n", "/default": "other"})
	if n := e.Int("N", 1, 99); n != 1 {
		t.Errorf("Int = %d", n)
	}
	if s := e.String("S", "y") + e.String("EMPTY", "y") + e.String("UNSET", "z"); s != "xyz" {
		t.Errorf("String = %q", s)
	}
	if a := e.Addr("A", "localhost:1") + e.Addr("L", ":80") + e.Addr("UNSET", ":81"); a != "store:5432:0:81" {
		t.Errorf("Addr = %q", a)
	}
	if s := e.Secret("P", "/default") + e.Secret("UNSET", "/default") + e.Secret("NOPW", "/default"); s != "secretother" {
		t.Errorf("Secret = %q", s)
	}
	if !e.Has("N") || e.Has("EMPTY") || e.Has("UNSET") {
		t.Error("Has")
	}
	if err := e.Err(); err != nil {
		t.Error(err)
	}
}

func TestBadNamesTheVariable(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		read        func(*Env)
	}{
		{"N", "x", func(e *Env) { e.Int("N", 1, 99) }},
		{"N", "0", func(e *Env) { e.Int("N", 1, 99) }},
		{"N", "100", func(e *Env) { e.Int("N", 1, 99) }},
		{"N", "", func(e *Env) { e.Int("N", 1, 99) }},
		{"A", "store", func(e *Env) { e.Addr("A", "store:1") }},
		{"A", "store:http", func(e *Env) { e.Addr("A", "store:1") }},
		{"A", ":5432", func(e *Env) { e.Addr("A", "store:1") }},
		{"A", "store:70000", func(e *Env) { e.Addr("A", "store:1") }},
		{"F", "/missing", func(e *Env) { e.Secret("F", "") }},
		{"F", "/empty", func(e *Env) { e.Secret("F", "") }},
		{"X", "", func(e *Env) { e.Invalid("X", errors.New("no good")) }},
	} {
		e := env(map[string]string{tt.name: tt.value}, map[string]string{"/empty": " \n"})
		tt.read(e)
		if err := e.Err(); err == nil || !strings.HasPrefix(err.Error(), tt.name) {
			t.Errorf("%s=%q: %v", tt.name, tt.value, err)
		}
	}
}

func TestAllComplaintsAtOnce(t *testing.T) {
	e := env(nil, nil)
	e.Int("ONE", 1, 2)
	e.Secret("TWO", "/nowhere")
	err := e.Err()
	if err == nil || !strings.Contains(err.Error(), "ONE") || !strings.Contains(err.Error(), "TWO") {
		t.Error(err)
	}
}
