// Package drills is the page that tells the failure drills, runs them, and shows how they go.
package drills

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/journal"
	"github.com/swarmlab/swarmlab/lab/verdict"
	"github.com/swarmlab/swarmlab/tui/filter"
	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
)

// Runner runs drills.
type Runner interface {
	// Drill runs one until it ends; when ctx ends it is aborted, and heals.
	Drill(ctx context.Context, d *drill.Drill, tell func(runner.Update)) (*journal.Journal, error)
}

// Model is the page.
type Model struct {
	theme  theme.Theme
	keys   keymap.Map
	runner Runner
	all    []*drill.Drill
	filter filter.Filter
	cursor int
	size   page.Size
	now    time.Time
	// predicting is the drill of which somebody is about to say what will happen; nil: none.
	predicting *drill.Drill
	answer     textinput.Model
	said       []string
	// run is the drill under way, or the one that ended last; nil: none was.
	run *run
}

// run is one drill.
type run struct {
	drill *drill.Drill
	// said are the predictions, one for each question; empty: none was made.
	said     []string
	abort    context.CancelFunc
	feed     chan tea.Msg
	last     runner.Update
	lines    []runner.Update
	accepted []float64
	failed   []float64
	queued   []float64
	counted  []float64
	// broken says for each of these whether the fault was in force.
	broken  []bool
	journal *journal.Journal
	err     error
	over    bool
}

type told struct{ runner.Update }

type ended struct {
	journal *journal.Journal
	err     error
}

type begin struct {
	drill *drill.Drill
	said  []string
}

// New makes the page.
func New(t theme.Theme, k keymap.Map, r Runner, catalogue []*drill.Drill) Model {
	answer := textinput.New()
	answer.Prompt, answer.CharLimit, answer.Placeholder = "> ", 200, "your prediction; enter alone skips it"
	return Model{theme: t, keys: k, runner: r, all: catalogue, filter: filter.New(), answer: answer}
}

// Title implements page.Page.
func (m Model) Title() string { return "Drills" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return m.filter.Typing() || m.predicting != nil }

// Keys implements page.Page.
func (m Model) Keys() []key.Binding {
	switch {
	case m.run != nil && !m.run.over:
		return []key.Binding{m.keys.Abort}
	case m.run != nil:
		return []key.Binding{m.keys.Back}
	}
	return []key.Binding{m.keys.Up, m.keys.Down, m.keys.Filter, m.keys.Run}
}

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
	case page.Seen:
		m.now = msg.At
	case begin:
		return m.begin(msg)
	case told:
		m.run.hear(msg.Update)
		return m, next(m.run.feed)
	case ended:
		m.run.journal, m.run.err, m.run.over = msg.journal, msg.err, true
	case tea.KeyMsg:
		return m.pressed(msg)
	case tea.MouseMsg:
		if msg.Action == tea.MouseActionPress && msg.Button == tea.MouseButtonLeft && m.run == nil && m.predicting == nil {
			if _, at := m.list(m.left()); msg.X < m.left() && msg.Y >= 0 && msg.Y < len(at) && at[msg.Y] >= 0 {
				m.cursor = at[msg.Y]
			}
		}
	}
	return m, nil
}

