package console_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/host/console"
)

var times = regexp.MustCompile(`\d+\.\d s`)

// TestBoardInPipe: nobody looks at a terminal, so there are plain lines, without colour, none written over.
func TestBoardInPipe(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := console.New(&out, []string{"TERM=xterm-256color"})
	if c.Live() || c.Width() != 80 {
		t.Errorf("live %t, width %d", c.Live(), c.Width())
	}
	b := console.NewBoard(c)
	nodes, keys := b.Begin("nodes"), b.Begin("keys")
	nodes.Say("booting\nsecond line")
	nodes.Say("booting")
	nodes.Say("too soon for a pipe")
	keys.Done("made")
	keys.Done("again")
	b.Note("a note")
	nodes.Fail()
	nodes.Say("after the end")
	b.Close()
	b.Close()
	want := "nodes …\nkeys …\nnodes: booting\n✓ keys             0.0 s  made\na note\n✗ nodes            0.0 s  failed\n"
	if diff := cmp.Diff(squeeze(want), squeeze(out.String())); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, timing := range b.Timings() {
		names = append(names, timing.Name)
	}
	if diff := cmp.Diff([]string{"nodes", "keys"}, names); diff != "" {
		t.Error(diff)
	}
}

// squeeze takes times and their padding out.
func squeeze(text string) string {
	return regexp.MustCompile(` +`).ReplaceAllString(times.ReplaceAllString(text, "T"), " ")
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		40 * time.Millisecond: "0.0 s", 12340 * time.Millisecond: "12.3 s", 119 * time.Second: "119.0 s",
		2 * time.Minute: "2 min 0 s", 3*time.Minute + 20*time.Second: "3 min 20 s",
	} {
		if got := console.Seconds(d); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}

func TestStyleWithoutTerminal(t *testing.T) {
	t.Parallel()
	c := console.New(&bytes.Buffer{}, nil)
	if got := c.Good("a") + c.Warn("b") + c.Bad("c") + c.Dim("d") + c.Bold("e") + c.Accent("f"); got != "abcdef" || strings.Contains(got, "\x1b") {
		t.Errorf("got %q", got)
	}
}

// TestLocale: by LC_ALL before LC_CTYPE before LANG; where none is set, nothing is said against UTF-8.
func TestLocale(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]string{
		"": "✓ …", "LANG=C.UTF-8": "✓ …", "LANG=C.UTF-8 LC_ALL=C": "+ ...", "LANG=POSIX": "+ ...", "LANG=C LC_CTYPE=UTF-8": "✓ …",
	} {
		var out bytes.Buffer
		fmt.Fprint(console.New(&out, strings.Fields(environ)), "✓ …")
		if got := out.String(); got != want {
			t.Errorf("%s: %q, want %q", environ, got, want)
		}
	}
}

// TestJSON: it is what it was, and no terminal obeys it.
func TestJSON(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]string{"": `{"a":"ü\u009b\u007f"}`, "LC_ALL=C": `{"a":"\u00fc\u009b\u007f"}`} {
		var out bytes.Buffer
		if err := console.New(&out, strings.Fields(environ)).JSON([]byte("{\"a\":\"ü\u009b\x7f\"}")); err != nil || out.String() != want {
			t.Errorf("%s: %s, %v", environ, &out, err)
		}
	}
}
