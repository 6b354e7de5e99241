package terminal

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// tell writes pieces down: answers in brackets, pasted text in braces.
func tell(pieces []piece) []string {
	var all []string
	for _, p := range pieces {
		text := fmt.Sprintf("%q", p.bytes)
		text = text[1 : len(text)-1]
		switch p.kind {
		case answer:
			text = "<" + text + ">"
		case pasted:
			text = "{" + text + "}"
		}
		all = append(all, text)
	}
	return all
}

var inputs = map[string]struct {
	input string
	want  []string
}{
	"keys":                     {"aé漢 \r\t\x7f\x03", []string{"a", "é", "漢", " ", `\r`, `\t`, `\x7f`, `\x03`}},
	"arrows":                   {"\x1b[A\x1b[1;5C\x1bOB", []string{`\x1b[A`, `\x1b[1;5C`, `\x1bOB`}},
	"others":                   {"\x1b[5~\x1b[Z\x1b[15;2~\x1bOP", []string{`\x1b[5~`, `\x1b[Z`, `\x1b[15;2~`, `\x1bOP`}},
	"alt":                      {"\x1bx\x1bé", []string{`\x1bx`, `\x1bé`}},
	"esc before an arrow":      {"\x1b\x1b[A", []string{`\x1b`, `\x1b[A`}},
	"mouse":                    {"\x1b[<0;10;5M\x1b[<0;10;5m", []string{`\x1b[<0;10;5M`, `\x1b[<0;10;5m`}},
	"mouse of old":             {"\x1b[M !!q", []string{`\x1b[M !!`, "q"}},
	"pasted":                   {"\x1b[200~q\x1b[A y\r\x1b[201~z", []string{`{q\x1b[A y\r}`, "z"}},
	"colour":                   {"\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\q", []string{`<\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\>`, "q"}},
	"colour, ended by a bell":  {"\x1b]10;rgb:ff/ff/ff\aq", []string{`<\x1b]10;rgb:ff/ff/ff\a>`, "q"}},
	"what it is":               {"\x1b[?64;1;2c\x1b[>41;390;0cq", []string{`<\x1b[?64;1;2c>`, `<\x1b[>41;390;0c>`, "q"}},
	"where the cursor is":      {"\x1b[12;34R\x1b[?12;34Rq", []string{`<\x1b[12;34R>`, `<\x1b[?12;34R>`, "q"}},
	"size, status, modes":      {"\x1b[8;24;80t\x1b[0n\x1b[?2026;2$y\x1b[?1u", []string{`<\x1b[8;24;80t>`, `<\x1b[0n>`, `<\x1b[?2026;2$y>`, `<\x1b[?1u>`}},
	"strings":                  {"\x1bP>|xterm(390)\x1b\\\x1b_Gi=1;OK\x1b\\q", []string{`<\x1bP>|xterm(390)\x1b\\>`, `<\x1b_Gi=1;OK\x1b\\>`, "q"}},
	"an answer, broken off":    {"\x1b]11;rgb:1e\x03", []string{`\x03`}},
	"an answer before a key":   {"\x1b]11;rgb:1e\x1b[A", []string{`\x1b[A`}},
	"broken characters":        {"a\xff\xc3(b\u009d", []string{"a", "(", "b"}},
	"a sequence, broken off":   {"\x1b[1;\rq", []string{`\r`, "q"}},
	"shift and right on rxvt":  {"\x1b[c", []string{`\x1b[c`}},
	"an end without beginning": {"\x1b[201~q", []string{"q"}},
}

// However the input is cut into reads, the same comes of it.
func TestScan(t *testing.T) {
	t.Parallel()
	for name, tt := range inputs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for size := 1; size <= len(tt.input); size++ {
				var s scanner
				var got []piece
				for rest := tt.input; rest != ""; {
					n := min(size, len(rest))
					got = append(got, s.feed([]byte(rest[:n]))...)
					rest = rest[n:]
				}
				if diff := cmp.Diff(tt.want, tell(got)); diff != "" {
					t.Errorf("in reads of %d bytes: %s", size, diff)
				}
				if s.waiting() || s.quiet() != nil {
					t.Errorf("in reads of %d bytes: %q is held", size, s.held)
				}
			}
		})
	}
}

