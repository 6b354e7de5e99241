package settings

import (
	"path/filepath"
	"runtime"
)

// StateDir is .lab, where everything lives that is made and not committed. Mode 0700: it holds keys.
func (l *Lab) StateDir() string { return filepath.Join(l.Dir, ".lab") }

// Path is a path below .lab.
func (l *Lab) Path(elem ...string) string {
	return filepath.Join(append([]string{l.StateDir()}, elem...)...)
}

// SettingsFile holds the settings of the lab that was brought up last.
func (l *Lab) SettingsFile() string { return l.Path("settings.json") }

// Relative shortens a path below the clone's folder.
func (l *Lab) Relative(path string) string {
	if short, err := filepath.Rel(l.Dir, path); err == nil {
		return short
	}
	return path
}

// LedgerDir holds the ledgers of the loads that the lab bore. They speak of its database, and go with it.
func (l *Lab) LedgerDir() string { return l.Path("ledgers") }

// JournalDir holds the journals of drills. They tell of what was, and stay when the lab goes.
func (l *Lab) JournalDir() string { return l.Path("journal") }

// FaultDir holds the records of the faults that are the host's: power that was taken from nodes.
func (l *Lab) FaultDir() string { return l.Path("faults") }

// Arch is the nodes' architecture in Go's terms: container nodes have the host's, and so have the boxes of VMs.
func (l *Lab) Arch() string { return runtime.GOARCH }

// Platform names the folders below .lab/bin, .lab/app and .lab/bundle that hold the nodes' architecture.
func (l *Lab) Platform() string { return "linux-" + l.Arch() }

// NodeDir holds what is given to one node only.
func (l *Lab) NodeDir(node string) string { return l.Path("nodes", node) }
