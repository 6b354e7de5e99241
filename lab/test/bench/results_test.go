//go:build bench

package bench

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
)

// TestResults measures what the results page costs when there are many votes and many viewers.
func TestResults(t *testing.T) {
	rows, asked, viewers := forSpan(600_000), forSpan(100), forSpan(200)
	votesThere := fmt.Sprintf("at %.1f million rows", float64(rows)/1e6)
	pg := testservices.StartPostgres(t)
	database := pg.Database(t)
	votes, err := store.Open(t.Context(), store.Config{
		Addr: pg.Addr, User: "postgres", Password: testservices.Password, Database: database, Conns: 1, Name: "bench",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer votes.Close()
	if _, err := votes.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	app := start(t, "results-app", "LISTEN", append([]string{"POSTGRES_ADDR=" + pg.Addr, "POSTGRES_DB=" + database}, secrets(t)...)...)

	// read asks the store itself, which is what a page waits for that finds none.
	read := func() (p99 float64) {
		var took []time.Duration
		for range asked {
			began := time.Now()
			if _, err := votes.Tally(t.Context()); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)*99/100].Seconds() * 1000
	}
	emptyPage, emptyRead := pageTime(t, app.addr, asked), read()
	pg.Exec(t, database, fmt.Sprintf(`INSERT INTO votes (voter_id, vote, vote_id, clock, frontend)
		SELECT gen_random_uuid(), CASE n %% 2 WHEN 0 THEN 'a' ELSE 'b' END, gen_random_uuid(), n, 'frontend0' || 1 + n %% 2
		FROM generate_series(1, %d) AS n`, rows))
	add := func(row Row) {
		row.Part = "results"
		report.Add(row)
	}
	add(Row{Name: "page " + votesThere + ", p99", Value: pageTime(t, app.addr, asked), Unit: "ms", Target: AtMost(5)})
	add(Row{Name: "page without rows, p99", Value: emptyPage, Unit: "ms"})
	add(Row{Name: "read of the tally " + votesThere + ", p99", Value: read(), Unit: "ms", Of: "without rows", Limit: emptyRead})

	// cost is Postgres' processor time a second with so many viewers.
	cost := func(n int) float64 {
		var all sync.WaitGroup
		defer all.Wait()
		told := make(chan struct{}, n)
		for range n {
			resp, err := http.Get("http://" + app.addr + "/api/stream")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			all.Go(func() {
				first := true
				for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
					if strings.HasPrefix(lines.Text(), "data: ") && first {
						first = false
						told <- struct{}{}
					}
				}
			})
		}
		for range n {
			select {
			case <-told:
			case <-time.After(patience):
				t.Fatal("not all viewers were told")
			}
		}
		before := cpu(t, pg.PID(t))
		time.Sleep(*span)
		return (cpu(t, pg.PID(t)) - before).Seconds() * 1000 / span.Seconds()
	}
	one := cost(1)
	add(Row{Name: fmt.Sprintf("Postgres with %d viewers", viewers), Value: cost(viewers), Unit: "ms/s", Of: "with one", Limit: one})
}
