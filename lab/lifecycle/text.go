package lifecycle

import (
	"strings"
	"sync"

	"github.com/swarmlab/swarmlab/lab/host/plain"
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

// clean makes a line of a command's output one for people, without colours, what was written over, and Vagrant's arrows.
func clean(line string) string {
	line = strings.TrimRight(line, "\r\n")
	line = plain.Line(line[strings.LastIndex(line, "\r")+1:])
	return strings.TrimSpace(strings.TrimPrefix(line, "==>"))
}
