// Package votes is the page that draws how votes are doing: captured, waiting, counted.
package votes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/lab/votes/verify"
	"github.com/swarmlab/swarmlab/lab/watch"
	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/scroll"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
)

// Judge holds what voters were promised against what was counted.
type Judge interface {
	Judge(ctx context.Context) (verify.Verdict, error)
}

// Model is the page.
type Model struct {
	theme theme.Theme
	keys  keymap.Map
	judge Judge
	// judging: a verdict is on its way. verdict is the last one, nil before the first; failed why there is none.
	judging bool
	verdict *verify.Verdict
	failed  error
	seen    page.Seen
	size    page.Size
	scroll  scroll.Scroll
}

// judged is a verdict.
type judged struct {
	verdict verify.Verdict
	err     error
}

// judgeWithin bounds a verdict, the judging included.
const judgeWithin = 5 * time.Minute

// New makes the page.
func New(t theme.Theme, k keymap.Map, j Judge) Model {
	return Model{theme: t, keys: k, judge: j, scroll: scroll.New(k)}
}

// Title implements page.Page.
func (m Model) Title() string { return "Votes" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return false }

// Keys implements page.Page.
func (m Model) Keys() []key.Binding { return []key.Binding{m.keys.Faster, m.keys.Slower, m.keys.Judge} }

// Help implements page.Page.
func (m Model) Help() []key.Binding {
	k := m.keys
	return append([]key.Binding{
		keymap.As(k.Faster, "cast votes from here: 50 a second, and twice as many each time"), keymap.As(k.Slower, "cast half as many votes, and none below 50 a second"),
		keymap.As(k.Judge, "verify: compare the ledgers, which hold what voters were promised, with the votes that were counted"),
	}, m.scroll.Keys()...)
}

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
	case page.Seen:
		m.seen = msg
	case judged:
		m.judging, m.verdict, m.failed = false, &msg.verdict, msg.err
	case tea.KeyMsg:
		m.scroll, _ = m.scroll.Pressed(msg, len(m.lines()), m.size.Height)
		if key.Matches(msg, m.keys.Judge) && !m.judging {
			m.judging = true
			j := m.judge
			return m, func() tea.Msg {
				ctx, cancel := context.WithTimeout(context.Background(), judgeWithin)
				defer cancel()
				v, err := j.Judge(ctx)
				return judged{v, err}
			}
		}
	}
	return m, nil
}

// tally is what is counted, and what the ledgers say of it: in a line, or in as many as it takes.
func (m Model) tally() []string {
	t, w := m.theme, m.seen.World
	count := t.Dim.Render("no tally yet")
	if !w.TallyAt.IsZero() {
		count = fmt.Sprintf("a %d  b %d  total %d", w.Tally.A, w.Tally.B, w.Tally.Total)
		if age := m.seen.At.Sub(w.TallyAt); age > staleAfter {
			count += " " + t.Warn.Render("as of "+widget.Ago(age)+" ago")
		}
	}
	style, word, more := t.Dim, m.keys.Judge.Help().Key+" judges by the ledgers", ""
	switch {
	case m.judging:
		style, word = t.Accent, "judging"+t.Glyphs.Ellipsis
	case m.failed != nil:
		style, word = t.Bad, widget.Plain(m.failed.Error())
	case m.verdict != nil:
		style, word = t.Warn, string(m.verdict.Result)
		switch m.verdict.Result {
		case checker.Pass:
			style = t.Good
		case checker.Fail:
			style = t.Bad
		}
		more = fmt.Sprintf(" %d acknowledged, %d lost, %d stale, %d double", m.verdict.Sent.Acknowledged,
			m.verdict.Found[checker.Lost], m.verdict.Found[checker.Stale], m.verdict.Found[checker.Double])
	}
	if ansi.StringWidth(count)+1+ansi.StringWidth(word+more) <= m.size.Width {
		return []string{widget.Ends(count, style.Render(word)+more, m.size.Width)}
	}
	lines := widget.Wrap(count, m.size.Width)
	for _, l := range widget.Wrap(word+more, m.size.Width) {
		lines = append(lines, style.Render(l))
	}
	return lines
}

// staleAfter is when a tally is called old.
const staleAfter = 3 * time.Second

// scale is the width of the numbers beside a chart.
const scale = 8

// View implements page.Page.
func (m Model) View() string { return m.scroll.View(m.theme, m.lines(), m.size.Width, m.size.Height) }

// lines are the tally and the charts.
func (m Model) lines() []string {
	samples := m.seen.World.Samples
	charts := []chart{
		{"captured", "votes a second", m.theme.Accent, watch.Series(samples, func(s watch.Rates) float64 { return s.Captured })},
		{"counted", "votes a second", m.theme.Good, watch.Series(samples, func(s watch.Rates) float64 { return s.Counted })},
	}
	for _, name := range queues(samples) {
		charts = append(charts, chart{"queue of " + name, "votes that wait", m.theme.Warn, watch.Series(samples, func(s watch.Rates) float64 {
			if n, ok := s.Queued[name]; ok {
				return float64(n)
			}
			return -1
		})})
	}
	lines := m.tally()
	height := min(max((m.size.Height-len(lines)-len(charts))/len(charts), 1), 9)
	for _, c := range charts {
		lines = append(lines, m.draw(c, height)...)
	}
	return lines
}

type chart struct {
	name, unit string
	style      lipgloss.Style
	values     []float64
}

// queues are the frontends that ever told of theirs.
func queues(samples []watch.Rates) []string {
	names := map[string]bool{}
	for _, s := range samples {
		for name := range s.Queued {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// draw draws a chart with its name above and its scale beside.
func (m Model) draw(c chart, height int) []string {
	width := max(m.size.Width-scale-1, 1)
	shown := c.values[max(len(c.values)-width, 0):]
	top, now := 1.0, -1.0
	for _, v := range shown {
		top = max(top, v)
	}
	if len(shown) > 0 {
		now = shown[len(shown)-1]
	}
	name, values := m.theme.Bold.Render(c.name), fmt.Sprintf("now %s, at most %s in %d s", widget.Number(now), widget.Number(top), len(shown))
	if len(c.name)+1+len(c.unit)+1+len(values) <= m.size.Width {
		name += " " + m.theme.Dim.Render(c.unit)
	}
	lines := []string{widget.Ends(name, values, m.size.Width)}
	for i, row := range widget.Chart(shown, width, height, top, m.theme.Blocks) {
		label := ""
		switch i {
		case 0:
			label = widget.Number(top)
		case height - 1:
			label = "0"
		}
		lines = append(lines, m.theme.Dim.Render(fmt.Sprintf("%*s ", scale, label))+c.style.Render(row))
	}
	return lines
}
