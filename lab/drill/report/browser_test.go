package report_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/report"
	"github.com/swarmlab/swarmlab/lab/drill/report/reporttest"
)

// browser starts a headless Chromium; the test ends it. Without one the test is skipped, or fails if LAB_REQUIRE_SERVICES is 1.
// With -short it is skipped.
func browser(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it needs a browser")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		const why = "there is no chromium; `vagrant/prerequisites.sh test` installs it"
		if os.Getenv("LAB_REQUIRE_SERVICES") == "1" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WSURLReadTimeout(5*time.Minute))
	if os.Geteuid() == 0 {
		// Chromium refuses its own sandbox to root.
		options = append(options, chromedp.NoSandbox)
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	// The first action starts the browser, which lives as long as its context: no deadline on this one.
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// seen is what a browser makes of a page.
type seen struct {
	// Width is that of the page, with what sticks out of the window.
	Width int64 `json:"width"`
	// Shown plots; each has another, for other widths, that is not.
	Shown int `json:"shown"`
	// Ground is the page's colour, Lines are those of the curves: "none" or black where a variable was not understood.
	Ground string   `json:"ground"`
	Lines  []string `json:"lines"`
	// Overlaps are texts of a plot that lie upon each other.
	Overlaps []string `json:"overlaps"`
	// Smallest letters of the plots, in pixels.
	Smallest float64 `json:"smallest"`
	Hacked   bool    `json:"hacked"`
}

const look = `(() => {
  const plots = [...document.querySelectorAll('svg.plot')].filter(s => getComputedStyle(s).display !== 'none');
  const seen = {width: document.documentElement.scrollWidth, shown: plots.length, ground: getComputedStyle(document.body).backgroundColor,
    lines: [], overlaps: [], smallest: 1000, hacked: 'hacked' in window};
  for (const plot of plots) {
    for (const path of plot.querySelectorAll('path[stroke-width="2"]')) seen.lines.push(getComputedStyle(path).stroke);
    const texts = [...plot.querySelectorAll('text')].map(t => ({text: t.textContent, box: t.getBoundingClientRect()}));
    const scale = plot.getBoundingClientRect().width / plot.viewBox.baseVal.width;
    seen.smallest = Math.min(seen.smallest, 12 * scale);
    // A box is higher than its letters.
    const air = 4 * scale;
    texts.forEach((a, i) => texts.slice(i + 1).forEach(b => {
      if (a.box.left < b.box.right && b.box.left < a.box.right && a.box.top + air < b.box.bottom - air && b.box.top + air < a.box.bottom - air)
        seen.overlaps.push(a.text + ' / ' + b.text);
    }));
  }
  return seen;
})()`

func TestInABrowser(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	dir := t.TempDir()
	hostile := reporttest.Failed()
	hostile.ID = "hostile"
	evil := `</style></svg><script>hacked=1</script><img src=x onerror="hacked=1">`
	hostile.Drill.Title, hostile.Drill.Story, hostile.Annotations[2].Name, hostile.Faults[0].What = evil, evil, evil, evil
	for i := range 40 { // More marks than there is room for.
		hostile.Annotations = append(hostile.Annotations, journal.Annotation{AtMS: int64(i) * 1500, Name: fmt.Sprintf("mark %d", i)})
	}
	for _, j := range []*journal.Journal{reporttest.RedisStop(), hostile} {
		path, err := report.Write(dir, j)
		if err != nil {
			t.Fatal(err)
		}
		grounds := map[string]bool{}
		for _, width := range []int64{1920, 1280, 400} {
			for _, colours := range []string{"light", "dark"} {
				name := fmt.Sprintf("%s at %d, %s", j.ID, width, colours)
				got := visit(ctx, t, path, width, colours)
				grounds[got.Ground] = true
				if got.Width > width || got.Shown != 4 || got.Hacked || got.Smallest < 10 {
					t.Errorf("%s: %+v", name, got)
				}
				if len(got.Overlaps) > 0 {
					t.Errorf("%s: names lie upon each other: %q", name, got.Overlaps)
				}
				if len(got.Lines) < 8 {
					t.Errorf("%s: %d lines", name, len(got.Lines))
				}
				for _, line := range got.Lines {
					if line == "none" || line == "rgb(0, 0, 0)" {
						t.Errorf("%s: a line is drawn as %s", name, line)
					}
				}
			}
		}
		if len(grounds) != 2 {
			t.Errorf("%s has the colours %v in two schemes", j.ID, grounds)
		}
	}
}

// visit looks at a page, and leaves a picture of it where REPORT_PICTURES says.
func visit(ctx context.Context, t *testing.T, path string, width int64, colours string) seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900), scheme(colours), chromedp.Navigate("file://"+path)); err != nil {
		t.Fatal(err)
	}
	got, err := chromedp.Run(ctx, chromedp.Evaluate[seen](look))
	if err != nil {
		t.Fatal(err)
	}
	if pictures := os.Getenv("REPORT_PICTURES"); pictures != "" {
		picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%s-%d-%s.png", strings.TrimSuffix(filepath.Base(path), report.Suffix), width, colours)
		if err := os.WriteFile(filepath.Join(pictures, name), picture, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return got
}