// What follows late is told by what can be known then; the rest of an answer is never a key.
func TestQuiet(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reads []string
		want  []string
	}{
		"esc":                      {[]string{"\x1b", "q"}, []string{`\x1b`, "q"}},
		"esc, and a bracket":       {[]string{"\x1b", "[", "A"}, []string{`\x1b`, `\x1b[A`}},
		"alt and a bracket":        {[]string{"\x1b[", "q"}, []string{`\x1b[`, "q"}},
		"a colour, cut after esc":  {[]string{"\x1b", "]11;rgb:1e1e/1e1e/1e1e\x1b", "\\", "q"}, []string{`\x1b`, `<\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\>`, "q"}},
		"a colour, cut elsewhere":  {[]string{"\x1b]11;rgb:1", "e1e/1", "e1e/1e1e\x1b\\q"}, []string{`<\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\>`, "q"}},
		"the cursor, cut anywhere": {[]string{"\x1b", "[", "1", "2;", "3", "R", "q"}, []string{`\x1b`, `<\x1b[12;3R>`, "q"}},
		"pasted, without an end":   {[]string{"\x1b[200~ab", "\x03"}, []string{"{ab}", `\x03`}},
		"a part of a character":    {[]string{"\xc3", "q"}, []string{"q"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s scanner
			var got []piece
			for _, r := range tt.reads {
				got = append(append(got, s.feed([]byte(r))...), s.quiet()...)
			}
			if diff := cmp.Diff(tt.want, tell(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// One key is a key, many at once are text; what a terminal says is neither.
func TestPresses(t *testing.T) {
	t.Parallel()
	mark := func(text string) string { return pasteBegins + text + pasteEnds }
	for name, tt := range map[string]struct {
		input string
		want  []string
	}{
		"a key":                       {"q", []string{"q"}},
		"enter":                       {"\r", []string{"\r"}},
		"a word":                      {":quit", []string{mark(":quit")}},
		"a command with enter":        {":q\r", []string{mark(":q ")}},
		"words":                       {"x y\n", []string{mark("x y ")}},
		"a key twice":                 {"qq", []string{mark("qq")}},
		"enter twice":                 {"\r\r", nil},
		"ctrl-c":                      {"\x03\x03\x03", []string{"\x03"}},
		"backspace, held":             {"\x7f\x7f", []string{"\x7f", "\x7f"}},
		"arrows, held":                {"\x1b[B\x1b[B", []string{"\x1b[B", "\x1b[B"}},
		"an arrow and a key":          {"\x1b[Bx", []string{"\x1b[B", mark("x")}},
		"the mouse and a key":         {"\x1b[<64;5;5My", []string{"\x1b[<64;5;5M", mark("y")}},
		"pasted":                      {"\x1b[200~rm -rf\r\x1b[31m\x1b[201~", []string{mark("rm -rf [31m")}},
		"pasted, then a key":          {"\x1b[200~a\x1b[201~q", []string{mark("a"), mark("q")}},
		"an answer":                   {"\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\\x1b[?64c", nil},
		"a key beside an answer":      {"q\x1b[?64c", []string{"q"}},
		"an answer that lost its esc": {"]11;rgb:1e1e/1e1e/1e1e", []string{mark("]11;rgb:1e1e/1e1e/1e1e")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s scanner
			var got []string
			for _, p := range presses(s.feed([]byte(tt.input))) {
				got = append(got, string(p))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// However much is pasted, no more is passed on than any field takes, and that is passed on whole.
func TestMuchIsPasted(t *testing.T) {
	t.Parallel()
	var s scanner
	got := presses(s.feed([]byte(pasteBegins + "1" + strings.Repeat("é", 10_000) + pasteEnds)))
	if len(got) != 1 || len(got[0]) > maxText+len(pasteBegins)+len(pasteEnds) || !utf8.Valid(got[0]) {
		t.Errorf("%d presses, the first of %d bytes", len(got), len(got[0]))
	}
}

// Whatever comes: text is what came, in its order, and nothing that could be a key is held for ever.
func FuzzScan(f *testing.F) {
	for _, tt := range inputs {
		f.Add(tt.input, 3)
	}
	f.Fuzz(func(t *testing.T, input string, size int) {
		size = max(size%16, 1)
		var s scanner
		left := input
		take := func(pieces []piece) {
			for _, p := range pieces {
				if p.kind != text {
					continue
				}
				_, after, ok := strings.Cut(left, string(p.bytes))
				if !ok {
					t.Fatalf("%q is not in %q", p.bytes, left)
				}
				left = after
			}
		}
		for rest := input; rest != ""; {
			n := min(size, len(rest))
			take(s.feed([]byte(rest[:n])))
			take(s.quiet())
			rest = rest[n:]
		}
		if s.waiting() {
			t.Errorf("%q is held", s.held)
		}
	})
}

func TestBackground(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\":       "dark",
		"\x1b]11;rgb:ffff/ffff/ffff\a":           "light",
		"\x1b]11;rgb:f/f/e\a":                    "light",
		"\x1b]11;rgba:0000/0000/0000/ffff\x1b\\": "dark",
		"\x1b]11;rgb:fdf6/f6e3/e3e3\x1b\\":       "light",
		"\x1b]11;rgb:0000/2b2b/3636\x1b\\":       "dark",
		"\x1b]10;rgb:ffff/ffff/ffff\x1b\\":       "",
		"\x1b]11;#ffffff\x1b\\":                  "",
		"\x1b]11;rgb:xyz/0/0\x1b\\":              "",
		"\x1b]11;rgb:fffff/0/0\x1b\\":            "",
		"\x1b]11;rgb:\x1b\\":                     "",
	} {
		got := ""
		if dark, ok := background([]byte(said)); ok {
			got = map[bool]string{true: "dark", false: "light"}[dark]
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
	}
}

func TestDark(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"": true, "15;0": true, "0;15": false, "0;default;15": false, "15;default": true, "0;99": true, "0;7": false} {
		if got := Dark([]string{"COLORFGBG=" + value}); got != want {
			t.Errorf("%q: dark is %t", value, got)
		}
	}
}
