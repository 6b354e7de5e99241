package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/swarmlab/swarmlab/lab/drill/journal"
	"github.com/swarmlab/swarmlab/lab/drill/report"
	"github.com/swarmlab/swarmlab/lab/drill/report/reporttest"
)

// render makes the page and parses it.
func render(t *testing.T, j *journal.Journal) (string, *html.Node) {
	t.Helper()
	var page bytes.Buffer
	if err := report.HTML(&page, j); err != nil {
		t.Fatal(err)
	}
	parsed, err := html.Parse(bytes.NewReader(page.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return page.String(), parsed
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text as a reader sees it: what stands in a box of its own is a word of its own.
func text(n *html.Node) string {
	var all strings.Builder
	for d := range n.Descendants() {
		switch {
		case d.Type == html.TextNode:
			all.WriteString(d.Data)
		case !slices.Contains([]string{"code", "strong", "span", "a"}, d.Data):
			all.WriteString(" ")
		}
	}
	return strings.Join(strings.Fields(all.String()), " ")
}

// elements of a name; all with "".
func elements(n *html.Node, name string) []*html.Node {
	var all []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && (name == "" || d.Data == name) {
			all = append(all, d)
		}
	}
	return all
}

// section has the id; its text, or nothing if it is missing.
func section(n *html.Node, id string) string {
	for _, e := range elements(n, "") {
		if attr(e, "id") == id {
			return text(e)
		}
	}
	return ""
}

func TestPageSaysAll(t *testing.T) {
	t.Parallel()
	_, page := render(t, reporttest.Failed())
	for id, want := range map[string][]string{
		"verdict":   {"✗ Failed", "frontend01 did not leave the balancer within 2 s", "2 voters were told"},
		"story":     {"somebody stops redis01 for an upgrade"},
		"broken":    {"stop redis01 on frontend01", "Ordered 12.0 s", "In force 12.4 s", "End ordered 27.1 s", "Gone 28.3 s", "How it was seen: redis01 is exited"},
		"checks":    {"✗ no frontend01 leaves the balancer", `balancer["frontend01"] == "down"`, "within 2 s, from 12.4 s on", "not within its time", "not any more after 3.1 s", "✓ yes", "after 120 ms"},
		"plots":     {"stop redis01, 12.0 s to 28.3 s", "In the median 201 before, 200 during, 200 after", "Errors: 64/s at most", "p99: 9.02 ms to", "frontend01: 123 at most", "frontend02: 136 at most", "about 9,548 votes are acknowledged"},
		"timeline":  {"0.0 s phase steady state for 3 s", "12.0 s fault stop redis01 ordered frontend01", "13.7 s mark ejected HAProxy has taken frontend01 out"},
		"figures":   {"time with errors 1,690 ms 2,000 ms ✓ yes", "left the balancer 4,210 ms 2,000 ms ✗ no", "longest queue 121 votes – no limit"},
		"votes":     {"FAIL The promise is broken.", "acknowledged 9,803 promised to count", "lost ✗ 2 voters with an acknowledged vote and no row", "lost, for example a vote was acknowledged by frontend01 at 12.4 s", "6f1c1b0e-7a55", "double 0", "recovered 2", "porcupine 1,000 histories checked"},
		"load":      {"9,806 votes of 7,845 voters in 49.1 s: 200 acknowledged a second. 171 took more than one try.", "p99 310 ms", "highest 2.14 s", "frontend02 6,463 frontend01 3,340", "status 503 158"},
		"questions": {"How long do voters see errors? Answer Until the balancer's check fails: /healthz is asked"},
		"debrief":   {"The pair of frontend and Redis is the unit of failure."},
		"fix":       {"A second Redis for each frontend, with WAIT, would"},
		"events":    {"5 events on the nodes", "13.7 s interlock frontend01 down layer 7 check failed, status 503"},
		"again":     {"lab drill run redis-stop"},
	} {
		got := section(page, id)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s does not say %q: %s", id, w, got)
			}
		}
	}
	head := text(elements(page, "header")[0])
	for _, want := range []string{
		"Failure drill redis-stop · Redis", "Stop the Redis of a frontend", "3 of 5 checks held", "9,803 votes acknowledged", "2 voters lost", "0 voters counted twice",
		"1 March 2026, 10:30:00 UTC", "Length 1 min", "swarmlab, on docker", "ann@classroom", "v1.4.0-12-gabcdef0", "20260301-103000.250-redis-stop",
	} {
		if !strings.Contains(head, want) {
			t.Errorf("the head does not say %q: %s", want, head)
		}
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	for result, want := range map[journal.Result]string{
		journal.Passed: "✓ Passed", journal.Failed: "✗ Failed", journal.Aborted: "■ Aborted", journal.Undecided: "? Undecided", "": "… Not ended",
	} {
		j := reporttest.RedisStop()
		j.Result = result
		if _, page := render(t, j); !strings.HasPrefix(section(page, "verdict"), want) {
			t.Errorf("%q: %s", result, section(page, "verdict"))
		}
	}
}

// checkAlone wants a page that needs nothing and runs nothing.
func checkAlone(t *testing.T, page *html.Node) {
	t.Helper()
	ids := map[string]bool{}
	for _, e := range elements(page, "") {
		if slices.Contains([]string{"script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use", "foreignObject", "audio", "video"}, e.Data) {
			t.Errorf("the page has a <%s>", e.Data)
		}
		for _, a := range e.Attr {
			switch {
			case a.Key == "style", strings.HasPrefix(a.Key, "on"), a.Key == "src", a.Key == "srcset", a.Namespace != "":
				t.Errorf("<%s> has %s=%q", e.Data, a.Key, a.Val)
			case a.Key != "aria-label" && strings.Contains(a.Val, "url("):
				t.Errorf("<%s> takes %s=%q from somewhere", e.Data, a.Key, a.Val)
			case a.Key == "href" && !strings.HasPrefix(a.Val, "#"):
				t.Errorf("a link leads to %q", a.Val)
			case a.Key == "id" && ids[a.Val]:
				t.Errorf("%q is the id of two elements", a.Val)
			case a.Key == "id":
				ids[a.Val] = true
			}
		}
	}
	for _, link := range elements(page, "a") {
		if !ids[strings.TrimPrefix(attr(link, "href"), "#")] {
			t.Errorf("a link leads to %q, which is not there", attr(link, "href"))
		}
	}
	styles := elements(page, "style")
	if len(styles) != 1 {
		t.Fatalf("%d style sheets", len(styles))
	}
	for _, bad := range []string{"url(", "@import", "http"} {
		if strings.Contains(styles[0].FirstChild.Data, bad) {
			t.Errorf("the style sheet has %q", bad)
		}
	}
	sum := sha256.Sum256([]byte(styles[0].FirstChild.Data))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	if policy := attr(elements(page, "meta")[1], "content"); policy != want {
		t.Errorf("policy %q, want %q", policy, want)
	}
}

func TestPageStandsAlone(t *testing.T) {
	t.Parallel()
	source, page := render(t, reporttest.RedisStop())
	checkAlone(t, page)
	if len(source) > 200_000 {
		t.Errorf("%d bytes", len(source))
	}
	again, _ := render(t, reporttest.RedisStop())
	if again != source {
		t.Error("the same journal makes another page")
	}
}

func TestFiguresAreDescribed(t *testing.T) {
	t.Parallel()
	_, page := render(t, reporttest.RedisStop())
	figures := elements(page, "figure")
	if len(figures) != 4 {
		t.Fatalf("%d figures", len(figures))
	}
	for _, f := range figures {
		if caption := elements(f, "figcaption"); len(caption) != 1 || text(caption[0]) == "" {
			t.Errorf("%s has no caption", attr(f, "id"))
		}
		drawn := 0
		for _, svg := range elements(f, "svg") {
			if attr(svg, "role") != "img" {
				continue
			}
			drawn++
			if label := attr(svg, "aria-label"); len(label) < 40 {
				t.Errorf("%s says %q to those who do not see it", attr(f, "id"), label)
			}
			said := text(svg)
			for _, name := range []string{"fault", "recovery", "detected", "ejected", "recovered", "seconds since the run began", "60"} {
				if !strings.Contains(said, name) {
					t.Errorf("%s does not show %q: %s", attr(f, "id"), name, said)
				}
			}
		}
		if drawn != 2 {
			t.Errorf("%s is drawn %d times, not wide and narrow", attr(f, "id"), drawn)
		}
	}
}

// spoil sets every text in a value.
func spoil(v reflect.Value, evil string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			spoil(v.Elem(), evil)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				spoil(v.Field(i), evil)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i), evil)
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && v.Len() > 0 {
			v.SetMapIndex(reflect.ValueOf(evil).Convert(v.Type().Key()), v.MapIndex(v.MapKeys()[0]))
		}
	case reflect.String:
		v.SetString(evil)
	default:
	}
}

