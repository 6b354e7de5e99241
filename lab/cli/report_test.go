package cli_test

import (
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/report/reporttest"
)

// journalCommand writes journals below the working directory, which is the clone.
func journalCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, run := range args {
		j := reporttest.RedisStop()
		switch run {
		case "passed":
		case "failed":
			j = reporttest.Failed()
		case "untimed":
			j = reporttest.Untimed()
		case "running":
			j.Begun = j.Begun.AddDate(0, 0, 1)
			j.ID, j.Drill.ID = journal.NewID(j.Begun, "worker-kill"), "worker-kill"
			j.Result, j.LengthMS, j.Verdict, j.Load, j.Metrics = "", 0, nil, nil, nil
			j.Faults[0].HealedMS = 0
			j.Samples = j.Samples[:40]
		case "foreign": // What others wrote may be meant for the terminal.
			j.ID, j.Drill.Title, j.By = "foreign", "\x1b]0;owned\a\nnext", "\x1b[31mred"
			j.Reasons = []string{"\x1b[2J"}
			j.Checks[0].See, j.Checks[0].Held, j.Checks[0].Saw = "\x1b[1m", false, "\x1b[5m"
			j.Metrics[0].Name, j.Metrics[0].Unit = "\x1b[7m", "\x1b"
			j.Faults[0].What = "\x1b[9m"
		default:
			ts.Fatalf("journal: unknown run %s", run)
		}
		ts.Check(journal.Write(filepath.Join(ts.Getenv("CLONE"), ".lab", "journal"), j))
	}
}
