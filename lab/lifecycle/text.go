package lifecycle

import (
	"regexp"
	"strings"
	"sync"
)

// lines is a writer that calls each with every whole line that is not empty.
type lines struct {
	each func(string)

	mu   sync.Mutex
	rest string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest += string(p)
	for {
		line, rest, found := strings.Cut(l.rest, "\n")
		if !found {
			return len(p), nil
		}
		l.rest = rest
		if line = clean(line); line != "" {
			l.each(line)
		}
	}
}

// tail is a writer that keeps the last lines.
type tail struct {
	keep int

	mu   sync.Mutex
	text string
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text += string(p)
	all := strings.SplitAfter(t.text, "\n")
	if n := len(all) - t.keep - 1; n > 0 {
		t.text = strings.Join(all[n:], "")
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for line := range strings.Lines(t.text) {
		if line = clean(line); line != "" {
			b.WriteString("  | " + line + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// clean strips colours, carriage returns and Vagrant's arrows.
func clean(line string) string {
	line = escapes.ReplaceAllString(line, "")
	if i := strings.LastIndex(strings.TrimRight(line, "\r\n"), "\r"); i >= 0 {
		line = line[i+1:]
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "==>"))
}
