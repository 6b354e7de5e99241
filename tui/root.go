package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"github.com/swarmlab/swarmlab/tui/keymap"
	"github.com/swarmlab/swarmlab/tui/page"
	"github.com/swarmlab/swarmlab/tui/theme"
	"github.com/swarmlab/swarmlab/tui/widget"
	"github.com/swarmlab/swarmlab/tui/world"
)

const (
	// drawEvery is how often what passes with time is drawn anew: leases, ages.
	drawEvery = time.Second
	// toldFor is how long what became of something is shown.
	toldFor = 6 * time.Second
	// Least that anything can be shown in.
	leastWidth, leastHeight = 40, 10
)

// root holds the pages and what they share: size, keys, a question, a word on what became of the last answer. It knows no page by name.
type root struct {
	theme  theme.Theme
	keys   keymap.Map
	pages  []page.Page
	active int
	// events and logs are the pages that ShowEvents and ShowLogs turn to.
	events, logs int
	width        int
	tall         int
	seen         page.Seen
	feed         <-chan world.World
	clock        func() time.Time
	votes        voter
	rate         float64
	help         bool
	ask          *page.Ask
	told         page.Told
	until        time.Time
	// jump is where somebody types the name of a page.
	jump textinput.Model
}

// voter casts votes in the background; 0 ends it.
type voter interface{ Vote(rate float64) error }

type tick struct{}

type fresh struct{ world world.World }

func (r root) Init() tea.Cmd {
	cmds := []tea.Cmd{r.wait(), beat()}
	for _, p := range r.pages {
		cmds = append(cmds, p.Init())
	}
	return tea.Batch(cmds...)
}

func beat() tea.Cmd { return tea.Tick(drawEvery, func(time.Time) tea.Msg { return tick{} }) }

// wait waits for one moment of the lab.
func (r root) wait() tea.Cmd {
	feed := r.feed
	return func() tea.Msg {
		w, ok := <-feed
		if !ok {
			return nil
		}
		return fresh{w}
	}
}

func (r root) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		r.width, r.tall = msg.Width, msg.Height
		return r.all(page.Size{Width: r.width, Height: max(r.tall-3, 0)})
	case fresh:
		r.seen = page.Seen{World: msg.world, At: r.clock()}
		r, cmd := r.allOf(r.seen)
		return r, tea.Batch(cmd, r.wait())
	case tick:
		r.seen.At = r.clock()
		r, cmd := r.allOf(r.seen)
		return r, tea.Batch(cmd, beat())
	case page.Ask:
		r.ask = &msg
		return r, nil
	case page.Told:
		r.told, r.until = msg, r.clock().Add(toldFor)
		return r, nil
	case page.ShowLogs:
		r.active = r.logs
		return r.one(r.active, msg)
	case page.ShowEvents:
		r.active = r.events
		return r.one(r.active, msg)
	case tea.KeyMsg:
		return r.typed(msg)
	case tea.MouseMsg:
		if msg.Action == tea.MouseActionPress && msg.Button == tea.MouseButtonLeft && msg.Y == 0 {
			if i := r.tabAt(msg.X); i >= 0 {
				r.active = i
			}
			return r, nil
		}
		if k, ok := wheel(msg); ok {
			if r.ask != nil || r.help || r.jump.Focused() || r.pages[r.active].Typing() {
				return r, nil
			}
			return r.one(r.active, k)
		}
		msg.Y-- // pages begin below the tabs
		return r.one(r.active, msg)
	}
	// Whatever else there is belongs to the page that asked for it, and nobody else knows the type.
	return r.all(msg)
}

// wheel takes a turn of the mouse wheel for the key that does the same.
func wheel(msg tea.MouseMsg) (tea.KeyMsg, bool) {
	switch msg.Button {
	case tea.MouseButtonWheelUp:
		return tea.KeyMsg{Type: tea.KeyUp}, true
	case tea.MouseButtonWheelDown:
		return tea.KeyMsg{Type: tea.KeyDown}, true
	}
	return tea.KeyMsg{}, false
}

func (r root) all(msg tea.Msg) (tea.Model, tea.Cmd) { return r.allOf(msg) }

