package console

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/lab/host/plain"
)

// The spinner's frames, and those for what shows ASCII only.
var (
	frames      = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}
	framesASCII = []string{"|", "/", "-", `\`}
)

const (
	// drawEvery is how often the moving lines are drawn.
	drawEvery = 100 * time.Millisecond
	// sayEvery bounds the lines that one phase writes into a pipe.
	sayEvery = 2 * time.Second
)

// Board shows phases. Phases may run side by side. Close it when the work is over.
type Board struct {
	c *Console

	mu     sync.Mutex
	phases []*Phase
	// drawn are the widths of the moving lines that stand at the bottom of the terminal, above the cursor.
	drawn []int
	frame int
	stop  chan struct{}
	ended sync.WaitGroup
}

// Phase is one step of the work.
type Phase struct {
	b       *Board
	name    string
	started time.Time
	took    time.Duration
	ended   bool
	say     string
	said    time.Time
}

// Timing is how long a phase took.
type Timing struct {
	Name string
	Took time.Duration
}

// NewBoard starts to draw on c.
func NewBoard(c *Console) *Board {
	b := &Board{c: c, stop: make(chan struct{})}
	if c.live {
		b.ended.Go(b.animate)
	}
	return b
}

func (b *Board) animate() {
	ticker := time.NewTicker(drawEvery)
	defer ticker.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-ticker.C:
			b.mu.Lock()
			b.frame++
			b.draw()
			b.mu.Unlock()
		}
	}
}

// Close stops drawing. Phases still running leave their last line.
func (b *Board) Close() {
	b.mu.Lock()
	select {
	case <-b.stop:
		b.mu.Unlock()
		return
	default:
		close(b.stop)
	}
	b.mu.Unlock()
	b.ended.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.write(b.erased())
}

// Begin starts a phase.
func (b *Board) Begin(name string) *Phase {
	b.mu.Lock()
	defer b.mu.Unlock()
	name = plain.Line(name)
	p := &Phase{b: b, name: name, started: time.Now()}
	b.phases = append(b.phases, p)
	if b.c.live {
		b.draw()
	} else {
		fmt.Fprintf(b.c, "%s …\n", name)
	}
	return p
}

// Note prints a line that stays, above the moving ones.
func (b *Board) Note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.print(text)
}

// Timings returns what the phases that ended took, in the order of their begin.
func (b *Board) Timings() []Timing {
	b.mu.Lock()
	defer b.mu.Unlock()
	var timings []Timing
	for _, p := range b.phases {
		if p.ended {
			timings = append(timings, Timing{Name: p.name, Took: p.took})
		}
	}
	return timings
}

// Say tells what the phase is at.
func (p *Phase) Say(text string) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	text = plain.Line(firstLine(text))
	if p.ended || text == p.say {
		return
	}
	p.say = text
	if !p.b.c.live && time.Since(p.said) >= sayEvery {
		p.said = time.Now()
		fmt.Fprintf(p.b.c, "%s: %s\n", p.name, text)
	}
}

// Done ends the phase well; summary says what came of it.
func (p *Phase) Done(summary string) { p.end(p.b.c.Good("✓"), summary) }

// Fail ends the phase badly. What went wrong is the caller's to print.
func (p *Phase) Fail() { p.end(p.b.c.Bad("✗"), "failed") }

func (p *Phase) end(mark, summary string) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.ended {
		return
	}
	p.ended, p.took = true, time.Since(p.started)
	p.b.print(fmt.Sprintf("%s %-12s %7s  %s", mark, p.name, Seconds(p.took), summary))
}

// Seconds writes a duration for people: 0.4 s, 12.3 s, 3 min 20 s.
func Seconds(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
}

// print writes a line that stays.
func (b *Board) print(text string) { b.write(b.erased() + b.c.shown(text+"\n") + b.moving()) }

// draw writes the moving lines anew.
func (b *Board) draw() { b.write(b.erased() + b.moving()) }

// write writes in one piece, so that nothing flickers and nothing comes between.
func (b *Board) write(text string) {
	if text == "" {
		return
	}
	_, _ = io.WriteString(b.c.w, text) // to a terminal that went away: nobody is left to be told
}

const (
	// eraseDown erases what stands from the cursor's line on, and leaves the cursor at its beginning: first that line, then those below. The whole screen
	// is never erased at once, of which tmux would keep a copy among what was scrolled out.
	eraseDown = "\x1b[K\x1b7\x1b[B\x1b[J\x1b8"
	// With autowrap off a line that is longer than the terminal, which may have become narrower just now, stays one.
	autowrapOff, autowrapOn = "\x1b[?7l", "\x1b[?7h"
)

// erased takes the moving lines away, if there are any. A terminal that was made narrower meanwhile may have broken them.
func (b *Board) erased() string {
	if len(b.drawn) == 0 {
		return ""
	}
	width, _ := b.c.size()
	rows := 0
	for _, w := range b.drawn {
		if b.c.reflows {
			rows += max((w+width-1)/width, 1)
		} else {
			rows++
		}
	}
	b.drawn = nil
	return fmt.Sprintf("\r\x1b[%dA", rows) + eraseDown
}

// moving are the moving lines; empty: there are none. They fit the terminal as it is now: what scrolls out of it cannot be erased.
func (b *Board) moving() string {
	if !b.c.live {
		return ""
	}
	width, height := b.c.size()
	spinner := frames
	if b.c.ascii {
		spinner = framesASCII
	}
	var lines strings.Builder
	for _, p := range b.phases {
		if p.ended || len(b.drawn) >= max(height-1, 1) {
			continue
		}
		line := fmt.Sprintf("%s %-12s %7s  %s", b.c.Accent(spinner[b.frame%len(spinner)]), p.name, Seconds(time.Since(p.started)), b.c.Dim(p.say))
		line = b.c.cut(b.c.shown(line), width-1)
		b.drawn = append(b.drawn, ansi.StringWidth(line))
		lines.WriteString(line + "\n")
	}
	if len(b.drawn) == 0 {
		return ""
	}
	return autowrapOff + lines.String() + autowrapOn
}

func firstLine(text string) string {
	text = strings.TrimSpace(text)
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		text = text[:i]
	}
	return text
}
