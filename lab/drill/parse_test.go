package drill

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// good is a drill with nothing wrong; tests replace a line of it.
const good = `id: mine
title: A title
section: Redis failures
story: A story.
predict:
  - ask: Why?
    answer: Because.
load:
  rate: 100
inject:
  - fault: stop
    container: redis01
    for: 8s
  - fault: kill
    container: worker01
    at: 2s
expect:
  - see: it leaves
    when: server("frontend01") == "down"
    within: 2s
  - see: votes go on
    when: accepted > 50
    always: true
    from: 1s
recover:
  - see: it is back
    when: server("frontend01") == "up"
    within: 5s
errors_at_most: 0.5
debrief: A debrief.
fix: A fix.
`

// bomb is a text that doubles with each line.
var bomb = func() string {
	text := "debrief: A debrief.\nstory2:\n  - &a0 [x]\n"
	for i := range 20 {
		text += fmt.Sprintf("  - &a%d [*a%d, *a%d]\n", i+1, i, i)
	}
	return strings.TrimSuffix(text, "\n")
}()

// What a drill says once and means several times is written out, by anchors and merge keys; and who saved it does not matter.
func TestAnchors(t *testing.T) {
	t.Parallel()
	const shared = `id: mine
title: A title
section: Redis failures
story: &text A story.
inject:
  - &stop {fault: stop, container: redis01, for: 8s}
  - {<<: *stop, container: redis02, at: 1s}
  - {at: 2s, <<: [{for: 3s}, *stop]}
  - <<: {fault: kill, container: worker01, at: 3s}
  - {<<: {fault: kill, container: worker01, at: 4s}}
expect:
  - &up
    see: both serve
    when: &both all(["frontend01", "frontend02"], server(#) == "up")
    within: 2s
  - <<: *up
    see: votes go on
    when: let enough = 0.5 * rate; accepted > enough
recover:
  - {see: both again, when: *both, within: 5s}
debrief: *text
fix: A fix.
`
	for name, text := range map[string]string{
		"as it is": shared, "a byte order mark": "\ufeff" + shared, "from Windows": "\ufeff" + strings.ReplaceAll(shared, "\n", "\r\n"),
	} {
		d, err := Parse("mine.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		second, third := d.Inject[1], d.Inject[2]
		if second.What() != "stop redis02" || second.For != 8*time.Second || second.At != time.Second || third.What() != "stop redis01" || third.For != 3*time.Second {
			t.Errorf("%s: %+v, %+v", name, second, third)
		}
		if d.Expect[1].Within != 2*time.Second || d.Expect[1].See != "votes go on" || d.Debrief != "A story." {
			t.Errorf("%s: %+v, %q", name, d.Expect[1], d.Debrief)
		}
		for _, c := range slices.Concat(d.Expect, d.Recover) {
			if !c.When.Set() {
				t.Errorf("%s: %q has no condition", name, c.See)
			}
		}
		if d.Recover[0].When.Text != d.Expect[0].When.Text {
			t.Errorf("%s: %q", name, d.Recover[0].When.Text)
		}
	}
}

// A mistake that shows on a lab only has its place, too.
func TestPlaces(t *testing.T) {
	t.Parallel()
	d, err := Parse("mine.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Inject[1].Mistake("no %s", "such").Error(); got != "mine.yaml:14: no such" {
		t.Error(got)
	}
	s := env()
	s.Server = func(name string) (string, error) { return "", NoSuchError{"node " + name} }
	for _, check := range []func(Env) error{d.Expect[0].When.Check, func(s Env) error { _, err := d.Expect[0].When.Holds(s); return err }} {
		err := check(s)
		var missing NoSuchError
		if !errors.As(err, &missing) || err.Error() != `mine.yaml:19: "server(\"frontend01\") == \"down\"": the lab has no node frontend01` {
			t.Errorf("%v", err)
		}
	}
	// Also what is not looked at now.
	c, err := Compile(`ready || server("frontend01") == "up"`)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(s); err == nil {
		t.Error("what it names is not there")
	}
	if err := c.Check(env()); err != nil {
		t.Error(err)
	}
}

// What a condition names is looked at wherever it stands: behind what decides already, and for each element that a closure is at.
func TestCheckLooksEverywhere(t *testing.T) {
	t.Parallel()
	s := env()
	s.Server = func(name string) (string, error) {
		if name == "nope" {
			return "", NoSuchError{"node nope"}
		}
		return "up", nil
	}
	for text, missing := range map[string]bool{
		`all(["frontend01", "nope"], server(#) == "gone")`:                                      true,
		`any(["frontend01", "nope"], server(#) != "gone")`:                                      true,
		`none(["frontend01", "nope"], server(#) != "gone")`:                                     true,
		`ready || all(["frontend01", "nope"], server(#) == "gone")`:                             true,
		`ready || any(["frontend01"], ready || server("nope") == "up")`:                         true,
		`any(["frontend01"], ready || any(["frontend02", "nope"], ready || server(#) == "up"))`: true,
		`let others = ["frontend01", "nope"]; all(others, server(#) == "gone")`:                 true,
		`ready || reduce(["frontend01", "nope"], #acc + (server(#) == "up" ? 1 : 0), 0) > 0`:    true,
		`ready ? ready : server("nope") == "up"`:                                                true,
		`all(["frontend01", "frontend02"], server(#) == "gone")`:                                false,
		`count(["frontend01", "frontend02"], server(#) == "up") == 2`:                           false,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(s); (err != nil) != missing {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	d, err := Parse("mine.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if d.Length() != 8*time.Second || d.Load.Rate != 100 || d.Load.Before != defaultBefore || d.RecoverWithin != defaultRecoverWithin {
		t.Errorf("%+v, %s long", d, d.Length())
	}
	if i := d.Inject[1]; i.Target() != "worker01" || i.At != 2*time.Second {
		t.Errorf("%+v", i)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ old, new, want string }{
		"unknown field":                   {"load:\n", "lode:\n", `mine.yaml:8: unknown field "lode"`},
		"no YAML":                         {"title: A title", "title: [", "mine.yaml:"},
		"two documents":                   {"fix: A fix.\n", "fix: A fix.\n---\nid: two\n", "mine.yaml:33: the file has 2 documents"},
		"a directive":                     {"id: mine", "%YAML 1.1\n---\nid: mine", "mine.yaml:1: leave out the directive"},
		"no name of a container":          {"container: redis01", "container: \"redis01\\e]52;c;x\"", "mine.yaml:12: \"redis01\\x1b]52;c;x\" is no name of a container"},
		"id":                              {"id: mine", "id: Mine!", `mine.yaml:1: id "Mine!"`},
		"no title":                        {"title: A title\n", "", "title is missing"},
		"section":                         {"section: Redis failures", "section: Weather", `mine.yaml:3: section "Weather"`},
		"half a question":                 {"    answer: Because.\n", "", "mine.yaml:6: a question needs ask and answer"},
		"rate":                            {"rate: 100", "rate: 0", "mine.yaml:9: rate"},
		"rate that is none":               {"rate: 100", "rate: .nan", "mine.yaml:9: rate"},
		"no faults":                       {good[strings.Index(good, "inject:"):strings.Index(good, "expect:")], "", "inject is missing"},
		"no kind":                         {"  - fault: stop\n    container", "  - container", "fault is missing"},
		"no target":                       {"    container: redis01\n", "", "stop of what?"},
		"two targets":                     {"    container: redis01\n", "    container: redis01\n    node: frontend01\n", "has one target"},
		"no length":                       {"    for: 8s\n", "", "for: give a time from 1s to 10m0s, not 0s"},
		"a lease of zero":                 {"for: 8s", "for: 0s", "mine.yaml:13: for: give a time"},
		"a lease of a day":                {"for: 8s", "for: 24h", "mine.yaml:13: for: give a time"},
		"a lease of a kill":               {"    at: 2s\n", "    at: 2s\n    for: 3s\n", "mine.yaml:17: kill is over once it has happened"},
		"order":                           {"    at: 2s\n", "    at: -2s\n", "faults stand in the order"},
		"no time":                         {"for: 8s", "for: soon", "mine.yaml:13:"},
		"no words":                        {"  - see: it leaves\n    when", "  - when", "see is missing"},
		"no condition":                    {"    when: accepted > 50\n", "", "when is missing"},
		"does not compile":                {"accepted > 50", "accepted >", "mine.yaml:22:"},
		"unknown variable":                {"accepted > 50", "excepted > 50", "unknown name excepted"},
		"unknown function":                {`server("frontend01") == "down"`, `sever("frontend01") == "down"`, "unknown name sever"},
		"no yes or no":                    {"accepted > 50", "accepted + 50", "expected bool"},
		"wrong type":                      {"accepted > 50", `accepted > "x"`, "mine.yaml:22:"},
		"no within":                       {"    within: 2s\n", "", "within: by when"},
		"within what is watched":          {"within: 2s", "within: 9s", "longer than"},
		"always within":                   {"    always: true\n", "    always: true\n    within: 1s\n", "no within"},
		"after no injection":              {"    within: 2s\n", "    within: 2s\n    after: 3\n", "there is no injection 3"},
		"share":                           {"errors_at_most: 0.5", "errors_at_most: 2", "errors_at_most: give a share"},
		"a time that is a word elsewhere": {"title: A title\n", "title: soon\nwatch: soon\n", `mine.yaml:3: watch: give a time, as 5s or 1m30s, not "soon"`},
		"an empty time":                   {"within: 2s", `within: ""`, `mine.yaml:20: within: give a time, as 5s or 1m30s, not ""`},
		"a time without a unit":           {"for: 8s", "for: 8", `mine.yaml:13: for: give a time, as 5s or 1m30s, not "8"`},
		"a list for a text":               {"fix: A fix.", "fix: [A fix.]", "mine.yaml:31: fix: give a text, not a list"},
		"a text for a list":               {"    at: 2s", "    from: store\n    at: 2s", `mine.yaml:16: from: give a list, not "store"`},
		"a word for a number":             {"rate: 100", "rate: many", `mine.yaml:9: rate: give a number, not "many"`},
		"an octal number":                 {"rate: 100", "rate: 0100", `mine.yaml:9: rate: give a number in decimal digits, as 100, not "0100"`},
		"a hexadecimal number":            {"rate: 100", "rate: 0x64", `mine.yaml:9: rate: give a number in decimal digits`},
		"a number with a line in it":      {"rate: 100", "rate: 1_00", `mine.yaml:9: rate: give a number in decimal digits`},
		"a number with a sign":            {"rate: 100", "rate: +100", `mine.yaml:9: rate: give a number in decimal digits`},
		"an octal share":                  {"errors_at_most: 0.5", "errors_at_most: 01", `errors_at_most: give a number in decimal digits`},
		"a tag":                           {"rate: 100", "rate: !!float 100", "mine.yaml:9: rate: leave the tag !!float out"},
		"null":                            {"rate: 100", "rate: null", "mine.yaml:9: rate: there is no value"},
		"nothing":                         {"within: 2s", "within:", "within: there is no value"},
		"a word for yes or no":            {"always: true", "always: yes", `mine.yaml:23: always: give true or false, not "yes"`},
		"a list for a condition":          {"when: accepted > 50", "when: [accepted]", "mine.yaml:22: when: give a condition, as accepted > 50, not a list"},
		"a text for questions":            {"predict:\n  - ask: Why?\n    answer: Because.\n", "predict: Why?\n", `mine.yaml:5: predict: give a list, not "Why?"`},
		"a number for a field":            {"id: mine\n", "id: mine\n1: 2\n", `mine.yaml:2: unknown field "1"`},
		"a list":                          {"id: mine\n", "- id: mine\n", "mine.yaml:"},
		"two mistakes":                    {"for: 8s\n", "for: [8s]\n    colour: red\n", "not a list\nmine.yaml:14: unknown field \"colour\""},
		"over several lines":              {"accepted > 50", "|\n      accepted > 50 &&\n      accepted <", "mine.yaml:22: accepted > 50 && accepted <: unexpected token"},
		"not UTF-8":                       {"A title", "A t\xefitle", "mine.yaml: the file is not in UTF-8"},
		"no anchor":                       {"for: 8s", "for: *long", "mine.yaml:13: there is no anchor &long before the alias *long"},
		"an alias of itself":              {"load:\n", "load: &l\n  <<: *l\n", "mine.yaml:9: there is no anchor &l"},
		"merge of a word":                 {"  rate: 100\n", "  rate: 100\n  <<: word\n", "mine.yaml:10: a merge key (<<) takes"},
		"merge brings a mistake":          {"  - fault: kill\n", "  - <<: {colour: red}\n    fault: kill\n", `mine.yaml:14: unknown field "colour"`},
		"what is merged twice":            {"fault: kill\n", "fault: kill\n    fault: kill\n", "mine.yaml:15: "},
		"aliases without end":             {"debrief: A debrief.", bomb, "its aliases make it larger than a drill can be"},
		"closure with a mistake":          {"accepted > 50", `all(["frontend01"], sever(#) == "up")`, "mine.yaml:22: all([\"frontend01\"], sever(#) == \"up\"): unknown name sever"},
		"a condition that needs quotes":   {"    when: accepted > 50\n    always: true\n    from: 1s\n", "\nsteady:\n  - {see: x, when: all([\"a\", \"b\"], server(#) == \"up\")}\n", "needs quotes around it"},
		"steady with times":               {"recover:\n", "steady:\n  - see: x\n    when: ready\n    within: 1s\nrecover:\n", "needs no times"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good {
				t.Fatalf("%q is not in the drill", tt.old)
			}
			d, err := Parse("mine.yaml", []byte(text))
			var mistake *Error
			if err == nil || d != nil || !errors.As(err, &mistake) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A file without a drill is none, however it is empty.
func TestNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# a comment\n", "---\n", "null\n", "\ufeff"} {
		if d, err := Parse("mine.yaml", []byte(text)); d != nil || err == nil || err.Error() != "mine.yaml: there is no drill in the file" {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
}

// Marks of documents around the only one say nothing.
func TestMarks(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"---\n" + good, "---\n---\n" + good, "# one\n--- # two\n\n---\n# three\n---\n" + good, good + "---\n", good + "...\n", "\ufeff---\n" + good} {
		if d, err := Parse("mine.yaml", []byte(text)); err != nil || d.ID != "mine" {
			t.Errorf("%.20q…: %v", text, err)
		}
	}
}

// TestCatalogue: the drills that come with the kit are good, and cover what the tutorial tells of.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	all, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, d := range all {
		seen[d.Section]++
		if len(d.Predict) == 0 || len(d.Expect) == 0 {
			t.Errorf("%s asks nothing, or looks for nothing", d.ID)
		}
		if d.Length() > 30*time.Second {
			t.Errorf("%s takes %s: the whole catalogue is to fit a lesson", d.ID, d.Length())
		}
	}
	if len(all) < 20 {
		t.Errorf("there are %d drills", len(all))
	}
	for _, section := range Sections() {
		if seen[section] == 0 {
			t.Errorf("there is no drill for %q", section)
		}
	}
	if !slices.IsSortedFunc(all, func(a, b *Drill) int {
		return slices.Index(Sections(), a.Section) - slices.Index(Sections(), b.Section)
	}) {
		t.Error("the drills are not in the order of the tutorial")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(""))
	f.Add([]byte("inject: [&a {fault: stop}, {<<: *a}, {<<: [*a, {at: 1s}]}]\n? [a]\n: b\n1: 2\nload: !x {<<: *b}\n"))
	names, err := filepath.Glob("drills/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse("fuzz.yaml", text)
		if err != nil {
			if d != nil || !strings.HasPrefix(err.Error(), "fuzz.yaml:") {
				t.Errorf("%v, %v", d, err)
			}
			return
		}
		if d.Length() < 0 || d.Length() > maxLength || len(d.Inject) == 0 || !idForm.MatchString(d.ID) {
			t.Errorf("a drill that makes no sense: %+v", d)
		}
	})
}
