// Package page is what the pages of the terminal UI have in common: the contract with the root, which knows none of them by name, and the
// messages by which they ask for something.
package page

import (
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/world"
)

// Page is one page. Update returns the page that follows, which is the same one as a rule.
type Page interface {
	Title() string
	Init() tea.Cmd
	Update(msg tea.Msg) (Page, tea.Cmd)
	// View is exactly as large as the last Size said.
	View() string
	// Keys that the page takes now, the most important first.
	Keys() []key.Binding
	// Help is all keys that the page ever takes, with what they do, in more words.
	Help() []key.Binding
	// Typing: keys are text now, and none of them is anybody else's.
	Typing() bool
}

// Busy is a page that may have something under way that does not outlive the UI.
type Busy interface {
	// Busy names it; empty: there is nothing.
	Busy() string
}

// Size is what a page may fill.
type Size struct{ Width, Height int }

// Seen is the lab as it is now.
type Seen struct {
	World world.Model
	At    time.Time
}

// Ask has the root ask before it does something.
type Ask struct {
	Question string
	Do       tea.Cmd
}

// Told is what became of something, to be shown for a while.
type Told struct {
	Text string
	Bad  bool
}

// ShowLogs has the root turn to the logs of a container; an empty one means the node's agent.
type ShowLogs struct{ Node, Container string }

// ShowEvents has the root turn to the events of a node.
type ShowEvents struct{ Node string }