func TestHostileTexts(t *testing.T) {
	t.Parallel()
	for _, evil := range []string{
		`</style></title></svg><script>hacked=1</script>"'><img src=x onerror=hacked=1>{{.ID}}`, "a\x00b\x1b]0;\xff\ufffe\nnext", "javascript:alert(1)", "`", "- `", strings.Repeat("W", 100_000),
	} {
		j := reporttest.RedisStop()
		spoil(reflect.ValueOf(j).Elem(), evil)
		if len(evil) > 1000 {
			j.Reasons, j.Drill.Title = nil, ""
		}
		j.ID, j.Result = "20260301-093000.250-redis-stop", journal.Failed
		_, page := render(t, j)
		checkAlone(t, page)
		if strings.HasPrefix(evil, "</style>") && !strings.Contains(section(page, "broken"), evil) {
			t.Errorf("the text is not shown as it is: %s", section(page, "broken"))
		}
	}
}

// What a run that was cut off leaves, and what is beyond all measure, is drawn as well.
func TestOddJournals(t *testing.T) {
	t.Parallel()
	number := func(v float64) *float64 { return &v }
	bare := func(samples ...journal.Sample) *journal.Journal {
		return &journal.Journal{Format: journal.Format, ID: "odd", Begun: reporttest.Begun(), Samples: samples}
	}
	many := func(n int, sample func(i int) journal.Sample) *journal.Journal {
		j := bare()
		for i := range n {
			j.Samples = append(j.Samples, sample(i))
		}
		return j
	}
	crowded := reporttest.RedisStop()
	for i := range 900 {
		crowded.Annotations = append(crowded.Annotations, journal.Annotation{AtMS: int64(i) * 65, Name: fmt.Sprintf("mark with a long name %d", i)})
		crowded.Faults = append(crowded.Faults, journal.Fault{What: "kill", InjectedMS: int64(i) * 65, HealedMS: int64(i) * 65})
	}
	for i := range 5000 {
		crowded.Events = append(crowded.Events, journal.Event{AtMS: int64(i), Node: "store", Message: strings.Repeat("x", 1000)})
	}
	for name, tt := range map[string]struct {
		journal *journal.Journal
		figures int
		says    string
	}{
		"nothing":      {bare(), 0, "There are no samples to draw."},
		"one sample":   {bare(journal.Sample{AtMS: 500, Accepted: 3, P50MS: number(2), P99MS: number(2), Queued: map[string]float64{"frontend01": 1}, Counted: number(1)}), 4, "frontend01: 1 at most"},
		"at once":      {bare(journal.Sample{}, journal.Sample{}), 4, "No vote was tried."},
		"no queue":     {bare(journal.Sample{AtMS: 500}), 4, "No frontend told of its queue."},
		"no store":     {bare(journal.Sample{AtMS: 500, Accepted: 1}), 4, "the store did not tell"},
		"latency 0":    {bare(journal.Sample{AtMS: 500, P50MS: number(0), P99MS: number(0)}), 4, "p50: 0 ms to 0 ms"},
		"latency tiny": {bare(journal.Sample{AtMS: 500, P50MS: number(math.SmallestNonzeroFloat64), P99MS: number(1e15)}), 4, "p50: 0 ms"},
		"much":         {bare(journal.Sample{AtMS: 500, Accepted: 1e15, Errors: 1e15, Counted: number(1e15)}, journal.Sample{AtMS: 31 * 24 * 3600 * 1000, Accepted: 1e15}), 4, "1,000,000,000,000,000"},
		"fault only":   {&journal.Journal{Format: 1, ID: "odd", Begun: reporttest.Begun(), Faults: []journal.Fault{{What: "kill pg", InjectedMS: 100}}}, 0, "never seen to be"},
		"long":         {many(100_000, func(i int) journal.Sample { return journal.Sample{AtMS: int64(i) * 500, Accepted: float64(i % 7)} }), 4, ""},
		"full of holes": {many(50_000, func(i int) journal.Sample {
			s := journal.Sample{AtMS: int64(i) * 500}
			if i%2 == 0 {
				s.P50MS, s.P99MS, s.Counted = number(1), number(2), number(float64(i))
			}
			return s
		}), 4, "There is a gap 24999 times"},
		"frontends": {many(60, func(i int) journal.Sample {
			s := journal.Sample{AtMS: int64(i) * 500, Queued: map[string]float64{}}
			for k := range 40 {
				s.Queued[fmt.Sprintf("frontend%02d", k)] = float64(k * i)
			}
			return s
		}), 4, "35 others: 35,105 at most"},
		"crowded": {crowded, 4, "There are 4,705 more in the journal."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, page := render(t, tt.journal)
			checkAlone(t, page)
			if n := len(elements(page, "figure")); n != tt.figures {
				t.Errorf("%d figures, want %d", n, tt.figures)
			}
			if !strings.Contains(text(page), tt.says) {
				t.Errorf("it does not say %q: %s", tt.says, section(page, "plots"))
			}
			for _, bad := range []string{"NaN", "Inf"} {
				if strings.Contains(source, bad) {
					t.Errorf("it has %s", bad)
				}
			}
			if len(source) > 1_000_000 || name != "crowded" && len(source) > 600_000 {
				t.Errorf("%d bytes", len(source))
			}
		})
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	j := reporttest.RedisStop()
	j.Samples[3].Accepted = math.NaN()
	if err := report.HTML(&bytes.Buffer{}, j); err == nil || !strings.Contains(err.Error(), "redis-stop: accepted_per_s of sample 4: NaN") {
		t.Error(err)
	}
	if _, err := report.Write(t.TempDir(), j); err == nil {
		t.Error("written")
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := reporttest.RedisStop()
	for _, result := range []journal.Result{"", journal.Passed} { // It is written again when the run is over.
		j.Result = result
		path, err := report.Write(dir, j)
		if err != nil || path != filepath.Join(dir, j.ID+".html") {
			t.Fatal(path, err)
		}
	}
	page, err := os.ReadFile(report.Path(dir, j.ID))
	if err != nil || !bytes.Contains(page, []byte("<title>Passed: Stop the Redis")) {
		t.Errorf("%v: %.300s", err, page)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left over: %v, %v", entries, err)
	}
	if _, err := report.Write(filepath.Join(dir, "missing"), j); err == nil || !strings.Contains(err.Error(), "write the report on "+j.ID) {
		t.Error(err)
	}
}

// FuzzHTML: of every journal that can be read a page can be made, and one that stands alone.
func FuzzHTML(f *testing.F) {
	for _, j := range []*journal.Journal{reporttest.RedisStop(), {Format: journal.Format, ID: "a", Begun: reporttest.Begun(), Samples: []journal.Sample{{AtMS: 1}}}} {
		j.Samples = j.Samples[:min(len(j.Samples), 30)]
		text, err := json.Marshal(j)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if j, err := journal.Parse(text); err == nil {
			_, page := render(t, j)
			checkAlone(t, page)
		}
	})
}
