package terminal

import "bytes"

// maxText bounds what is taken of text that comes at once, in bytes: no field takes that much.
const maxText = 4 << 10

// ctrlC ends the program, also where it comes more than once.
const ctrlC = 0x03

// presses turns the pieces that came in one burst into what the program reads, press by press. One key is a key. More of them at once were not
// pressed by anybody: they are text, as if pasted, which a text field takes, and nothing else.
func presses(burst []piece) [][]byte {
	typed := 0
	same := true
	var first []byte
	var all []piece
	for _, p := range burst {
		if p.kind == answer {
			continue
		}
		all = append(all, p)
		if p.kind == text || p.kind == control {
			if typed++; first == nil {
				first = p.bytes
			}
			same = same && bytes.Equal(first, p.bytes)
		}
	}
	single := len(all) == 1
	repeated := same && typed == len(all) && typed > 0
	var out [][]byte
	var run []byte
	end := func() {
		if paste := printable(run); len(paste) > 0 {
			out = append(out, marked(paste))
		}
		run = nil
	}
	switch {
	case repeated && first[0] == ctrlC:
		return [][]byte{first}
	case repeated && (first[0] == del || first[0] == '\b'):
		single = true // the key that takes back what was typed, held down
	}
	for _, p := range all {
		switch {
		case p.kind == pasted:
			end()
			if paste := printable(p.bytes); len(paste) > 0 {
				out = append(out, marked(paste))
			}
		case p.kind == sequence || single:
			end()
			out = append(out, p.bytes)
		default:
			run = append(run, p.bytes...)
		}
	}
	end()
	return out
}

// printable is text without control characters; lines become words.
func printable(b []byte) []byte {
	out := bytes.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' || r >= del && r < 0xa0:
			return -1
		}
		return r
	}, bytes.ToValidUTF8(b[:min(len(b), maxText)], nil))
	if len(bytes.TrimSpace(out)) == 0 && !bytes.Contains(b, []byte(" ")) {
		return nil
	}
	return out
}

func marked(b []byte) []byte { return append(append([]byte(pasteBegins), b...), pasteEnds...) }
