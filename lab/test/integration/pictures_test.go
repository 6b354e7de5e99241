//go:build integration && pictures

package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/robert-nix/ansihtml"
)

// frame is what a terminal is drawn in.
var frame = template.Must(template.New("").Parse(`<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #16181d }
pre { margin: 0; padding: 14px 16px; display: inline-block; color: #d8dce3; font: 14px/17px "DejaVu Sans Mono", monospace }
.t-bold { font-weight: bold }
.t-invert { background: #d8dce3; color: #16181d !important }
</style><pre>{{.}}</pre>`))

var pictures = flag.String("pictures", filepath.Join("tui", "pictures"), "folder for the pictures, seen from the clone's")

// TestPictures draws the terminal UI on the running lab for the README: lab.png and drill.png. What is on them is what the program showed.
func TestPictures(t *testing.T) {
	l := open(t)
	folder := *pictures
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(l.Dir, folder)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	term := l.openTerminal(t, 112, 34, "tui")
	term.shows(fmt.Sprintf("%d of %d nodes ready", len(l.Topology.Nodes), len(l.Topology.Nodes)))
	for _, rate := range []string{"50", "100", "200"} {
		term.press("+")
		term.shows("casting " + rate + "/s")
	}
	waitFor(t, l.patience, "the chart of captured votes fills up", func(context.Context) error {
		for line := range strings.Lines(term.tmux("capture-pane", "-p")) {
			if n := strings.Count(line, "▆") + strings.Count(line, "▇") + strings.Count(line, "█"); strings.HasPrefix(line, "captured/s") && n >= 20 {
				return nil
			}
		}
		return errors.New("it has few bars")
	})
	term.press("Right", "Right", "Down")
	term.shows("redis01 on frontend01")
	term.press("s")
	term.shows("stop redis01, for 30s?")
	term.press("y")
	term.shows("server down", "it ends by itself")
	term.picture(filepath.Join(folder, "lab.png"))
	term.heal(l)
	for _, said := range []string{"100 votes a second", "50 votes a second", "no more votes"} {
		term.press("-")
		term.shows(said)
	}

	term.choose("web-kill")
	term.press("-l", "half of them")
	term.shows("> half of them")
	term.press("Enter")
	term.shows("Run web-kill")
	term.press("y")
	term.shows("PASSED", "Debrief")
	term.picture(filepath.Join(folder, "drill.png"))
	term.press("q")
	l.waitReady(t)
}

// picture draws what is on the screen.
func (t *terminal) picture(path string) {
	t.t.Helper()
	screen := t.tmux("capture-pane", "-e", "-p")
	html := ansihtml.ConvertToHTMLWithClasses([]byte(screen), "t-", false)
	var page strings.Builder
	if err := frame.Execute(&page, template.HTML(html)); err != nil { //nolint:gosec // text that ansihtml has escaped
		t.t.Fatal(err)
	}
	file := filepath.Join(t.t.TempDir(), "screen.html")
	if err := os.WriteFile(file, []byte(page.String()), 0o600); err != nil {
		t.t.Fatal(err)
	}
	b := browser(t.t)
	if _, err := chromedp.Run(b, chromedp.Navigate("file://"+file)); err != nil {
		t.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b, 5*time.Minute)
	defer cancel()
	size, err := chromedp.Run(ctx, chromedp.Evaluate[[]float64](`(r => [r.width, r.height])(document.querySelector("pre").getBoundingClientRect())`))
	if err != nil {
		t.t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(int64(size[0]), int64(size[1]), chromedp.EmulateScale(1.5))); err != nil {
		t.t.Fatal(err)
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.t.Fatal(err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil { //nolint:gosec // it is to be seen
		t.t.Fatal(err)
	}
	t.t.Logf("%s: %d KB", path, len(png)/1024)
}
