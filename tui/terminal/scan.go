package terminal

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// kind is what a piece of a terminal's input is.
type kind int

const (
	// text is a printable character.
	text kind = iota
	// control is a key that sends a control character: enter, tab, backspace, ctrl-c, esc.
	control
	// sequence is a key or a mouse report that comes as an escape sequence.
	sequence
	// pasted is what a terminal marks as pasted.
	pasted
	// answer is what a terminal says of itself. Nobody pressed it.
	answer
)

// piece is one key, one report, one answer.
type piece struct {
	kind  kind
	bytes []byte
}

// Marks around what is pasted (xterm, "Bracketed Paste Mode").
const (
	pasteBegins = "\x1b[200~"
	pasteEnds   = "\x1b[201~"
)

const (
	esc = 0x1b
	bel = 0x07
	can = 0x18
	sub = 0x1a
	del = 0x7f
)

// maxAnswer bounds an answer, and maxPaste what is pasted, in bytes. What is longer is none.
const (
	maxAnswer = 4 << 10
	maxPaste  = 1 << 20
)

// scanner takes what a terminal sends apart, however it is cut into reads (ECMA-48; xterm control sequences). The zero value is ready.
type scanner struct {
	// held is the beginning of something.
	held []byte
	// told: the esc before was told as a key, since nothing followed in time. It may yet turn out to be the beginning of an answer.
	told bool
}

// feed takes in bytes, and returns what they complete.
func (s *scanner) feed(b []byte) []piece {
	s.held = append(s.held, b...)
	var pieces []piece
	for len(s.held) > 0 {
		p, n := s.next(s.held)
		if n == 0 {
			break
		}
		if len(p.bytes) > 0 {
			p.bytes = bytes.Clone(p.bytes)
			pieces = append(pieces, p)
		}
		s.held = s.held[n:]
	}
	return pieces
}

// waiting reports whether what is held is something else if nothing follows: then it is not to be held for long. The rest of a sequence is waited
// for longer: told alone, its characters would be taken for keys.
func (s *scanner) waiting() bool {
	switch {
	case len(s.held) == 0:
		return false
	case s.held[0] != esc:
		return !s.told
	}
	return len(s.held) <= 2 || s.pasting()
}

// unfinished reports whether the end of what is held has not come, without which it is nothing.
func (s *scanner) unfinished() bool { return len(s.held) > 0 && !s.waiting() }

// drop forgets what is held: its end was lost on the way.
func (s *scanner) drop() { s.held, s.told = nil, false }

// pasting reports whether what is held is pasted, and the end of it has not come.
func (s *scanner) pasting() bool { return bytes.HasPrefix(s.held, []byte(pasteBegins)) }

// quiet says what is held when nothing followed.
func (s *scanner) quiet() []piece {
	if !s.waiting() {
		return nil
	}
	held, pasting := s.held, s.pasting()
	s.held = nil
	switch {
	case pasting: // the terminal forgot to say where it ends
		return []piece{{pasted, held[len(pasteBegins):]}}
	case held[0] != esc:
		return nil // a part of a character
	case len(held) == 1:
		s.told = true
		return []piece{{control, held}}
	}
	return []piece{{sequence, held}} // a key with alt, as far as anybody can tell
}

