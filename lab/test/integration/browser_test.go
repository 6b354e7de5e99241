//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium; the test ends it.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.WindowSize(1100, 800))
	if os.Geteuid() == 0 {
		// Chromium refuses its own sandbox to root.
		options = append(options, chromedp.NoSandbox)
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	return tab(t, allocator)
}

// tab opens a tab in the browser of a context, or starts its browser.
func tab(t *testing.T, parent context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	return ctx
}

// do runs the steps within a deadline; a page that never shows what is waited for fails the test instead of hanging it.
func do(t *testing.T, page context.Context, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(page, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func text(ctx context.Context, selector string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Text(selector))
}

// A person votes on the page, changes their mind, and sees the choice; the other page shows it live.
func TestPagesInABrowser(t *testing.T) {
	l := open(t)
	before := l.mustTally(t)

	results := browser(t)
	// The first action starts the browser, which lives as long as its context: no deadline on this one.
	if _, err := chromedp.Run(results, chromedp.Navigate(l.resultsURL())); err != nil {
		t.Fatalf("results page: %v", err)
	}
	do(t, results, "results page", chromedp.WaitVisible("#total"))

	voting := tab(t, results)
	if _, err := chromedp.Run(voting, chromedp.Navigate(l.votingURL())); err != nil {
		t.Fatalf("voting page: %v", err)
	}
	do(t, voting, "voting page", chromedp.WaitVisible(`button[name=vote][value=a]`))
	body, err := text(voting, "body")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"Cats", "Dogs", "frontend0"} {
		if !strings.Contains(body, word) {
			t.Errorf("the voting page does not say %q: %s", word, body)
		}
	}
	do(t, voting, "vote, and change your mind",
		chromedp.Click(`button[name=vote][value=a]`),
		chromedp.WaitVisible(`button[name=vote][value=a][aria-pressed=true]`),
		chromedp.Click(`button[name=vote][value=b]`),
		chromedp.WaitVisible(`button[name=vote][value=b][aria-pressed=true]`))

	l.expectTally(t, tally{A: before.A, B: before.B + 1, Total: before.Total + 1})
	// The results page was opened before the vote: it must have moved by itself.
	waitFor(t, l.patience, "the open results page shows the new total", func(context.Context) error {
		shown, err := text(results, "#total")
		if err != nil {
			return err
		}
		digits := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, shown)
		if want := strconv.Itoa(before.Total + 1); digits != want {
			return fmt.Errorf("it shows %q, want %s", shown, want)
		}
		return nil
	})
}
