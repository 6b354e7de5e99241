package plain_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/swarmlab/swarmlab/lab/host/plain"
)

func TestText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"nothing to do":               {"größer 表 👩‍💻 é\tx\n", "größer 表 👩‍💻 é\tx\n"},
		"colours":                     {"a \x1b[1;31mred\x1b[0m b", "a red b"},
		"colours with colons":         {"\x1b[38:2::1:2:3mx\x1b[m", "x"},
		"clearing the screen":         {"a\x1b[2J\x1b[Hb", "ab"},
		"a reset":                     {"a\x1bcb", "ab"},
		"a character set":             {"a\x1b(0b", "ab"},
		"a title, ended by a bell":    {"\x1b]0;mine\aafter", "after"},
		"a title, ended by ST":        {"\x1b]0;mine\x1b\\after", "after"},
		"the clipboard":               {"\x1b]52;c;cm0gLXJm\aafter", "after"},
		"a link":                      {"\x1b]8;;http://x/\x1b\\word\x1b]8;;\x1b\\", "word"},
		"a device's string":           {"\x1bP+q544e\x1b\\after", "after"},
		"a title without an end":      {"\x1b]0;all that comes", "]0;all that comes"},
		"a string over two lines":     {"\x1b]0;one\ntwo\a", "]0;one\ntwo"},
		"a sequence without an end":   {"a\x1b[31", "a[31"},
		"a sequence that is broken":   {"\x1b[3\n1m", "[3\n1m"},
		"an escape at the end":        {"a\x1b", "a"},
		"bell, backspace, NUL, DEL":   {"a\ab\bc\x00d\x7fe", "abcde"},
		"C1 in UTF-8":                 {"a\u009b31mb\u009d0;x\u009cc\u0085d", "a31mb0;xc d"},
		"C1 as bytes":                 {"a\x9b31mb", "a\ufffd31mb"},
		"no UTF-8":                    {"a\xff\xfe\xc3b", "a\ufffdb"},
		"half a character at the end": {"a\xe2\x80", "a\ufffd"},
		"a real replacement stays":    {"a\ufffdb", "a\ufffdb"},
		"the right is the left":       {"a\u202etxt.exe\u202cb", "atxt.exeb"},
		"isolates and marks":          {"\u2066a\u2069\u200eb\u200fc\u061cd", "abcd"},
		"what is not seen":            {"\ufeffa\u200bb\u2060c\U000e0041d\u00ade", "abcde"},
		"line breaks of Windows":      {"a\r\nb\r\n", "a\nb\n"},
		"written over":                {"safe\rfake\r", "safe fake"},
		"other line breaks":           {"a\u2028b\u2029c", "a b c"},
		"one within another":          {"\x1b\x1b[31m[31mx", "[31mx"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := plain.Text(tt.text)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if again := plain.Text(got); again != got {
				t.Errorf("a second time: %q", again)
			}
		})
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	if got := plain.Line("  a\nb\tc\r\nd \x1b[1mbold\n\n"); got != "  a b c d bold" {
		t.Errorf("%q", got)
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	got := plain.Keep("\x1b[7;32mours\x1b[32mtheirs\x1b]0;x\a\x07", func(sequence string) (string, bool) {
		return "<32>", sequence == "\x1b[7;32m"
	})
	if got != "<32>ourstheirs" {
		t.Errorf("%q", got)
	}
}

func TestASCII(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain": "plain", "✓ done · 3…": "+ done | 3...", "▁▂▃▄▅▆▇█": ".:-=+*%#", "██░░": "##..", "größer": "gr??er", "e\u0301": "e",
		"表": "?", "─│┌": "---", "−1.2 s – x → y": "-1.2 s - x -> y",
	} {
		if got := plain.ASCII(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestUnicode(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ     map[string]string
		utf8, known bool
	}{
		"none":                     {nil, false, false},
		"UTF-8":                    {map[string]string{"LANG": "en_US.UTF-8"}, true, true},
		"without a hyphen":         {map[string]string{"LANG": "C.utf8"}, true, true},
		"with a modifier":          {map[string]string{"LANG": "de_DE.UTF-8@euro"}, true, true},
		"only the character set":   {map[string]string{"LC_CTYPE": "UTF-8"}, true, true},
		"C":                        {map[string]string{"LANG": "C"}, false, true},
		"POSIX":                    {map[string]string{"LC_CTYPE": "POSIX", "LANG": "C.UTF-8"}, false, true},
		"another character set":    {map[string]string{"LANG": "de_DE.ISO-8859-1"}, false, true},
		"no character set":         {map[string]string{"LANG": "de_DE"}, false, true},
		"all before ctype":         {map[string]string{"LC_ALL": "C", "LC_CTYPE": "C.UTF-8", "LANG": "C.UTF-8"}, false, true},
		"ctype before lang":        {map[string]string{"LC_CTYPE": "C.UTF-8", "LANG": "C"}, true, true},
		"an empty one is not set":  {map[string]string{"LC_ALL": "", "LANG": "C.UTF-8"}, true, true},
		"others are about nothing": {map[string]string{"LC_MESSAGES": "C", "LANG": "C.UTF-8"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, known := plain.Unicode(func(name string) string { return tt.environ[name] })
			if got != tt.utf8 || known != tt.known {
				t.Errorf("%t, known %t", got, known)
			}
		})
	}
}

// JSON says the same before and after, and holds nothing that a terminal obeys.
func TestJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"plain", "größer 表 👩‍💻", "\x1b]52;c;x\a\x00\x7f", "\u009b31m \u202e \u2028 \ufeff \U000e0041", `back \ slash " quote`, "no \xff UTF-8",
	} {
		for _, ascii := range []bool{false, true} {
			encoded, err := json.Marshal(map[string]string{text: text})
			if err != nil {
				t.Fatal(err)
			}
			var before, after map[string]string
			safe := plain.JSON(encoded, ascii)
			if err := json.Unmarshal(encoded, &before); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(safe, &after); err != nil {
				t.Fatalf("%s: %v", safe, err)
			}
			for key, value := range before {
				if after[key] != value {
					t.Errorf("%q became %q", value, after[key])
				}
			}
			if plain.Text(string(safe)) != string(safe) || ascii && plain.ASCII(string(safe)) != string(safe) {
				t.Errorf("%q", safe)
			}
		}
	}
}

func FuzzText(f *testing.F) {
	for _, text := range []string{"a", "\x1b[1mb\x1b[0m", "\x1b]0;t\a", "\x1bP\x1b\\", "\u009b31m", "\xff\x9b", "a\r\nb\rc", "\u202e\u2066"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := plain.Text(text)
		if !utf8.ValidString(got) {
			t.Errorf("%q is no UTF-8", got)
		}
		for _, r := range got {
			if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
				t.Errorf("%q holds %U", got, r)
			}
		}
		if again := plain.Text(got); again != got {
			t.Errorf("%q, and again: %q", got, again)
		}
		if line := plain.Line(text); strings.ContainsAny(line, "\n\t") {
			t.Errorf("%q is more than a line", line)
		}
		for _, r := range plain.ASCII(got) {
			if r >= utf8.RuneSelf {
				t.Errorf("%U is no ASCII", r)
			}
		}
	})
}
