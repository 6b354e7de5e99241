package cli

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/host/console"
)

// Help fits where nobody says how wide it may be, apart from examples, which stay in one piece; and it begins with all that the command says of itself.
func TestHelpFits(t *testing.T) {
	var all func(cmd *cobra.Command, path []string)
	all = func(cmd *cobra.Command, path []string) {
		var out, said bytes.Buffer
		if status := Main(t.Context(), App{In: strings.NewReader(""), Out: &out, Err: &said}, append(slices.Clone(path), "--help")); status != exitGood {
			t.Errorf("lab %q --help: %d, %s", path, status, said.String())
		}
		examples := false
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasSuffix(line, ":") && !strings.HasPrefix(line, " ") {
				examples = line == "Examples:"
			}
			if ansi.StringWidth(line) > 80 && (!examples || strings.Contains(line, "  # ")) {
				t.Errorf("lab %q --help: %d columns: %q", path, ansi.StringWidth(line), line)
			}
		}
		if got := strings.Fields(out.String()); cmd.Long != "" && !slices.Equal(got[:min(len(got), len(strings.Fields(cmd.Long)))], strings.Fields(cmd.Long)) {
			t.Errorf("lab %q --help does not begin with all of its text:\n%s", path, out.String())
		}
		for _, c := range cmd.Commands() {
			if c.Name() != "help" {
				all(c, append(slices.Clone(path), c.Name()))
			}
		}
	}
	app := App{out: console.New(io.Discard, nil), err: console.New(io.Discard, nil)}
	root := app.root()
	root.InitDefaultCompletionCmd()
	all(root, nil)
}

// Prose breaks between words only: what may be copied, as the name of a drill or a flag, stays in one piece.
func TestWrap(t *testing.T) {
	got := wrap("run redis-queue-survives again\nwith --untimed on it", 20)
	if want := []string{"run", "redis-queue-survives", "again", "with --untimed on it"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestSetText(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   func(string, int) string
		width int
		text  string
		want  string
	}{
		{"a paragraph is filled up", setText, 20, "one two three four five\nsix\n\nseven", "one two three four\nfive six\n\nseven"},
		{"lines with blanks stay", setText, 20, "of this:\n  one\n  two\nand that", "of this:\n  one\n  two\nand that"},
		{"a second column hangs", setText, 24, "  stop  its container stops for a while", "  stop  its container\n        stops for a\n        while"},
		{
			"a second column far to the right goes below the first", setUsage, 40,
			"Flags:\n      --all                 run the whole catalogue\n  -f, --file string         run a drill of your own\n",
			"Flags:\n      --all\n        run the whole catalogue\n  -f, --file string\n        run a drill of your own\n",
		},
		{
			"of whatever it is", setText, 24, "  partition-all  cuts it off from all of the others", "  partition-all\n    cuts it off from all\n    of the others",
		},
		{"of whatever letters", setText, 24, "  état…  été est ce que c'est", "  état…  été est ce que\n         c'est"},
		{"without one it goes a little to the right", setText, 20, "  its container stops for a while", "  its container\n    stops for a\n    while"},
		{"a word that is too wide stays whole", setText, 10, "a incomprehensible b", "a\nincomprehensible\nb"},
		{"wide characters", setText, 10, "表表表 表表 表", "表表表\n表表 表"},
		{"a comment goes above its example", setUsage, 24, "Examples:\n  lab up --every --thing   # all of it", "Examples:\n  # all of it\n  lab up --every --thing\n"},
		{"an example stays in one piece", setUsage, 24, "Examples:\n  lab up --every --single --thing\n\nFlags:\n  -h   prints all of this help", "Examples:\n  lab up --every --single --thing\n\nFlags:\n  -h   prints all of\n       this help\n"},
	} {
		if got := tt.set(tt.text, tt.width); got != tt.want {
			t.Errorf("%s:\n%s\nwant:\n%s", tt.name, got, tt.want)
		}
	}
}
