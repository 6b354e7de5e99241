// Package drills is the page that tells the failure drills, runs them, and shows how they go.
package drills

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/lab/drill"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/runner"
	"github.com/swarmlab/swarmlab/lab/votes/checker"
	"github.com/swarmlab/swarmlab/tui/filter"
	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/scroll"
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
	// story is what is in sight of what is told of the drill under the cursor.
	story scroll.Scroll
	// run is the drill under way, or the one that ended last; nil: none was.
	run *run
	// told is what is in sight of what is told of that one. Up to its end it follows what is new, unless somebody scrolls up.
	told   scroll.Scroll
	follow bool
}

// run is one drill.
type run struct {
	drill *drill.Drill
	// said are the predictions, one for each question; empty: none was made.
	said     []string
	abort    context.CancelFunc
	feed     *feed
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
	answer := t.Input("> ", 200)
	answer.Placeholder = "your prediction; enter alone skips it"
	return Model{theme: t, keys: k, runner: r, all: catalogue, filter: filter.New(t), answer: answer, story: scroll.New(k), told: scroll.New(k)}
}

// Title implements page.Page.
func (m Model) Title() string { return "Drills" }

// Init implements page.Page.
func (m Model) Init() tea.Cmd { return nil }

// Typing implements page.Page.
func (m Model) Typing() bool { return m.filter.Typing() || m.predicting != nil }

// Busy implements page.Busy: a drill is under way.
func (m Model) Busy() string {
	if m.run == nil || m.run.over {
		return ""
	}
	return "the drill " + m.run.drill.ID
}

// Keys implements page.Page.
func (m Model) Keys() []key.Binding {
	k := m.keys
	switch {
	case m.filter.Typing():
		return []key.Binding{keymap.As(k.Enter, "keep the filter"), keymap.As(k.Back, "clear the filter")}
	case m.predicting != nil:
		return []key.Binding{keymap.As(k.Enter, "next"), keymap.As(k.Back, "cancel"), k.PageUp, k.PageDown}
	case m.run != nil && !m.run.over:
		return []key.Binding{k.Abort, k.Up, k.Down, k.PageUp, k.PageDown}
	case m.run != nil:
		return []key.Binding{k.Back, k.Up, k.Down, k.PageUp, k.PageDown, k.Top, k.Bottom}
	}
	return []key.Binding{k.Up, k.Down, k.Filter, k.Run, keymap.As(k.Right, "scroll text"), k.PageDown, k.PageUp}
}

// Help implements page.Page.
func (m Model) Help() []key.Binding {
	k := m.keys
	return []key.Binding{
		keymap.As(k.Run, "run the drill: you predict what will happen, and confirm"),
		keymap.As(k.Abort, "abort the drill: the fault ends at once"),
		keymap.As(k.Filter, "show only drills that contain a word"),
		k.Up, k.Down, k.PageUp, k.PageDown, k.Top, k.Bottom,
		keymap.As(k.Right, "scroll down in the description"), keymap.As(k.Left, "scroll up in the description"),
		keymap.As(k.Back, "clear the filter, or close a drill that is over"),
	}
}

