// Package terminal is what stands between the terminal UI and its terminal: it asks the terminal for its background, once, and takes out of the
// input what nobody pressed. An answer that comes late, or in pieces, is not taken for keys, and neither is what comes in one burst.
//
// It knows nothing of what is shown. The scanner (scan.go) and what becomes of a burst (burst.go) are pure; the terminal itself is in
// input_unix.go. On Windows the console gives keys, not bytes, and is left to bubbletea.
package terminal

import "time"

const (
	// Patience is how long a terminal may take to say what it looks like.
	Patience = 300 * time.Millisecond
	// keyWithin is how long the rest of a key may take that comes as several bytes. Over a slow line they still come in one packet.
	keyWithin = 50 * time.Millisecond
	// answerWithin is the same for a terminal that has yet to answer, and lateWithin how long after the question that is reckoned with: what
	// begins like a key may be an answer.
	answerWithin = time.Second
	lateWithin   = 10 * time.Second
	// pasteWithin is how long the rest may take of what is pasted.
	pasteWithin = time.Second
	// burstWithin is the time between two keys that no hands can press.
	burstWithin = 10 * time.Millisecond
	// lostWithin is how long nothing may come of an answer, or another sequence, whose end has not come, and lostAfter how long it may take from its
	// beginning to its end. Else the end was lost on the way, and what was pressed meanwhile is lost with it.
	lostWithin = 2 * time.Second
	lostAfter  = 10 * time.Second
)
