package topology

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// The file is read twice, by this package and, in Ruby, by vagrant/topology_file.rb, with two YAML libraries that differ: in numbers, line breaks,
// tabs, escapes, anchors, merge keys and in what they let pass. So the file is written in the part of YAML in which they do not: lists, mappings,
// words and numbers. Whatever the others need is refused here, before either library sees it. Both sides have these rules in the same form, and
// a test (lab/host/settings, TestFilesInRuby) holds them to it with one table of files.

// maxSize of the file, in bytes.
const maxSize = 64 << 10

var (
	// code is what may stand in a line before its comment.
	code = regexp.MustCompile(`^[A-Za-z0-9 \-_.,:/\[\]{}"']*$`)
	// comment is what YAML 1.1 lets stand in a line: what is printable, and no line breaks of Unicode.
	comment = regexp.MustCompile(`^[\t\x20-\x7e\x{a0}-\x{2027}\x{202a}-\x{d7ff}\x{e000}-\x{fefe}\x{ff00}-\x{fffd}\x{10000}-\x{10ffff}]*$`)
	// quoted are words in quotes, within which colons and commas are no signs.
	quoted = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	// tight is a colon that some libraries take for the end of a key and others for a part of it.
	tight = regexp.MustCompile(`:[^ ]`)
	// hole is a comma with nothing before it.
	hole = regexp.MustCompile(`[\[{,][ \n]*,`)
	// long is a word, or several, that may be too long for a key. Some libraries take a key of any length, some of 1,024 characters at most.
	long = regexp.MustCompile(`[^\[\]{},]{1000}|"[^"]{1000}|'[^']{1000}`)
	// nested is a list directly in a list. No topology has any, and some libraries take minutes for thousands of them.
	nested = regexp.MustCompile(`^ *- +-( |$)`)
	// lead is the blanks and dashes before a line's content; key is a line that has a key.
	lead = regexp.MustCompile(`^ *(- +)*(-$)?`)
	key  = regexp.MustCompile(`: |: *$`)
	// begins is the mark at which a document begins; otherMark is one that has something beside it, or ends a document.
	begins    = regexp.MustCompile(`^--- *$`)
	otherMark = regexp.MustCompile(`^(---|\.\.\.)`)
)

// maxBrackets may be open at the same time. A topology needs three.
const maxBrackets = 8

const byteOrderMark = "\ufeff"

// plain returns the text without a byte order mark and with plain line breaks, if it is in that part of YAML.
func (p *reader) plain(data []byte) (string, bool) {
	text := string(data)
	switch {
	case len(data) > maxSize:
		p.errorf(0, "is larger than %d KiB, which no topology is", maxSize>>10)
		return "", false
	case !utf8.ValidString(text):
		p.errorf(0, "is not in UTF-8; save it in that encoding")
		return "", false
	}
	text = strings.ReplaceAll(strings.TrimPrefix(text, byteOrderMark), "\r\n", "\n")
	before, documents, empty := len(p.errs), 1, true
	var unquoted strings.Builder
	var block blocks
	for i, line := range strings.Split(text, "\n") {
		end := commentAt(line)
		bare := quoted.ReplaceAllString(line[:end], "q")
		unquoted.WriteString(bare + "\n")
		switch {
		case !code.MatchString(line[:end]):
			p.errorf(i+1, "%q does not belong here: outside of comments a topology file has letters, digits, blanks and - _ . , : / [ ] { } \" ' only, "+
				"so no tabs, anchors, aliases, merge keys or tags", firstOutside(line[:end]))
		case !comment.MatchString(line[end:]):
			p.errorf(i+1, "the comment has characters that are not printed")
		case begins.MatchString(line[:end]):
			if !empty {
				documents++
			}
			empty = false
		case otherMark.MatchString(line):
			p.errorf(i+1, "a document's mark with something beside it, or at its end: take the line away")
		case tight.MatchString(bare):
			p.errorf(i+1, "a colon without a blank behind it")
		case long.MatchString(line[:end]):
			p.errorf(i+1, "1,000 characters or more without a comma or a bracket")
		case nested.MatchString(bare):
			p.errorf(i+1, "a list in a list")
		case strings.TrimSpace(bare) != "":
			empty = false
			if !block.indents(bare) {
				p.errorf(i+1, "the value belongs to a key or a dash above it, and is not indented more than that")
			}
			if block.brackets > maxBrackets {
				p.errorf(i+1, "more than %d brackets in brackets", maxBrackets)
				return "", false
			}
		}
	}
	if at := hole.FindStringIndex(unquoted.String()); at != nil {
		p.errorf(1+strings.Count(unquoted.String()[:at[1]], "\n"), "a comma with nothing before it")
	}
	if documents > 1 {
		p.errorf(0, "holds %d YAML documents; expected one with subnet and nodes", documents)
	}
	return text, len(p.errs) == before
}

// blocks follows how far the lines of a file are indented.
type blocks struct {
	// brackets are those that are open. Within them indentation means nothing.
	brackets int
	// above is one more than the column of the key in the last line that had one, or, without a key, of its last dash.
	above int
}

// indents reports whether a line that is not empty, without its comment and its quoted words, is indented as all libraries want it: a value that
// has a line of its own more than the key or dash it belongs to.
func (b *blocks) indents(line string) bool {
	within, at := b.brackets > 0, len(lead.FindString(line))
	before, _, _ := strings.Cut(strings.ReplaceAll(line, "{", "["), "[") // a key within brackets is none of the block's
	for _, sign := range line {
		switch sign {
		case '[', '{':
			b.brackets++
		case ']', '}':
			b.brackets = max(b.brackets-1, 0)
		}
	}
	switch dash := strings.LastIndexByte(line[:at], '-'); {
	case within:
	case key.MatchString(before):
		b.above = at + 1
	case dash >= 0:
		b.above = dash + 1
	default:
		return at >= b.above
	}
	return true
}

// commentAt is where the comment of a line begins: at a # with nothing, or a blank, before it.
func commentAt(line string) int {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return i
		}
	}
	return len(line)
}

// firstOutside is the first character that code does not have.
func firstOutside(text string) string {
	for _, r := range text {
		if !code.MatchString(string(r)) {
			return string(r)
		}
	}
	return ""
}
