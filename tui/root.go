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
	"github.com/swarmlab/swarmlab/tui/scroll"
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
	// What a terminal has that does not know its size, as a serial line does not.
	usualWidth, usualHeight = 80, 24
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
	feed         <-chan world.Model
	clock        func() time.Time
	votes        voter
	rate         float64
	help         bool
	helped       scroll.Scroll
	ask          *page.Ask
	// leaving: what is asked is whether to quit.
	leaving bool
	told    page.Told
	until   time.Time
	// jump is where somebody types the name of a page.
	jump textinput.Model
}

// voter casts votes in the background; 0 ends it.
type voter interface{ Vote(rate float64) error }

type tick struct{}

type fresh struct{ world world.Model }

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
		if r.width = msg.Width; r.width == 0 {
			r.width = usualWidth
		}
		if r.tall = msg.Height; r.tall == 0 {
			r.tall = usualHeight
		}
		return r.all(page.Size{Width: r.width, Height: r.bodyHeight()})
	case fresh:
		r.seen = page.Seen{World: msg.world, At: r.clock()}
		r, cmd := r.allOf(r.seen)
		return r, tea.Batch(cmd, r.wait())
	case tick:
		r.seen.At = r.clock()
		r, cmd := r.allOf(r.seen)
		return r, tea.Batch(cmd, beat())
	case page.Ask:
		r.ask, r.leaving = &msg, false
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
			switch {
			case r.help:
				r.helped, _ = r.helped.Pressed(k, len(r.helpLines()), r.bodyHeight())
				return r, nil
			case r.ask != nil || r.jump.Focused() || r.pages[r.active].Typing():
				return r, nil
			}
			return r.one(r.active, k)
		}
		if r.help {
			return r, nil
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

// typing reports whether keys are text now.
func (r root) typing() bool {
	return r.ask == nil && (r.jump.Focused() || r.pages[r.active].Typing())
}

// typed takes a key. What comes in one piece, be it pasted or what a terminal says of itself, nobody pressed: it is text where text is typed, and
// nothing else.
func (r root) typed(msg tea.KeyMsg) (tea.Model, tea.Cmd) {
	if (msg.Paste || len(msg.Runes) > 1) && !r.typing() {
		return r, nil
	}
	return r.pressed(msg)
}

func (r root) pressed(msg tea.KeyMsg) (tea.Model, tea.Cmd) {
	k := r.keys
	switch {
	case key.Matches(msg, k.Interrupt):
		return r.quit()
	case r.ask != nil:
		ask := r.ask
		r.ask, r.leaving = nil, false
		if key.Matches(msg, k.Yes) {
			return r, ask.Do
		}
		return r, nil
	case r.jump.Focused():
		return r.jumping(msg)
	case r.pages[r.active].Typing():
		return r.one(r.active, msg)
	case r.help:
		var scrolled bool
		r.helped, scrolled = r.helped.Pressed(msg, len(r.helpLines()), r.bodyHeight())
		r.help = scrolled
		return r, nil
	case key.Matches(msg, k.Quit):
		return r.quit()
	case key.Matches(msg, k.Help):
		r.help, r.helped = true, scroll.New(k)
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

// quit ends the UI. Where something is under way that ends with it, it asks first; who does not answer but quits again means it.
func (r root) quit() (tea.Model, tea.Cmd) {
	var busy []string
	for _, p := range r.pages {
		if b, ok := p.(page.Busy); ok && b.Busy() != "" {
			busy = append(busy, b.Busy())
		}
	}
	if len(busy) == 0 || r.leaving && r.ask != nil {
		return r, tea.Quit
	}
	r.ask = &page.Ask{Question: "Quit, and abort " + strings.Join(busy, ", ") + "? What is broken is healed first.", Do: tea.Quit}
	r.leaving = true
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
			return r.quit()
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
		return widget.Fit(widget.Join(widget.Wrap(fmt.Sprintf("swarmlab needs %dx%d cells", leastWidth, leastHeight), r.width)), r.width, r.tall)
	}
	body := r.pages[r.active].View() // as large as it was told to be
	if r.help {
		body = r.helped.View(r.theme, r.helpLines(), r.width, r.bodyHeight())
	}
	notice := r.notice()
	notice = notice[max(len(notice)-r.bodyHeight(), 0):]
	// What takes more than its line stands over the end of the page.
	if over := len(notice) - 1; over > 0 {
		body = widget.Join(strings.Split(body, "\n")[:r.bodyHeight()-over])
	}
	return r.head() + "\n" + body + "\n" + widget.Fit(widget.Join(notice), r.width, len(notice)) + "\n" + r.foot()
}

// bodyHeight is what the tabs, the notice and the keys leave for a page.
func (r root) bodyHeight() int { return max(r.tall-3, 0) }

// tabs name the pages; where there is no room for all names, only the one that is shown has its.
func (r root) tabs() []string {
	name := func(i int, p page.Page) string { return fmt.Sprintf(" %d %s ", i+1, p.Title()) }
	all := 0
	for i, p := range r.pages {
		all += len(name(i, p))
	}
	var tabs []string
	for i, p := range r.pages {
		switch {
		case i == r.active:
			tabs = append(tabs, r.theme.Title.Render(name(i, p)))
		case all > r.width:
			tabs = append(tabs, fmt.Sprintf(" %d ", i+1))
		default:
			tabs = append(tabs, name(i, p))
		}
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
	faults := len(r.seen.World.PowerFaults)
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

// notice asks, or tells what became of something, or is empty: one line, or as many as it takes.
func (r root) notice() []string {
	style, text := r.theme.Good, widget.Plain(r.told.Text)
	switch {
	case r.jump.Focused() && r.ask == nil:
		return []string{r.jump.View()}
	case r.ask != nil:
		style, text = r.theme.Warn, widget.Plain(r.ask.Question)+" "+yesNo
	case r.seen.At.After(r.until) || text == "":
		return []string{""}
	case r.told.Bad:
		style = r.theme.Bad
	}
	var lines []string
	for _, l := range widget.Wrap(text, r.width) {
		if question, asks := strings.CutSuffix(l, yesNo); asks && r.ask != nil {
			lines = append(lines, style.Render(question)+r.theme.Bold.Render(yesNo))
			continue
		}
		lines = append(lines, style.Render(l))
	}
	return lines
}

// yesNo stands behind a question: without an answer it is no.
const yesNo = "y/N"

// foot tells the keys that do something now; where there is no room for all, the last of the page's own give way.
func (r root) foot() string {
	k := r.keys
	own, common := r.pages[r.active].Keys(), []key.Binding{k.Next, k.Help, k.Quit}
	switch {
	case r.ask != nil:
		own, common = []key.Binding{k.Yes, k.No}, []key.Binding{k.Interrupt}
	case r.jump.Focused():
		own, common = []key.Binding{keymap.As(k.Enter, "open the page"), keymap.As(k.Back, "cancel")}, []key.Binding{k.Interrupt}
	case r.pages[r.active].Typing():
		common = []key.Binding{k.Interrupt}
	case r.help:
		own, common = []key.Binding{k.Up, k.Down, k.PageUp, k.PageDown}, []key.Binding{keymap.As(k.No, "close"), k.Interrupt}
	}
	last := r.hints(common...)
	room := r.width - 2
	for _, c := range last {
		room -= ansi.StringWidth(c) + 2
	}
	var hints []string
	for _, h := range r.hints(own...) {
		if room -= ansi.StringWidth(h) + 2; room < 0 {
			hints = append(hints, r.theme.Dim.Render(r.theme.Glyphs.Ellipsis))
			break
		}
		hints = append(hints, h)
	}
	return widget.Line(strings.Join(append(hints, last...), "  "), r.width)
}

// hints are keys and what they do.
func (r root) hints(keys ...key.Binding) []string {
	var hints []string
	for _, b := range keys {
		if b.Enabled() {
			hints = append(hints, r.theme.Bold.Render(r.theme.Key(b.Help().Key))+" "+r.theme.Dim.Render(b.Help().Desc))
		}
	}
	return hints
}

// helpColumn is the width of the names of keys.
const helpColumn = 16

// helpLines are all keys, each once: a page's own, and those that do the same everywhere.
func (r root) helpLines() []string {
	k := r.keys
	everywhere := []key.Binding{
		keymap.As(k.Jump, "go to the page with this number"), keymap.As(k.Go, "go to a page by its name"), k.Next, k.Previous,
		keymap.As(k.Faster, "cast more votes from here"), keymap.As(k.Slower, "cast fewer votes"), k.Help, k.Quit, keymap.As(k.Interrupt, "quit, also while you type"),
	}
	listed := map[string]bool{}
	var lines []string
	list := func(keys []key.Binding) {
		for _, b := range keys {
			name := r.theme.Key(keymap.Name(b))
			if !b.Enabled() || listed[name] {
				continue
			}
			listed[name] = true
			for i, l := range widget.Wrap(b.Help().Desc, r.width-helpColumn-2) {
				if i > 0 {
					name = ""
				}
				lines = append(lines, "  "+r.theme.Bold.Render(name)+strings.Repeat(" ", max(helpColumn-ansi.StringWidth(name), 1))+l)
			}
		}
	}
	p := r.pages[r.active]
	lines = append(lines, r.theme.Bold.Render(p.Title()))
	list(p.Help())
	lines = append(lines, "", r.theme.Bold.Render("On all pages"))
	list(everywhere)
	return append(lines, "", r.theme.Dim.Render("Press any other key to close this help."))
}
