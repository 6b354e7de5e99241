// Package terminaltest is a terminal for tests: a pseudo-terminal with an emulator behind it that draws nothing, and answers what programs ask
// terminals: at once, late, in pieces, or never. It is Linux' only.
package terminaltest
