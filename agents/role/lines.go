package role

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	// maxLine is the length of a line, in bytes, beyond which it is cut in two.
	maxLine = 8 << 10
	// keepLines is how many lines are remembered for the error that tells of a plugin's end, each clipped.
	keepLines = 5
	clipAt    = 200
)

// lines is a writer that forwards a plugin's log lines to the agent's log: JSON as slog and hclog write it with its level and its
// attributes, anything else as it is. It takes whatever comes; a plugin must not be able to trouble the agent by what it prints.
type lines struct {
	logger *slog.Logger

	mu      sync.Mutex
	partial []byte
	recent  []string
	panics  string // the line in which a Go program says what it dies of; a stack follows that says less
}

func newLines(logger *slog.Logger) *lines { return &lines{logger: logger} }

// Write never fails.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		if end := bytes.IndexByte(p, '\n'); end >= 0 {
			l.partial = append(l.partial, p[:end]...)
			p = p[end+1:]
			l.flush()
			continue
		}
		l.partial = append(l.partial, p...)
		p = nil
		if len(l.partial) >= maxLine {
			l.flush()
		}
	}
	return n, nil
}

func (l *lines) flush() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(l.partial[:min(len(l.partial), maxLine)]), "�"))
	l.partial = l.partial[:0]
	if line == "" {
		return
	}
	level, message, attrs := parseLine(line)
	if l.panics == "" && (strings.HasPrefix(message, "panic: ") || strings.HasPrefix(message, "fatal error: ")) {
		l.panics = clip(message)
	}
	if l.panics != "" {
		level = slog.LevelError
	}
	words := message
	for _, a := range attrs {
		words += " " + a.String()
	}
	l.recent = append(l.recent, clip(words))
	if len(l.recent) > keepLines {
		l.recent = slices.Delete(l.recent, 0, len(l.recent)-keepLines)
	}
	l.logger.LogAttrs(context.Background(), level, message, attrs...) //nolint:sloglint // the plugin's message, handed on
}

// last returns the latest lines, oldest first, or the one that matters.
func (l *lines) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panics != "" {
		return []string{l.panics}
	}
	return slices.Clone(l.recent)
}

// parseLine reads a line of log/slog's or hclog's JSON handler. Lines of other kinds are their own message at level info.
func parseLine(line string) (slog.Level, string, []slog.Attr) {
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil || fields == nil {
		return slog.LevelInfo, line, nil
	}
	text := func(keys ...string) string {
		for _, k := range keys {
			if s, ok := fields[k].(string); ok {
				return s
			}
		}
		return ""
	}
	message := text(slog.MessageKey, "@message")
	if message == "" {
		return slog.LevelInfo, line, nil
	}
	level := slog.LevelInfo
	// hclog has a level that slog lacks.
	if name := text(slog.LevelKey, "@level"); strings.EqualFold(name, "trace") {
		level = slog.LevelDebug
	} else if level.UnmarshalText([]byte(name)) != nil {
		level = slog.LevelInfo
	}
	for _, k := range []string{slog.MessageKey, slog.LevelKey, slog.TimeKey, "@message", "@level", "@timestamp", "@module", "@caller"} {
		delete(fields, k)
	}
	attrs := make([]slog.Attr, 0, len(fields))
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		attrs = append(attrs, slog.Any(k, fields[k]))
	}
	return level, message, attrs
}

// clip shortens a text for use in an error.
func clip(s string) string {
	if len(s) <= clipAt {
		return s
	}
	cut := clipAt
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