// Update implements page.Page.
func (m Model) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	switch msg := msg.(type) {
	case page.Size:
		m.size = msg
		// The field scrolls by its width only when its cursor moves: from its beginning to where it was.
		m.answer.Width = max(m.right()-len(m.answer.Prompt)-1, 1)
		at := m.answer.Position()
		m.answer.CursorStart()
		m.answer.SetCursor(at)
	case page.Seen:
		m.now = msg.At
	case begin:
		return m.begin(msg)
	case told:
		m.run.hear(msg.Update)
		return m, next(m.run.feed)
	case ended:
		m.run.journal, m.run.err, m.run.over = msg.journal, msg.err, true
		lines, after := m.account()
		m.told, m.follow = m.told.To(after, len(lines), m.room()), false
	case tea.KeyMsg:
		return m.pressed(msg)
	case tea.MouseMsg:
		if msg.Action == tea.MouseActionPress && msg.Button == tea.MouseButtonLeft && m.run == nil && m.predicting == nil {
			if _, at := m.list(m.left()); msg.X < m.left() && msg.Y >= 0 && msg.Y < len(at) && at[msg.Y] >= 0 {
				m.at(at[msg.Y])
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
	f := &feed{news: make(chan struct{}, 1)}
	m.run = &run{drill: d, said: b.said, abort: cancel, feed: f}
	m.told, m.follow = scroll.New(m.keys), true
	r := m.runner
	go func() {
		defer cancel()
		j, err := r.Drill(ctx, d, func(u runner.Update) { f.put(told{u}) })
		f.put(ended{j, err})
	}()
	return m, next(f)
}

// feed is what a drill tells, in order. To tell it never waits: a drill heals, too, when there is no UI any more that listens.
type feed struct {
	mu   sync.Mutex
	told []tea.Msg
	news chan struct{}
}

func (f *feed) put(msg tea.Msg) {
	f.mu.Lock()
	f.told = append(f.told, msg)
	f.mu.Unlock()
	f.tell()
}

// tell says that there is something to take.
func (f *feed) tell() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// next waits for what is told next.
func next(f *feed) tea.Cmd {
	return func() tea.Msg {
		<-f.news
		f.mu.Lock()
		defer f.mu.Unlock()
		msg := f.told[0]
		if f.told = f.told[1:]; len(f.told) > 0 {
			f.tell()
		}
		return msg
	}
}

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

// at moves the cursor to a drill, of which the beginning is told.
func (m *Model) at(drill int) {
	m.cursor = max(min(drill, len(m.found())-1), 0)
	m.story = scroll.New(m.keys)
}

func (m Model) pressed(msg tea.KeyMsg) (page.Page, tea.Cmd) {
	k := m.keys
	var cmd tea.Cmd
	switch {
	case m.filter.Typing():
		m.filter, cmd = m.filter.Pressed(msg)
		m.at(0)
		return m, cmd
	case m.predicting != nil:
		return m.predict(msg)
	case m.run != nil:
		return m.watched(msg), nil
	}
	found := m.found()
	switch {
	case key.Matches(msg, k.Filter):
		m.filter, cmd = m.filter.Begin()
		return m, cmd
	case key.Matches(msg, k.Back):
		m.filter = m.filter.Set("")
		m.at(m.cursor)
	case key.Matches(msg, k.Up):
		m.at(m.cursor - 1)
	case key.Matches(msg, k.Down):
		m.at(m.cursor + 1)
	case key.Matches(msg, k.PageUp):
		m.at(m.cursor - m.size.Height/2)
	case key.Matches(msg, k.PageDown):
		m.at(m.cursor + m.size.Height/2)
	case key.Matches(msg, k.Top):
		m.at(0)
	case key.Matches(msg, k.Bottom):
		m.at(len(found))
	case key.Matches(msg, k.Left):
		m.turn(tea.KeyPgUp)
	case key.Matches(msg, k.Right):
		m.turn(tea.KeyPgDown)
	case key.Matches(msg, k.Run) && m.cursor < len(found):
		m.predicting, m.said = found[m.cursor], nil
		m.answer.SetValue("")
		if len(m.predicting.Predict) == 0 {
			return m.confirm()
		}
		cmd = m.answer.Focus()
		m.toQuestion()
		return m, cmd
	}
	return m, nil
}

// watched takes a key while a drill is under way, or over.
func (m Model) watched(msg tea.KeyMsg) Model {
	k := m.keys
	lines, _ := m.account()
	told, taken := m.told, false
	if m.follow {
		told = told.To(len(lines), len(lines), m.room())
	}
	if told, taken = told.Pressed(msg, len(lines), m.room()); taken {
		m.told, m.follow = told, !m.run.over && told.AtEnd(len(lines), m.room())
		return m
	}
	switch {
	case !m.run.over && key.Matches(msg, k.Abort):
		m.run.abort()
	case m.run.over && key.Matches(msg, k.Back, k.Run):
		m.run = nil
	}
	return m
}

// turn moves the story by a page.
func (m *Model) turn(by tea.KeyType) {
	lines, _ := m.storyLines(m.right())
	m.story, _ = m.story.Pressed(tea.KeyMsg{Type: by}, len(lines), m.size.Height)
}

// toQuestion brings into sight where somebody types.
func (m *Model) toQuestion() {
	lines, at := m.storyLines(m.right())
	m.story = m.story.Show(at, len(lines), m.size.Height)
}

// predict takes in what somebody thinks will happen, question after question.
func (m Model) predict(msg tea.KeyMsg) (page.Page, tea.Cmd) {
	switch msg.Type {
	case tea.KeyPgUp, tea.KeyPgDown:
		m.turn(msg.Type)
		return m, nil
	case tea.KeyEsc:
		m.predicting = nil
		return m, nil
	case tea.KeyEnter:
		m.said = append(m.said, strings.TrimSpace(m.answer.Value()))
		m.answer.SetValue("")
		if len(m.said) >= len(m.predicting.Predict) {
			return m.confirm()
		}
		m.toQuestion()
		return m, nil
	}
	var cmd tea.Cmd
	m.answer, cmd = m.answer.Update(msg)
	m.toQuestion()
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
	lines, _ := m.list(left)
	story, _ := m.storyLines(m.right())
	list := strings.Split(widget.Fit(widget.Join(lines), left, m.size.Height), "\n")
	text := strings.Split(m.story.View(m.theme, story, m.right(), m.size.Height), "\n")
	for i := range list {
		list[i] += "  " + text[i]
	}
	return widget.Join(list)
}

// right is the width of the story beside the list.
func (m Model) right() int { return max(m.size.Width-m.left()-2, 1) }

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
		add(t.Dim.Render("No matching drills."), -1)
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

// storyLines are what is known before a drill: what will be seen is sealed. at is the line in which somebody types.
func (m Model) storyLines(width int) (lines []string, at int) {
	found := m.found()
	if m.cursor >= len(found) {
		return nil, 0
	}
	t, d := m.theme, found[m.cursor]
	say := func(style lipgloss.Style, text string) {
		for _, l := range widget.Wrap(text, width) {
			lines = append(lines, style.Render(l))
		}
	}
	say(t.Bold, d.Title)
	lines = append(lines, "")
	say(t.Plain, d.Story)
	lines = append(lines, "", t.Bold.Render("Predict"))
	for i, q := range d.Predict {
		say(t.Plain, "- "+q.Ask)
		switch {
		case m.predicting != d || i > len(m.said):
		case i == len(m.said):
			at = len(lines)
			lines = append(lines, m.answer.View())
		case m.said[i] != "":
			say(t.Dim, "  "+m.said[i])
		}
	}
	lines = append(lines, "", t.Bold.Render("What is broken"))
	for _, i := range d.Inject {
		line := i.What()
		if i.For > 0 {
			line += fmt.Sprintf(", for %s", i.For)
		}
		say(t.Plain, "- "+line)
	}
	if d.Machines {
		lines = append(lines, "")
		say(t.Warn, "needs virtual machines")
	}
	return lines, at
}

// leastTold is the room that charts leave for what is told.
const leastTold = 4

// charts is how many charts there are room for, and how high each of them is.
func (m Model) charts() (number, height int) {
	height = min(max(m.size.Height/10, 1), 4)
	return min(max((m.size.Height-1-leastTold)/height, 0), 4), height
}

// room is the height of what is told below the charts.
func (m Model) room() int {
	number, height := m.charts()
	return max(m.size.Height-1-number*height, 1)
}

// running shows the drill under way, or how it ended.
func (m Model) running() string {
	t, r := m.theme, m.run
	state := t.Accent.Render(r.last.Phase)
	if r.last.Left > 0 {
		state += t.Dim.Render(fmt.Sprintf("  %.0f s left", r.last.Left.Seconds()))
	}
	switch {
	case r.over && r.journal == nil:
		state = t.Bad.Render("not run")
	case r.over:
		state = t.Bad.Render(strings.ToUpper(string(r.journal.Result)))
		if r.journal.Result == journal.Passed {
			state = t.Good.Render(strings.ToUpper(string(r.journal.Result)))
		}
	}
	head := ansi.Truncate(r.drill.Title, max(m.size.Width-ansi.StringWidth(state)-1, 0), t.Glyphs.Ellipsis)
	lines := []string{widget.Ends(t.Bold.Render(head), state, m.size.Width)}
	number, height := m.charts()
	for _, c := range []struct {
		name   string
		values []float64
		style  lipgloss.Style
	}{{"accepted/s", r.accepted, t.Accent}, {"failed/s", r.failed, t.Bad}, {"queued", r.queued, t.Warn}, {"counted/s", r.counted, t.Good}}[:number] {
		lines = append(lines, widget.Strip(t, c.style, c.name, c.values, r.broken, m.size.Width, height)...)
	}
	told, _ := m.account()
	at := m.told
	if m.follow {
		at = at.To(len(told), len(told), m.room())
	}
	return widget.Join(append(lines, at.View(t, told, m.size.Width, m.room())))
}

// account is what happened in the drill, and, from the line after on, what is told when it is over.
func (m Model) account() (lines []string, after int) {
	t, r := m.theme, m.run
	for _, u := range r.lines {
		mark := map[runner.Tone]string{runner.Plain: " ", runner.Good: t.Good.Render(t.Glyphs.Good), runner.Warning: t.Warn.Render("!"), runner.Bad: t.Bad.Render(t.Glyphs.Bad)}[u.Tone]
		at := fmt.Sprintf("%s %5.1f s  ", mark, u.At.Seconds())
		for _, l := range widget.Wrap(widget.Plain(u.Line), m.size.Width-ansi.StringWidth(at)) {
			lines = append(lines, at+l)
			at = strings.Repeat(" ", ansi.StringWidth(at))
		}
	}
	after = len(lines)
	switch {
	case r.over && r.journal == nil:
		why := "it was not run"
		if r.err != nil {
			why = r.err.Error()
		}
		for _, l := range widget.Wrap(widget.Plain(why), m.size.Width) {
			lines = append(lines, t.Bad.Render(l))
		}
	case r.over:
		lines = append(lines, m.after()...)
	}
	return lines, after
}

// after is what is told when a drill is over: verdict, answers, debrief.
func (m Model) after() []string {
	t, j, d := m.theme, m.run.journal, m.run.drill
	lines := []string{""}
	say := func(style lipgloss.Style, text string) {
		for _, l := range widget.Wrap(text, m.size.Width) {
			lines = append(lines, style.Render(l))
		}
	}
	for _, reason := range j.Reasons {
		say(t.Bad, "! "+widget.Plain(reason))
	}
	for _, remark := range j.Remarks {
		say(t.Dim, widget.Plain(remark))
	}
	if v := j.Verdict; v != nil {
		say(t.Plain, fmt.Sprintf("ledger: %s, %d acknowledged, %d lost, %d double", v.Result, v.Sent.Acknowledged, v.Found[checker.Lost], v.Found[checker.Double]))
	}
	for i, q := range d.Predict {
		say(t.Bold, q.Ask)
		if i < len(m.run.said) && m.run.said[i] != "" {
			say(t.Accent, "you said: "+widget.Plain(m.run.said[i]))
		}
		say(t.Plain, q.Answer)
	}
	say(t.Bold, "Debrief")
	say(t.Plain, d.Debrief)
	return lines
}
