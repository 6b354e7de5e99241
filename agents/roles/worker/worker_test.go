package worker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/swarmlab/swarmlab/agents/role/roletest"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	roletest.Golden(t, "worker01", roletest.Plan(t, New(), roletest.Facts("worker", 1)))
	plan := roletest.Plan(t, New(), roletest.FactsOf("worker", 3, 4, 3))
	env := plan.GetContainers()[0].GetEnv()
	if env["WORKER_NUMBER"] != "03" || env["FROM_REDIS_HOST"] != "1" || env["TO_REDIS_HOST"] != "4" {
		t.Errorf("the third worker of a lab with four frontends: %v", env)
	}
	plan = roletest.Plan(t, New(), roletest.FactsOf("worker", 1, 0, 1))
	if env := plan.GetContainers()[0].GetEnv(); len(env) != 1 {
		t.Errorf("without frontends: %v", env)
	}
}

const page = `# HELP votes_counted_total Entries counted and acknowledged.
# TYPE votes_counted_total counter
votes_counted_total{queue="redis01:6379"} 12
votes_counted_total{queue="redis02:6379"} 1e+03
votes_dead_lettered_total{queue="redis01:6379"} 1
votes_dead_lettered_total{queue="redis02:6379"} 0
votes_read_total{queue="redis01:6379"} 77
`

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		metrics, sick string
		healthy       bool
		message       string
		measures      map[string]float64
	}{
		"works":      {page, "", true, "1012 since it started", map[string]float64{"votes_merged": 1012, "votes_dead_lettered": 1}},
		"sick":       {page, "postgres is away", false, "no votes are moved: postgres is away", map[string]float64{"votes_merged": 1012, "votes_dead_lettered": 1}},
		"no metrics": {"", "", true, "moves votes to the store", map[string]float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/metrics":
					fmt.Fprint(w, c.metrics)
				case c.sick != "":
					http.Error(w, c.sick, http.StatusServiceUnavailable)
				}
			}))
			defer srv.Close()
			r := New()
			r.probe.Within = roletest.Patience
			r.address = srv.Listener.Addr().String()
			health, err := r.Check(t.Context(), nil, t.TempDir())
			if err != nil || health.GetHealthy() != c.healthy || !strings.Contains(health.GetMessage(), c.message) {
				t.Errorf("want healthy=%v, %q; got %v, %v", c.healthy, c.message, health, err)
			}
			if !reflect.DeepEqual(health.GetMeasures(), c.measures) {
				t.Errorf("measures %v", health.GetMeasures())
			}
		})
	}
	r := New()
	r.probe.Within = roletest.Patience
	r.address = roletest.FreePort(t)
	health, err := r.Check(t.Context(), nil, t.TempDir())
	if err != nil || health.GetHealthy() || !strings.Contains(health.GetMessage(), "nothing listens on") {
		t.Errorf("without a worker: %v, %v", health, err)
	}
}

func FuzzMeasures(f *testing.F) {
	f.Add(page)
	f.Add("votes_counted_total NaN\nvotes_counted_total -1\nvotes_counted_total{ 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name, value := range measures(text) {
			if !(value >= 0) {
				t.Errorf("%s is %v", name, value)
			}
		}
	})
}
