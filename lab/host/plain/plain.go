// Package plain makes text that others wrote fit to be shown: on a terminal it neither commands anything nor shows other words than it has.
//
// Others are the containers and whatever runs in them, the agents and their events, logs, drill and topology files, names of files, and people
// who cast votes. Text and Line take out of it what a terminal would obey: control characters (C0, DEL, C1), the sequences that begin with them
// (ECMA-48), and the characters of Unicode that are not seen but reorder or hide what stands beside them. JSON does the same to what is encoded,
// and loses nothing. ASCII spells what a terminal without UTF-8 cannot show.
//
// The package knows neither terminals nor colours. The console (lab/host/console) passes all that it prints through it; the terminal UI calls it for
// what it draws.
package plain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	escape = '\x1b'
	bell   = '\a'
	// stringEnd is ST, the C1 character that ends a command string.
	stringEnd = '\u009c'
)

// Text makes a text of one or more lines harmless. Line breaks and tabs stay. What is no UTF-8 becomes U+FFFD, the rest goes: of a sequence that is
// whole all of it, since colours are the usual ones, of one that is not only the character that begins it, so that nothing hides behind it.
func Text(text string) string { return Keep(text, nil) }

// Line makes a text harmless, and one line of it: line breaks and tabs become blanks.
func Line(text string) string {
	text = strings.TrimRight(Text(text), "\n")
	if !strings.ContainsAny(text, "\n\t") {
		return text
	}
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(text)
}

// Keep is Text for a text some of whose control sequences are wanted: own is asked for each whole control sequence (ESC [ … letter), and says
// what is to stand in its place and whether it is wanted at all. nil wants none.
func Keep(text string, own func(sequence string) (string, bool)) string {
	if clean(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size <= 1 {
			// One for all bytes that are no UTF-8 and stand together.
			for len(text) > 0 {
				if r, size := utf8.DecodeRuneInString(text); r != utf8.RuneError || size > 1 {
					break
				}
				text = text[1:]
			}
			b.WriteRune(utf8.RuneError)
			continue
		}
		if n := sequence(text); n > 0 {
			if own != nil {
				if instead, ok := own(text[:n]); ok {
					b.WriteString(instead)
				}
			}
			text = text[n:]
			continue
		}
		text = text[size:]
		switch {
		case r == '\r' && strings.HasPrefix(text, "\n"), r == '\r' && text == "":
			// The line break of Windows and of terminals.
		case r == '\r', r == '\u2028', r == '\u2029', r == '\u0085':
			// What a terminal would write over, or take for a line break, stays one line.
			b.WriteByte(' ')
		case !harmful(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// clean reports whether there is nothing to take out.
func clean(text string) bool {
	for i, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size <= 1 {
				return false
			}
		}
		if harmful(r) || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return true
}

// harmful are the characters that a terminal obeys, or that make others show otherwise than they stand: controls but line breaks and tabs, and the
// format characters of Unicode (category Cf), among them all that turn the direction of writing. Two join letters and pictures, and stay.
func harmful(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return false
	case r == '\u200c', r == '\u200d':
		return false
	case r < utf8.RuneSelf:
		return r < ' ' || r == '\x7f'
	}
	return unicode.In(r, unicode.Cc, unicode.Cf)
}

// sequence is the length of the whole escape sequence with which a text begins; 0 if there is none.
func sequence(text string) int {
	if len(text) < 2 || text[0] != escape {
		return 0
	}
	rest := text[1:]
	n := 0
	switch rest[0] {
	case '[':
		n = control(rest[1:])
	case 'P', 'X', ']', '^', '_': // DCS, SOS, OSC, PM and APC
		n = commandString(rest[1:])
	default:
		return others(rest)
	}
	if n == 0 {
		return 0
	}
	return 2 + n
}

// others is the length of an escape sequence of another kind, with the escape before the text: any number of intermediate characters, and a final
// one.
func others(text string) int {
	i := 0
	for i < len(text) && text[i] >= 0x20 && text[i] <= 0x2f {
		i++
	}
	if i < len(text) && text[i] >= 0x30 && text[i] <= 0x7e {
		return i + 2
	}
	return 0
}

// control is the length of the rest of a control sequence: parameters, intermediate characters, a final one; 0 if it is not whole.
func control(text string) int {
	i := 0
	for i < len(text) && text[i] >= 0x30 && text[i] <= 0x3f {
		i++
	}
	for i < len(text) && text[i] >= 0x20 && text[i] <= 0x2f {
		i++
	}
	if i < len(text) && text[i] >= 0x40 && text[i] <= 0x7e {
		return i + 1
	}
	return 0
}

// commandString is the length of a command string with its end; 0 if it has none before something that cannot be part of it.
func commandString(text string) int {
	for i, r := range text {
		switch {
		case r == bell:
			return i + 1
		case r == stringEnd:
			return i + utf8.RuneLen(r)
		case r == escape:
			if strings.HasPrefix(text[i+1:], `\`) {
				return i + 2
			}
			return 0
		case r < ' ', r == '\x7f', r == utf8.RuneError:
			return 0
		}
	}
	return 0
}

// JSON writes the characters of encoded JSON that a terminal would obey as JSON's escapes (RFC 8259, section 7), so that it may be printed on one
// and says the same. Where ascii is set it does so to all that is not ASCII. What encoding/json leaves of them stands within strings.
func JSON(encoded []byte, ascii bool) []byte {
	text := string(encoded)
	if clean(text) && (!ascii || IsASCII(text)) {
		return encoded
	}
	out := make([]byte, 0, len(encoded)+16)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			out = append(out, `\ufffd`...) // encoding/json leaves none
		case r == '\r':
			out = append(out, '\r') // a blank between values
		case harmful(r), r == '\u2028', r == '\u2029', ascii && r >= utf8.RuneSelf:
			out = appendEscape(out, r)
		default:
			out = append(out, text[i:i+size]...)
		}
		i += size
	}
	return out
}

func appendEscape(out []byte, r rune) []byte {
	if r <= 0xffff {
		return fmt.Appendf(out, `\u%04x`, r)
	}
	r -= 0x10000
	return fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
}