func (r root) allOf(msg tea.Msg) (root, tea.Cmd) {
	pages := make([]page.Page, len(r.pages))
	cmds := make([]tea.Cmd, len(r.pages))
	for i, p := range r.pages {
		pages[i], cmds[i] = p.Update(msg)
	}
	r.pages = pages
	return r, tea.Batch(cmds...)
}

func (r root) one(i int, msg tea.Msg) (tea.Model, tea.Cmd) {
	pages := append([]page.Page(nil), r.pages...)
	var cmd tea.Cmd
	pages[i], cmd = pages[i].Update(msg)
	r.pages = pages
	return r, cmd
}

// typed takes keys apart that came in one piece, as they do over slow lines and from quick hands.
func (r root) typed(msg tea.KeyMsg) (tea.Model, tea.Cmd) {
	if msg.Type != tea.KeyRunes || len(msg.Runes) < 2 || msg.Paste {
		return r.pressed(msg)
	}
	var cmds []tea.Cmd
	for _, c := range msg.Runes {
		m, cmd := r.pressed(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{c}, Alt: msg.Alt})
		r, cmds = m.(root), append(cmds, cmd)
	}
	return r, tea.Sequence(cmds...)
}

func (r root) pressed(msg tea.KeyMsg) (tea.Model, tea.Cmd) {
	k := r.keys
	switch {
	case msg.Type == tea.KeyCtrlC:
		return r, tea.Quit
	case r.ask != nil:
		ask := r.ask
		r.ask = nil
		if s := msg.String(); s == "y" || s == "Y" {
			return r, ask.Do
		}
		return r, nil
	case r.jump.Focused():
		return r.jumping(msg)
	case r.pages[r.active].Typing():
		return r.one(r.active, msg)
	case r.help:
		r.help = false
		return r, nil
	case key.Matches(msg, k.Quit):
		return r, tea.Quit
	case key.Matches(msg, k.Help):
		r.help = true
	case key.Matches(msg, k.Next):
		r.active = (r.active + 1) % len(r.pages)
	case key.Matches(msg, k.Previous):
		r.active = (r.active + len(r.pages) - 1) % len(r.pages)
	case key.Matches(msg, k.Jump):
		if i := int(msg.String()[0] - '1'); i < len(r.pages) {
			r.active = i
		}
	case key.Matches(msg, k.Go):
		r.jump.SetValue("")
		return r, r.jump.Focus()
	case key.Matches(msg, k.Faster):
		return r.vote(max(2*r.rate, 50))
	case key.Matches(msg, k.Slower):
		if r.rate <= 50 {
			return r.vote(0)
		}
		return r.vote(r.rate / 2)
	default:
		return r.one(r.active, msg)
	}
	return r, nil
}

// jumping takes in the name of a page, of which its beginning is enough.
func (r root) jumping(msg tea.KeyMsg) (tea.Model, tea.Cmd) {
	switch msg.Type {
	case tea.KeyEsc:
		r.jump.Blur()
		return r, nil
	case tea.KeyEnter:
		r.jump.Blur()
		name := strings.ToLower(strings.TrimSpace(r.jump.Value()))
		for i, p := range r.pages {
			if name != "" && strings.HasPrefix(strings.ToLower(p.Title()), name) {
				r.active = i
				return r, nil
			}
		}
		if name == "q" || name == "quit" {
			return r, tea.Quit
		}
		r.told, r.until = page.Told{Text: "there is no page " + name, Bad: true}, r.clock().Add(toldFor)
		return r, nil
	}
	var cmd tea.Cmd
	r.jump, cmd = r.jump.Update(msg)
	return r, cmd
}

// mostVotes per second that are cast from here.
const mostVotes = 1600

// vote changes how many votes are cast.
func (r root) vote(rate float64) (tea.Model, tea.Cmd) {
	rate = min(rate, mostVotes)
	r.rate = rate
	v := r.votes
	return r, func() tea.Msg {
		if err := v.Vote(rate); err != nil {
			return page.Told{Text: err.Error(), Bad: true}
		}
		if rate == 0 {
			return page.Told{Text: "no more votes are cast from here"}
		}
		return page.Told{Text: fmt.Sprintf("%.0f votes a second are cast from here", rate)}
	}
}

