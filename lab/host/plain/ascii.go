package plain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// spelled are what the lab command writes beyond ASCII, and what it writes where that cannot be shown. What stands in columns is as wide.
var spelled = map[rune]string{
	'✓': "+", '✗': "x", '■': "#", '●': "o", '…': "...", '·': "|", '–': "-", '—': "-", '−': "-", '→': "->", '←': "<-", '↑': "^", '↓': "v",
	'›': ">", '‹': "<", '≤': "<=", '≥': ">=", '×': "x", '±': "+-", '“': `"`, '”': `"`, '„': `"`, '‘': "'", '’': "'", '\u00a0': " ",
	// By how much ink they have.
	'▁': ".", '▂': ":", '▃': "-", '▄': "=", '▅': "+", '▆': "*", '▇': "%", '█': "#", '░': ".", '▒': ":", '▓': "%",
}

// ASCII spells a text for what shows nothing else. Letters without a spelling become question marks, one for each; what is drawn upon
// another letter goes.
func ASCII(text string) string {
	if IsASCII(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch s, ok := spelled[r]; {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case ok:
			b.WriteString(s)
		case r >= '\u2500' && r <= '\u257f': // lines of boxes
			b.WriteString("-")
		case unicode.In(r, unicode.M, unicode.Cf):
		default:
			b.WriteString("?")
		}
	}
	return b.String()
}

// IsASCII reports whether a text shows everywhere as it is.
func IsASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Unicode reports whether the locale's character set is UTF-8, by the variables that POSIX has for it (section 8.2: LC_ALL before LC_CTYPE before
// LANG; an empty one says nothing). known is false where none of them is set.
func Unicode(getenv func(name string) string) (utf8, known bool) {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		value := strings.ToLower(getenv(name))
		if value == "" {
			continue
		}
		value, _, _ = strings.Cut(value, "@")
		if i := strings.LastIndexByte(value, '.'); i >= 0 {
			value = value[i+1:]
		}
		return value == "utf-8" || value == "utf8", true
	}
	return false, false
}
