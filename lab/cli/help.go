package cli

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
)

// narrowest is how narrow a help text becomes.
const narrowest = 40

// help prints the help text of a command, as wide as the terminal, or 80 columns.
func (a *App) help(cmd *cobra.Command, _ []string) {
	width := min(max(a.out.Width(), narrowest), proseWidth)
	fmt.Fprintf(a.out, "%s\n\n%s", setText(cmp.Or(cmd.Long, cmd.Short), width), setUsage(cmd.UsageString(), width))
}

// setText sets a text: lines that begin with a word are filled up to the width, those that begin with a blank stay lines of their own.
func setText(text string, width int) string {
	var lines []string
	paragraph := ""
	end := func() {
		if paragraph != "" {
			lines = append(lines, fill(paragraph, width)...)
		}
		paragraph = ""
	}
	for line := range strings.Lines(strings.ReplaceAll(strings.Trim(text, "\n"), "\t", "    ")) {
		switch line = strings.TrimRight(line, " \n"); {
		case line == "" || strings.HasPrefix(line, " "):
			end()
			lines = append(lines, fold(line, width)...)
		default:
			paragraph += " " + line
		}
	}
	end()
	return strings.Join(lines, "\n")
}

// setUsage sets what cobra tells of a command: its use, examples, commands and flags. Of an example that is too wide the comment comes first; the
// command stays in one piece, to be copied.
func setUsage(text string, width int) string {
	var lines []string
	examples := false
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		line = strings.TrimRight(line, " \n")
		switch {
		case line == "" || !strings.HasPrefix(line, " "):
			examples = line == "Examples:" || examples && line == ""
			lines = append(lines, fill(line, width)...)
		case examples && ansi.StringWidth(line) > width:
			command, comment, _ := strings.Cut(line, "  # ")
			if comment != "" {
				lines = append(lines, fold("  # "+comment, width)...)
			}
			lines = append(lines, strings.TrimRight(command, " "))
		default:
			lines = append(lines, fold(line, width)...)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// column is what stands between the first column of a line and the second.
var column = regexp.MustCompile(`\S( {2,})\S`)

// fold makes several lines of one that is too wide: what does not fit goes below the second column where there is one, else a little to the right. A
// second column that begins far to the right would have no room: all of it goes below the first one.
func fold(line string, width int) []string {
	if ansi.StringWidth(line) <= width {
		return []string{line}
	}
	text := strings.TrimLeft(line, " ")
	indent := len(line) - len(text)
	head, hang := line[:indent], indent+2
	if at := column.FindStringSubmatchIndex(text); at != nil {
		first, second := text[:at[2]], text[at[3]:]
		if wide := indent + ansi.StringWidth(text[:at[3]]); wide <= width/2 {
			head, text, hang = line[:indent+at[3]], second, wide
		} else {
			if flag := strings.Index(line, "--"); strings.HasPrefix(first, "-") && flag >= 0 {
				hang = flag + 2 // flags have their long names in one column, whether they have short ones or not
			}
			return append(fold(line[:indent]+first, width), indented(fill(second, width-hang), hang)...)
		}
	}
	lines := fill(text, width-hang)
	return append([]string{head + lines[0]}, indented(lines[1:], hang)...)
}

// indented moves lines to the right.
func indented(lines []string, by int) []string {
	for i := range lines {
		lines[i] = strings.Repeat(" ", by) + lines[i]
	}
	return lines
}

// wrap breaks each line of a text into lines of at most width columns, between words: a flag or the name of a drill stays in one piece, to be copied.
func wrap(text string, width int) []string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, fill(line, width)...)
	}
	return lines
}

// fill breaks a text into lines of at most width columns, between words.
func fill(text string, width int) []string {
	lines := []string{""}
	for i, word := range strings.Fields(text) {
		last := &lines[len(lines)-1]
		switch {
		case i == 0:
			*last = word
		case ansi.StringWidth(*last)+1+ansi.StringWidth(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}