// next is the first piece of b, and how many bytes it takes: 0 if it is not whole. Bytes that are nothing make a piece of no bytes.
func (s *scanner) next(b []byte) (piece, int) {
	if s.told && (b[0] == '[' || b[0] == ']') {
		p, n := escaped(append([]byte{esc}, b...))
		if n == 0 {
			return piece{}, 0
		}
		s.told = false
		return p, n - 1
	}
	s.told = false
	switch c := b[0]; {
	case c == esc:
		return escaped(b)
	case c < ' ' || c == del:
		return piece{control, b[:1]}, 1
	case !utf8.FullRune(b):
		return piece{}, 0
	}
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n == 1 || r >= del && r < 0xa0 {
		return piece{}, n
	}
	return piece{text, b[:n]}, n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isString reports whether b begins a string that only terminals send: OSC, DCS, SOS, PM, APC, with its first byte.
func isString(b []byte) bool {
	if len(b) < 3 || b[0] != esc {
		return false
	}
	switch b[1] {
	case ']':
		return isDigit(b[2])
	case 'P', 'X', '^', '_':
		return b[2] >= ' '
	}
	return false
}

// escaped is the first piece of b, which begins with esc.
func escaped(b []byte) (piece, int) {
	if len(b) == 1 {
		return piece{}, 0
	}
	switch b[1] {
	case esc:
		return piece{control, b[:1]}, 1
	case '[':
		return csi(b)
	case 'O':
		if len(b) < 3 {
			return piece{}, 0
		}
		return piece{sequence, b[:3]}, 3
	case ']', 'P', 'X', '^', '_':
		if len(b) < 3 {
			return piece{}, 0
		}
		if isString(b) {
			return str(b)
		}
		return piece{sequence, b[:2]}, 2
	}
	if b[1] < 0x80 {
		return piece{sequence, b[:2]}, 2 // a key with alt
	}
	if !utf8.FullRune(b[1:]) {
		return piece{}, 0
	}
	_, n := utf8.DecodeRune(b[1:])
	return piece{sequence, b[:1+n]}, 1 + n
}

// str is an answer that is a string. Control characters break it off, and what breaks it off is not part of it.
func str(b []byte) (piece, int) {
	for i := 2; i < len(b); i++ {
		switch c := b[i]; {
		case c == bel:
			return piece{answer, b[:i+1]}, i + 1
		case c == esc && i+1 == len(b):
			return piece{}, 0
		case c == esc && b[i+1] == '\\':
			return piece{answer, b[:i+2]}, i + 2
		case c == can || c == sub:
			return piece{}, i + 1
		case c < ' ':
			return piece{}, i
		case i > maxAnswer:
			return piece{}, i
		}
	}
	return piece{}, 0
}

// csi is a control sequence: parameters, intermediates, and a final byte (ECMA-48, 5.4).
func csi(b []byte) (piece, int) {
	i := 2
	for i < len(b) && b[i] >= 0x30 && b[i] <= 0x3f {
		i++
	}
	parameters := string(b[2:i])
	for i < len(b) && b[i] >= 0x20 && b[i] <= 0x2f {
		i++
	}
	switch {
	case i == len(b) && i <= maxAnswer:
		return piece{}, 0
	case i == len(b) || b[i] < 0x40 || b[i] > 0x7e:
		return piece{}, i // what breaks it off is not part of it
	}
	whole := b[:i+1]
	switch {
	case string(whole) == "\x1b[M": // a mouse report in the style of X10: three more bytes
		if len(b) < 6 {
			return piece{}, 0
		}
		return piece{sequence, b[:6]}, 6
	case string(whole) == pasteBegins:
		end := bytes.Index(b, []byte(pasteEnds))
		switch {
		case end >= 0:
			return piece{pasted, b[len(whole):end]}, end + len(pasteEnds)
		case len(b) > maxPaste:
			return piece{}, len(b)
		}
		return piece{}, 0
	case string(whole) == pasteEnds:
		return piece{}, len(whole)
	case isAnswer(parameters, b[i]):
		return piece{answer, whole}, len(whole)
	}
	return piece{sequence, whole}, len(whole)
}

// isAnswer tells answers from keys. Those with a mark before their parameters are never keys; of the others the final byte says what they
// answer: device attributes, cursor position, status, size of the window, modes, parameters.
func isAnswer(parameters string, final byte) bool {
	if parameters == "" {
		return false
	}
	return strings.ContainsRune("?>=", rune(parameters[0])) || strings.IndexByte("cRntxy", final) >= 0
}
