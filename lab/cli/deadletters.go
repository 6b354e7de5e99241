package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/votes/datastore"
	"github.com/swarmlab/swarmlab/lab/votingapp/queue"
)

const maxLetters = 10_000

func (a *App) deadLetters() *cobra.Command {
	var asJSON bool
	limit := 10
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "List what the workers put aside because it can never be counted, and why",
		Long: `Lists the dead letters of each frontend's queue, the latest first: entries of another version, garbage, votes that the
database will never take. They stay in the stream votes:dead of the frontend's Redis until lab reset. A dead letter that was an
acknowledged vote is a lost one, which lab verify tells; what somebody put into a queue manually is none.`,
		Example: `  lab dead-letters
  lab dead-letters --limit 1000 --json | jq -r '.queues[].latest[].text'`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > maxLetters {
				return usageError{fmt.Errorf("--limit %d: give a number from 1 to %d", limit, maxLetters)}
			}
			lab, f, done, err := a.fleet(fleet.Operate)
			if err != nil {
				return err
			}
			defer done()
			c, err := datastore.Open(lab, f)
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // only read
			queues := c.DeadLetters(cmd.Context(), limit)
			if asJSON {
				err = a.printJSON(newDeadQueues(queues))
			} else {
				printDeadLetters(a.out, queues)
			}
			for _, q := range queues {
				if q.Err != nil {
					fmt.Fprintf(a.err, "lab: %v\n", q.Err)
					err = errReported
				}
			}
			return err
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "the latest so many of each queue")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// deadQueues is what `lab dead-letters --json` prints.
type deadQueues struct {
	Queues []deadQueue `json:"queues"`
}

type deadQueue struct {
	Node string `json:"node"`
	// Total is null where the queue cannot be read; Error says why.
	Total  *int64             `json:"total"`
	Latest []queue.DeadLetter `json:"latest"`
	Error  string             `json:"error,omitempty"`
}

func newDeadQueues(queues []datastore.DeadLetters) deadQueues {
	all := deadQueues{Queues: []deadQueue{}}
	for _, q := range queues {
		one := deadQueue{Node: q.Node, Total: &q.Total, Latest: append([]queue.DeadLetter{}, q.Latest...)}
		if q.Err != nil {
			one.Total, one.Error = nil, q.Err.Error()
		}
		all.Queues = append(all.Queues, one)
	}
	return all
}

// shownText is how much of a text is shown: 80 columns with its indent.
const shownText = 76

func printDeadLetters(c *console.Console, queues []datastore.DeadLetters) {
	p := grouped()
	for i, q := range queues {
		if i > 0 {
			fmt.Fprintln(c)
		}
		switch {
		case q.Err != nil:
			fmt.Fprintf(c, "%s  %s\n", c.Bold(q.Node), c.Bad("cannot be read"))
			continue
		case q.Total == 0:
			fmt.Fprintf(c, "%s  no dead letters\n", c.Bold(q.Node))
			continue
		}
		total := p.Sprintf("%d dead %s", q.Total, plural(int(q.Total), "letter"))
		if n := len(q.Latest); int64(n) < q.Total {
			total += p.Sprintf(", the latest %d", n)
		}
		fmt.Fprintf(c, "%s  %s\n", c.Bold(q.Node), total)
		for _, l := range q.Latest {
			fmt.Fprintf(c, "  %s  %s put aside by %s\n", l.At.Local().Format(time.DateTime), l.Kind, quoted(c, l.Consumer))
			fmt.Fprintf(c, "    %s\n    %s\n", quoted(c, l.Reason), c.Dim(quoted(c, l.Text)))
		}
	}
}

// quoted shows a text that anybody may have put into a queue so that one sees what it is made of, and in one line.
func quoted(c *console.Console, text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }) {
		text = strconv.QuoteToGraphic(text)
	}
	return c.Fit(text, shownText)
}
