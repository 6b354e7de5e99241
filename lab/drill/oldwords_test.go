package drill

import (
	"slices"
	"strings"
	"testing"
)

// A drill of the last release means today what it meant then, and its author is told.
func TestOldWords(t *testing.T) {
	const text = `id: mine
title: A drill of the last release
section: Infrastructure failures
story: s
debrief: d
fix: f
steady:
  - {see: x, when: whole && accepted > 1}
inject:
  - {fault: kill, container: redis01}
watch: 5s
expect:
  - see: it leaves
    when: node("store") == "whole" && server("frontend01") == "down"
    within: 2s
    mark: ejected
    figure: left after
recover:
  - {see: y, when: 'node("store") != ''whole''', within: 2s}
stop: '!whole'
`
	d, err := Parse("mine.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if c := d.Expect[0]; c.Annotation != "ejected" || c.Metric != "left after" || c.When.Text != `node("store") == "ready" && server("frontend01") == "down"` {
		t.Errorf("%+v", c)
	}
	if c := d.Steady[0]; c.When.Text != "ready && accepted > 1" {
		t.Errorf("%+v", c)
	}
	if c := d.Recover[0]; c.When.Text != `node("store") != 'ready'` {
		t.Errorf("%+v", c)
	}
	if d.Stop.Text != "!ready" {
		t.Errorf("%+v", d.Stop)
	}
	want := []string{
		"mine.yaml:16: mark is now called annotation", "mine.yaml:17: figure is now called metric",
		"mine.yaml:8: whole is now called ready", "mine.yaml:14: whole is now called ready",
		"mine.yaml:19: whole is now called ready", "mine.yaml:20: whole is now called ready",
	}
	got := slices.Clone(d.Warnings())
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("warnings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A word of today beside the old one is one field twice.
func TestOldWordBesideTheNew(t *testing.T) {
	text := strings.Replace(good, "    from: 1s\n", "    from: 1s\n    mark: a\n    annotation: b\n", 1)
	if _, err := Parse("mine.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "annotation") {
		t.Errorf("read: %v", err)
	}
}

func TestTheKitsDrillsUseTheWordsOfToday(t *testing.T) {
	catalogue, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range catalogue {
		if w := d.Warnings(); len(w) > 0 {
			t.Errorf("%s: %s", d.ID, strings.Join(w, "; "))
		}
	}
}

func TestRenameWords(t *testing.T) {
	for text, want := range map[string]string{
		"whole":                                   "ready",
		"wholesome && x.wholes":                   "wholesome && x.wholes",
		`container("whole") == "running"`:         `container("whole") == "running"`,
		"whole\n  && node('ä') == `whole`":        "ready\n  && node('ä') == `ready`",
		`"ä" == "ä" && whole ? node("a") : whole`: `"ä" == "ä" && ready ? node("a") : ready`,
		`whole && "`:                              `whole && "`,
	} {
		if got := renameWords(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