func (r root) View() string {
	if r.width < leastWidth || r.tall < leastHeight {
		return widget.Fit(fmt.Sprintf("swarmlab needs %dx%d cells", leastWidth, leastHeight), r.width, r.tall)
	}
	body := r.pages[r.active].View() // as large as it was told to be
	if r.help {
		body = widget.Fit(r.helpPage(), r.width, r.tall-3)
	}
	return r.head() + "\n" + body + "\n" + r.line() + "\n" + r.foot()
}

func (r root) tabs() []string {
	var tabs []string
	for i, p := range r.pages {
		text := fmt.Sprintf(" %d %s ", i+1, p.Title())
		if i == r.active {
			text = r.theme.Title.Render(text)
		}
		tabs = append(tabs, text)
	}
	return tabs
}

// tabAt is the page whose name stands in a column of the first line; -1: none.
func (r root) tabAt(x int) int {
	from := 0
	for i, t := range r.tabs() {
		to := from + ansi.StringWidth(t)
		if x >= from && x < to {
			return i
		}
		from = to
	}
	return -1
}

func (r root) head() string {
	faults := len(r.seen.World.Outages)
	for _, n := range r.seen.World.View.Nodes {
		faults += len(n.Snapshot.GetFaults())
	}
	right := r.theme.Dim.Render(r.seen.World.Lab)
	if faults > 0 {
		right = r.theme.Bad.Render(fmt.Sprintf("%s %d in force", r.theme.Glyphs.Fault, faults)) + "  " + right
	}
	if r.rate > 0 {
		right = r.theme.Accent.Render(fmt.Sprintf("casting %.0f/s", r.rate)) + "  " + right
	}
	return widget.Ends(strings.Join(r.tabs(), ""), right, r.width)
}

// line asks, or tells what became of something, or is empty.
func (r root) line() string {
	switch {
	case r.jump.Focused():
		return widget.Line(r.jump.View(), r.width)
	case r.ask != nil:
		return widget.Line(r.theme.Warn.Render(widget.Plain(r.ask.Question))+" "+r.theme.Bold.Render("y/N"), r.width)
	case r.seen.At.After(r.until) || r.told.Text == "":
		return widget.Line("", r.width)
	case r.told.Bad:
		return widget.Line(r.theme.Bad.Render(widget.Plain(r.told.Text)), r.width)
	}
	return widget.Line(r.theme.Good.Render(widget.Plain(r.told.Text)), r.width)
}

// foot tells the keys that do something now; where there is no room for all, the last of the page's own give way.
func (r root) foot() string {
	common := r.hints(r.keys.Next, r.keys.Help, r.keys.Quit)
	room := r.width - 2
	for _, c := range common {
		room -= ansi.StringWidth(c) + 2
	}
	var own []string
	for _, h := range r.hints(r.pages[r.active].Keys()...) {
		if room -= ansi.StringWidth(h) + 2; room < 0 {
			own = append(own, r.theme.Dim.Render(r.theme.Glyphs.Ellipsis))
			break
		}
		own = append(own, h)
	}
	return widget.Line(strings.Join(append(own, common...), "  "), r.width)
}

// hints are keys and what they do.
func (r root) hints(keys ...key.Binding) []string {
	var hints []string
	for _, b := range keys {
		if b.Enabled() {
			hints = append(hints, r.theme.Bold.Render(b.Help().Key)+" "+r.theme.Dim.Render(b.Help().Desc))
		}
	}
	return hints
}

func (r root) helpPage() string {
	lines := []string{r.theme.Bold.Render(r.pages[r.active].Title()), ""}
	k := r.keys
	for _, b := range append(r.pages[r.active].Keys(), k.Jump, k.Go, k.Next, k.Previous, k.Faster, k.Slower, k.Help, k.Quit) {
		if b.Enabled() {
			lines = append(lines, fmt.Sprintf("  %-10s %s", b.Help().Key, b.Help().Desc))
		}
	}
	return strings.Join(append(lines, "", r.theme.Dim.Render("Any key goes back.")), "\n")
}