func (m Model) begin(b begin) (page.Page, tea.Cmd) {
	d := b.drill
	if m.run != nil && !m.run.over {
		return m, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	feed := make(chan tea.Msg, 64)
	m.run = &run{drill: d, said: b.said, abort: cancel, feed: feed}
	r := m.runner
	go func() {
		defer cancel()
		j, err := r.Drill(ctx, d, func(u runner.Update) { feed <- told{u} })
		feed <- ended{j, err}
	}()
	return m, next(feed)
}

func next(feed chan tea.Msg) tea.Cmd { return func() tea.Msg { return <-feed } }

// hear takes in how the run is doing.
func (r *run) hear(u runner.Update) {
	r.last = u
	if u.Line != "" {
		r.lines = append(r.lines, u)
		return
	}
	r.accepted, r.failed, r.queued = append(r.accepted, u.Accepted), append(r.failed, u.Failed), append(r.queued, u.Queued)
	r.counted, r.broken = append(r.counted, u.Counted), append(r.broken, u.Broken)
}

func (m Model) pressed(msg tea.KeyMsg) (page.Page, tea.Cmd) {
	k := m.keys
	var cmd tea.Cmd
	if m.filter.Typing() {
		m.filter, cmd = m.filter.Pressed(msg)
		m.cursor = 0
		return m, cmd
	}
	if m.predicting != nil {
		return m.predict(msg)
	}
	found := m.found()
	switch {
	case m.run != nil && !m.run.over:
		if key.Matches(msg, k.Abort) {
			m.run.abort()
		}
	case m.run != nil:
		if key.Matches(msg, k.Back) || key.Matches(msg, k.Run) {
			m.run = nil
		}
	case key.Matches(msg, k.Filter):
		m.filter, cmd = m.filter.Begin()
		return m, cmd
	case key.Matches(msg, k.Back):
		m.filter = m.filter.Set("")
	case key.Matches(msg, k.Up):
		m.cursor = max(m.cursor-1, 0)
	case key.Matches(msg, k.Down):
		m.cursor = min(m.cursor+1, max(len(found)-1, 0))
	case key.Matches(msg, k.Top):
		m.cursor = 0
	case key.Matches(msg, k.Bottom):
		m.cursor = max(len(found)-1, 0)
	case key.Matches(msg, k.Run) && m.cursor < len(found):
		m.predicting, m.said = found[m.cursor], nil
		m.answer.SetValue("")
		if len(m.predicting.Predict) == 0 {
			return m.confirm()
		}
		return m, m.answer.Focus()
	}
	return m, nil
}

// predict takes in what somebody thinks will happen, question after question.
func (m Model) predict(msg tea.KeyMsg) (page.Page, tea.Cmd) {
	switch msg.Type {
	case tea.KeyEsc:
		m.predicting = nil
		return m, nil
	case tea.KeyEnter:
		m.said = append(m.said, strings.TrimSpace(m.answer.Value()))
		m.answer.SetValue("")
		if len(m.said) >= len(m.predicting.Predict) {
			return m.confirm()
		}
		return m, nil
	}
	var cmd tea.Cmd
	m.answer, cmd = m.answer.Update(msg)
	return m, cmd
}

// confirm has the root ask whether the drill is to be run.
func (m Model) confirm() (page.Page, tea.Cmd) {
	d, said := m.predicting, m.said
	m.predicting = nil
	var what []string
	for _, i := range d.Inject {
		what = append(what, i.What())
	}
	question := fmt.Sprintf("Run %s: %s?", d.ID, strings.Join(what, ", then "))
	return m, func() tea.Msg { return page.Ask{Question: question, Do: func() tea.Msg { return begin{d, said} }} }
}

// found are the drills that the filter lets through.
func (m Model) found() []*drill.Drill {
	var found []*drill.Drill
	for _, d := range m.all {
		if m.filter.Lets(d.ID + " " + d.Title + " " + d.Section) {
			found = append(found, d)
		}
	}
	return found
}

// View implements page.Page.
func (m Model) View() string {
	if m.run != nil {
		return widget.Fit(m.running(), m.size.Width, m.size.Height)
	}
	left := m.left()
	right := max(m.size.Width-left-2, 1)
	lines, _ := m.list(left)
	list, text := strings.Split(widget.Fit(strings.Join(lines, "\n"), left, m.size.Height), "\n"), strings.Split(widget.Fit(m.story(right), right, m.size.Height), "\n")
	for i := range list {
		list[i] += "  " + text[i]
	}
	return strings.Join(list, "\n")
}

// left is the width of the list of drills.
func (m Model) left() int { return min(max(m.size.Width*2/5, 28), 46) }

// list shows the drills by section, with what the cursor is on in sight; at is which of them stands on each line, -1: none.
func (m Model) list(width int) (lines []string, at []int) {
	t, found := m.theme, m.found()
	add := func(text string, drill int) { lines, at = append(lines, text), append(at, drill) }
	cursor, section := 0, ""
	for i, d := range found {
		if d.Section != section {
			section = d.Section
			add(t.Dim.Render(section), -1)
		}
		if i == m.cursor {
			cursor = len(lines)
			add(t.Accent.Render(t.Glyphs.Cursor)+" "+t.Selected.Render(widget.Line(d.ID, width-3)), i)
		} else {
			add("  "+d.ID, i)
		}
	}
	if len(found) == 0 {
		add(t.Dim.Render("No drill is called so."), -1)
	}
	head := m.filter.String()
	room := m.size.Height
	if head != "" {
		room--
	}
	from := min(max(cursor-room/2, 0), max(len(lines)-room, 0))
	lines, at = lines[from:], at[from:]
	if head != "" {
		lines, at = append([]string{head}, lines...), append([]int{-1}, at...)
	}
	return lines, at
}

// story is what is known before a drill: what will be seen is sealed.
func (m Model) story(width int) string {
	found := m.found()
	if m.cursor >= len(found) {
		return ""
	}
	t, d := m.theme, found[m.cursor]
	wrap := func(text string) string { return ansi.Wordwrap(strings.TrimSpace(text), width, "") }
	parts := []string{t.Bold.Render(wrap(d.Title)), "", wrap(d.Story), "", t.Bold.Render("Predict")}
	for i, q := range d.Predict {
		parts = append(parts, wrap("- "+q.Ask))
		switch {
		case m.predicting != d || i > len(m.said):
		case i == len(m.said):
			m.answer.Width = max(width-4, 1)
			parts = append(parts, m.answer.View())
		case m.said[i] != "":
			parts = append(parts, t.Dim.Render(wrap("  "+m.said[i])))
		}
	}
	parts = append(parts, "", t.Bold.Render("What is broken"))
	for _, i := range d.Inject {
		line := i.What()
		if i.For > 0 {
			line += fmt.Sprintf(", for %s", i.For)
		}
		parts = append(parts, wrap("- "+line))
	}
	if d.Machines {
		parts = append(parts, "", t.Warn.Render("needs virtual machines"))
	}
	return strings.Join(parts, "\n")
}

// running shows the drill under way, or how it ended.
func (m Model) running() string {
	t, r := m.theme, m.run
	head := t.Bold.Render(r.drill.Title)
	state := t.Accent.Render(r.last.Phase)
	if r.last.Left > 0 {
		state += t.Dim.Render(fmt.Sprintf("  %.0f s left", r.last.Left.Seconds()))
	}
	var foot []string
	switch {
	case r.over && r.err != nil && r.journal == nil:
		state = t.Bad.Render("not run")
		foot = append(foot, t.Bad.Render(ansi.Wordwrap(widget.Plain(r.err.Error()), m.size.Width, "")))
	case r.over:
		state = t.Bad.Render(strings.ToUpper(string(r.journal.Result)))
		if r.journal.Result == journal.Passed {
			state = t.Good.Render(strings.ToUpper(string(r.journal.Result)))
		}
		foot = m.after()
	}
	lines := []string{widget.Ends(head, state, m.size.Width)}
	height := min(max(m.size.Height/10, 1), 4)
	for _, c := range []struct {
		name   string
		values []float64
		style  lipgloss.Style
	}{{"accepted/s", r.accepted, t.Accent}, {"failed/s", r.failed, t.Bad}, {"queued", r.queued, t.Warn}, {"counted/s", r.counted, t.Good}} {
		lines = append(lines, widget.Strip(t, c.style, c.name, c.values, r.broken, m.size.Width, height)...)
	}
	room := max(m.size.Height-len(lines)-len(strings.Split(strings.Join(foot, "\n"), "\n")), 0)
	for _, u := range r.lines[max(len(r.lines)-room, 0):] {
		mark := map[runner.Tone]string{runner.Plain: " ", runner.Good: t.Good.Render(t.Glyphs.Good), runner.Warning: t.Warn.Render("!"), runner.Bad: t.Bad.Render(t.Glyphs.Bad)}[u.Tone]
		line := fmt.Sprintf("%s %5.1f s  %s", mark, u.At.Seconds(), widget.Plain(u.Line))
		lines = append(lines, ansi.Truncate(line, m.size.Width, t.Glyphs.Ellipsis))
	}
	return strings.Join(append(lines, foot...), "\n")
}

// after is what is told when a drill is over: verdict, answers, debrief.
func (m Model) after() []string {
	t, j, d := m.theme, m.run.journal, m.run.drill
	wrap := func(text string) string { return ansi.Wordwrap(strings.TrimSpace(text), m.size.Width, "") }
	lines := []string{""}
	for _, reason := range j.Reasons {
		lines = append(lines, t.Bad.Render(wrap("! "+widget.Plain(reason))))
	}
	if v := j.Verdict; v != nil {
		lines = append(lines, fmt.Sprintf("ledger: %s, %d acknowledged, %d lost, %d double", v.Result, v.Sent.Acknowledged, v.Found[verdict.Lost], v.Found[verdict.Double]))
	}
	for i, q := range d.Predict {
		lines = append(lines, t.Bold.Render(wrap(q.Ask)))
		if i < len(m.run.said) && m.run.said[i] != "" {
			lines = append(lines, t.Accent.Render(wrap("you said: "+widget.Plain(m.run.said[i]))))
		}
		lines = append(lines, wrap(q.Answer))
	}
	return append(lines, t.Bold.Render("Debrief"), wrap(d.Debrief))
}
