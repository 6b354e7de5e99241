package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// number is for people: grouped, and with so many decimals that three digits stand there.
func number(v float64) string {
	decimals := 0
	switch size := math.Abs(v); {
	case v == math.Trunc(v) || size >= 100:
	case size >= 10:
		decimals = 1
	case size >= 1:
		decimals = 2
	default:
		decimals = 3
	}
	text := message.NewPrinter(language.English).Sprintf(fmt.Sprintf("%%.%df", decimals), v)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		return "0"
	}
	return text
}

func formatInteger(n int64) string { return message.NewPrinter(language.English).Sprintf("%d", n) }

// count is "1 vote", "2 votes".
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return formatInteger(int64(n)) + " " + word + "s"
}

// at is a time of a run, as "12.3 s".
func at(ms int64) string { return fmt.Sprintf("%.1f s", seconds(ms)) }

// span is a length of time, as "450 ms", "2 s" or "1 min 5 s".
func span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", ms)
	case d < time.Minute:
		return number(math.Round(d.Seconds()*10)/10) + " s"
	case d < time.Hour:
		return join(fmt.Sprintf("%d min", d/time.Minute), int64(d%time.Minute/time.Second), "s")
	default:
		return join(fmt.Sprintf("%d h", d/time.Hour), int64(d%time.Hour/time.Minute), "min")
	}
}

func join(text string, rest int64, unit string) string {
	if rest == 0 {
		return text
	}
	return fmt.Sprintf("%s %d %s", text, rest, unit)
}

// latency is a time that a vote took.
func latency(ms float64) string {
	if ms >= 1000 {
		return number(ms/1000) + " s"
	}
	return number(ms) + " ms"
}

// maxText is how much is shown of a text that a node or a server made up.
const maxText = 400

func cut(text string) string {
	if runes := []rune(text); len(runes) > maxText {
		return string(runes[:maxText-1]) + "…"
	}
	return text
}

// block is a paragraph or, with items, a list.
type block struct {
	words []word
	items [][]word
}

// Words of a paragraph.
func (b block) Words() []word { return b.words }

// Items of a list.
func (b block) Items() [][]word { return b.items }

// word is a piece of text, set as code or not.
type word struct {
	Text string
	Code bool
}

// prose understands what the texts of drills are written in: paragraphs between empty lines, lists with dashes, `code`.
func prose(text string) []block {
	var blocks []block
	for _, paragraph := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		var b block
		for _, line := range strings.Split(strings.TrimSpace(paragraph), "\n") {
			line = strings.TrimSpace(line)
			item, isItem := strings.CutPrefix(line, "- ")
			switch {
			case line == "":
			case isItem:
				b.items = append(b.items, words(item))
			case len(b.items) > 0:
				last := &b.items[len(b.items)-1]
				*last = append(*last, words(" "+line)...)
			case len(b.words) > 0:
				b.words = append(b.words, words(" "+line)...)
			default:
				b.words = words(line)
			}
		}
		if len(b.words)+len(b.items) > 0 {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

func words(line string) []word {
	var all []word
	for i, text := range strings.Split(line, "`") {
		if text != "" {
			all = append(all, word{Text: text, Code: i%2 == 1})
		}
	}
	return all
}
