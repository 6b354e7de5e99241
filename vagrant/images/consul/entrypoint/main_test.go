package main

import (
	"slices"
	"strings"
	"testing"
)

func TestCommand(t *testing.T) {
	for args, want := range map[string]string{
		"":                            "consul",
		"agent -server":               "consul agent -data-dir=/consul/data -config-dir=/consul/config -server",
		"consul agent -server":        "consul agent -data-dir=/consul/data -config-dir=/consul/config -server",
		"agent -dev -client 0.0.0.0":  "consul agent -dev -client 0.0.0.0",
		"members -http-addr=10.0.0.1": "consul members -http-addr=10.0.0.1",
	} {
		if got := command(strings.Fields(args)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}
