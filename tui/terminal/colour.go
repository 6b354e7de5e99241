package terminal

import (
	"strconv"
	"strings"

	"github.com/muesli/termenv"

	"github.com/swarmlab/swarmlab/lab/host/console"
)

// Queries. A terminal answers in order, and each knows the second one, so that its answer says that none is to come to the first.
const (
	askBackground = "\x1b]11;?\x1b\\"
	askAttributes = "\x1b[c"
)

// isAttributes reports whether a terminal says with this what it is (primary device attributes).
func isAttributes(b []byte) bool {
	return strings.HasPrefix(string(b), "\x1b[?") && strings.HasSuffix(string(b), "c")
}

// background reads what a terminal says of its background: `OSC 11 ; rgb:RRRR/GGGG/BBBB ST`, with one to four digits each (XParseColor).
func background(b []byte) (dark, ok bool) {
	said, ok := strings.CutPrefix(string(b), "\x1b]11;")
	if !ok {
		return false, false
	}
	said = strings.TrimRight(said, "\a\x1b\\")
	model, said, _ := strings.Cut(said, ":")
	if model != "rgb" && model != "rgba" {
		return false, false
	}
	parts := strings.Split(said, "/")
	if len(parts) < 3 {
		return false, false
	}
	var light [3]float64
	for i, p := range parts[:3] {
		n, err := strconv.ParseUint(p, 16, 16)
		if err != nil || len(p) > 4 {
			return false, false
		}
		light[i] = float64(n) / float64(uint(1)<<(4*len(p))-1)
	}
	return isDark(light[0], light[1], light[2]), true
}

// isDark weighs the parts of a colour as eyes do (Rec. 601).
func isDark(red, green, blue float64) bool { return 0.299*red+0.587*green+0.114*blue < 0.5 }

// Dark reports whether a terminal that says nothing is dark: by COLORFGBG, where that is set, and most are.
func Dark(environ []string) bool {
	_, ground, ok := strings.Cut(console.Environment(environ).Getenv("COLORFGBG"), ";")
	if !ok {
		return true
	}
	n, err := strconv.Atoi(ground[strings.LastIndexByte(ground, ';')+1:])
	if err != nil || n < 0 || n > 15 {
		return true
	}
	c := termenv.ConvertToRGB(termenv.ANSIColor(n))
	return isDark(c.R, c.G, c.B)
}

// Answers reports whether a terminal is to be asked at all: one that shows colours, and that answers for itself. Those within screen and tmux
// may have several terminals, and Linux' console does not know the question.
func Answers(profile termenv.Profile, environ []string) bool {
	term := console.Environment(environ).Getenv("TERM")
	return profile != termenv.Ascii && term != "linux" && !strings.HasPrefix(term, "screen") && !strings.HasPrefix(term, "tmux")
}
