package reporttest

import (
	"time"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

// Untimed is a run whose times were not judged: frontend01 left the balancer late, more tries failed than may, and all the same it passed.
func Untimed() *journal.Journal {
	j := RedisStop()
	j.Begun = Begun().Add(2 * time.Hour)
	j.ID = journal.NewID(j.Begun, "redis-stop")
	j.Untimed = true
	j.Remarks = []string{"Times and shares of failed tries were measured in this run, and not judged."}
	for i := range j.Checks {
		if !j.Checks[i].Always {
			j.Checks[i].AllowedMS = max(10*j.Checks[i].WithinMS, 120_000)
		}
	}
	j.Checks[1].AfterMS = 4_210
	j.Metrics[0].Value = 4_210
	most, none := 1.0, 0.0
	j.Metrics = append(
		j.Metrics, journal.Metric{Name: "tries that failed", Value: 2.5, Unit: "%", Limit: &most},
		journal.Metric{Name: "votes lost", Unit: "votes", Limit: &none},
	)
	return j
}
