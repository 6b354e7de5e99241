package tui

import (
	tea "github.com/charmbracelet/bubbletea"

	"github.com/swarmlab/swarmlab/tui/terminal"
)

// suspends does nothing: Windows stops no process.
func suspends(*tea.Program, *terminal.Input) (end func()) { return func() {} }
