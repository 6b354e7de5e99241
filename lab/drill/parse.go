package drill

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/swarmlab/swarmlab/agents/api/faultkind"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

//go:embed drills/*.yaml
var files embed.FS

// Bounds of a drill.
const (
	// maxSize of a file, in bytes.
	maxSize = 64 << 10
	// maxLength bounds all faults of a drill together.
	maxLength = 30 * time.Minute
	// MaxRate is the most votes per second.
	MaxRate = 10_000
)

// Defaults.
const (
	// DefaultRate is the votes per second of a drill that says nothing.
	DefaultRate          = 150
	defaultChange        = 0.3
	defaultBefore        = 3 * time.Second
	defaultAfter         = 2 * time.Second
	defaultRecoverWithin = time.Minute
)

// byteOrderMark is what editors on Windows put before a text.
const byteOrderMark = "\ufeff"

// containerForm is how Docker names containers.
var containerForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

var idForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// Error is a mistake in a drill's file.
type Error struct {
	File string
	Line int
	Text string
	// cause is what Text says, where others may have to tell it apart.
	cause error
}

func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// mistake is one in what a node holds, with its line if the node has one.
func mistake(file string, node ast.Node, format string, args ...any) *Error {
	e := &Error{File: file, Text: fmt.Sprintf(format, args...)}
	if t := node.GetToken(); t != nil && t.Position != nil {
		e.Line = t.Position.Line
	}
	return e
}

// only returns the body of the one document that is more than nothing, and leaves the tree with no other.
func only(file string, tree *ast.File) (ast.Node, error) {
	docs := slices.DeleteFunc(slices.Clone(tree.Docs), func(d *ast.DocumentNode) bool {
		return d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType
	})
	for _, d := range docs {
		if d.Body.Type() == ast.DirectiveType {
			return nil, mistake(file, d.Body, "leave out the directive: lines that begin with %%")
		}
	}
	switch len(docs) {
	case 0:
		return nil, &Error{File: file, Text: "there is no drill in the file"}
	case 1:
		tree.Docs = docs
		return docs[0].Body, nil
	}
	return nil, mistake(file, docs[1].Body, "the file has %d documents, and a drill is one", len(docs))
}

// mark begins a document.
var mark = regexp.MustCompile(`^---\s*(#.*)?$`)

// withOneMark blanks out all but the last of the marks before the first line of content: the library takes what is behind two of them for nothing.
func withOneMark(text []byte) []byte {
	text = bytes.Clone(text)
	var last []byte
	for line := range bytes.Lines(text) {
		switch trimmed := bytes.TrimSpace(line); {
		case mark.Match(bytes.TrimRight(line, "\r\n")):
			copy(last, "   ")
			last = line
		case len(trimmed) > 0 && trimmed[0] != '#':
			return text
		}
	}
	return text
}

// Parse reads a drill. All mistakes that are found are joined, each an *Error; file is the name that they carry.
func Parse(file string, text []byte) (*Drill, error) {
	if len(text) > maxSize {
		return nil, &Error{File: file, Text: fmt.Sprintf("a drill of more than %d bytes is none", maxSize)}
	}
	if !utf8.Valid(text) {
		return nil, &Error{File: file, Text: "the file is not in UTF-8; save it in that encoding"}
	}
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	tree, err := parser.ParseBytes(withOneMark(text), 0)
	if err != nil {
		return nil, yamlError(file, err)
	}
	body, err := only(file, tree)
	if err != nil {
		return nil, err
	}
	if tree.Docs[0].Body, err = expand(file, body); err != nil {
		return nil, err
	}
	d := Drill{
		Load:          Load{Rate: DefaultRate, Change: defaultChange, Before: defaultBefore, After: defaultAfter},
		RecoverWithin: defaultRecoverWithin,
	}
	r := reader{file: file, tree: tree}
	r.renameFields(tree.Docs[0].Body)
	if r.shape(tree.Docs[0].Body); len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	if err := yaml.NodeToValue(tree.Docs[0].Body, &d, yaml.Strict()); err != nil {
		return nil, yamlError(file, err)
	}
	r.check(&d)
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	d.warnings = r.warnings
	return &d, nil
}

// yamlError takes line and words from the library's error, without its picture of the file.
func yamlError(file string, err error) *Error {
	e := &Error{File: file, Text: err.Error()}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		e.Text = syntax.GetMessage()
		if t := syntax.GetToken(); t != nil {
			e.Line = t.Position.Line
		}
	}
	e.Text, _, _ = strings.Cut(e.Text, "\n")
	if strings.Contains(e.Text, "must be specified") {
		// In {see: ..., when: ...} a comma ends the condition.
		e.Text += "; a condition with commas or brackets needs quotes around it"
	}
	return e
}

// compile makes conditions of their texts.
func (r *reader) compile(at string, c *Condition) {
	if c.Text == "" {
		return
	}
	if text := renameWords(c.Text); text != c.Text {
		r.warn(r.line(at), "%s is now called %s", oldReady, newReady)
		c.Text = text
	}
	compiled, err := Compile(c.Text)
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n")
		r.wrong(at, "%s: %s", strings.Join(strings.Fields(c.Text), " "), text)
		return
	}
	*c = compiled
	c.at = r.place(at)
}

func (r *reader) place(at string) place { return place{r.file, r.line(at)} }

// reader collects mistakes and knows on which lines they are.
type reader struct {
	file string
	tree *ast.File
	errs []error
	// warnings are about words of an earlier release.
	warnings []string
}

// wrong takes note of a mistake at a place such as "$.inject[0].for".
func (r *reader) wrong(at, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: r.file, Line: r.line(at), Text: fmt.Sprintf(format, args...)})
}

// line of a place, or of the nearest one around it.
func (r *reader) line(at string) int {
	for at != "" {
		if p, err := yaml.PathString(at); err == nil {
			if node, err := p.FilterFile(r.tree); err == nil && node.GetToken() != nil {
				return node.GetToken().Position.Line
			}
		}
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	return 0
}

func (r *reader) check(d *Drill) {
	if !idForm.MatchString(d.ID) {
		r.wrong("$.id", "id %q: give a short name of lower-case letters, digits and dashes", d.ID)
	}
	for _, field := range []struct{ name, text string }{{"title", d.Title}, {"story", d.Story}, {"debrief", d.Debrief}, {"fix", d.Fix}} {
		if strings.TrimSpace(field.text) == "" {
			r.wrong("$."+field.name, "%s is missing", field.name)
		}
	}
	if !slices.Contains(Sections(), d.Section) {
		r.wrong("$.section", "section %q is none of the tutorial's: %s", d.Section, strings.Join(Sections(), ", "))
	}
	for i, q := range d.Predict {
		if strings.TrimSpace(q.Ask) == "" || strings.TrimSpace(q.Answer) == "" {
			r.wrong(fmt.Sprintf("$.predict[%d]", i), "a question needs ask and answer")
		}
	}
	r.load(d.Load)
	if len(d.Inject) == 0 {
		r.wrong("$.inject", "inject is missing: what does the drill break?")
	}
	for i, in := range d.Inject {
		at := fmt.Sprintf("$.inject[%d]", i)
		r.injection(at, in, i > 0 && in.At < d.Inject[i-1].At)
		d.Inject[i].at = r.place(at)
	}
	if d.Length() > maxLength {
		r.wrong("$.inject", "all faults together last %s, more than %s", d.Length(), maxLength)
	}
	if d.Watch < 0 {
		r.wrong("$.watch", "watch: %s is no time to wait", d.Watch)
	}
	for _, list := range []struct {
		name   string
		checks []Check
	}{{"steady", d.Steady}, {"expect", d.Expect}, {"recover", d.Recover}} {
		for i := range list.checks {
			at := fmt.Sprintf("$.%s[%d]", list.name, i)
			r.compile(at+".when", &list.checks[i].When)
			r.see(at, list.checks[i], len(d.Inject), list.name)
		}
	}
	for i, c := range d.Expect {
		if n := max(c.After-1, 0); n < len(d.Inject) && c.Within > d.Length()-d.Inject[n].At {
			r.wrong(fmt.Sprintf("$.expect[%d].within", i), "within: %s is longer than the drill watches: nobody would see it", c.Within)
		}
	}
	r.compile("$.stop", &d.Stop)
	if d.RecoverWithin < time.Second || d.RecoverWithin > faultkind.MaxLease {
		r.wrong("$.recover_within", "recover_within: give a time from 1s to %s, not %s", faultkind.MaxLease, d.RecoverWithin)
	}
	if share := d.ErrorsAtMost; share != nil && !(*share >= 0 && *share <= 1) {
		r.wrong("$.errors_at_most", "errors_at_most: give a share from 0 to 1, not %v", *share)
	}
}

func (r *reader) load(l Load) {
	if !(l.Rate > 0 && l.Rate <= MaxRate) {
		r.wrong("$.load.rate", "rate: give 1 to %d votes per second, not %v", MaxRate, l.Rate)
	}
	if !(l.Change >= 0 && l.Change <= 1) {
		r.wrong("$.load.change", "change: give a share from 0 to 1, not %v", l.Change)
	}
	if l.Before < time.Second || l.Before > faultkind.MaxLease {
		r.wrong("$.load.before", "before: give a time from 1s to %s, not %s", faultkind.MaxLease, l.Before)
	}
	if l.After < 0 || l.After > faultkind.MaxLease {
		r.wrong("$.load.after", "after: give a time from 0s to %s, not %s", faultkind.MaxLease, l.After)
	}
}

func (r *reader) injection(at string, i Injection, early bool) {
	switch {
	case i.Fault == "":
		r.wrong(at, "fault is missing: what is done to the target?")
	case i.Target() == "":
		r.wrong(at, "%s of what? Name a container or a node", i.Fault)
	case i.Container != "" && i.Node != "":
		r.wrong(at, "%s has one target: a container or a node", i.Fault)
	}
	if i.Container != "" && !containerForm.MatchString(i.Container) {
		r.wrong(at+".container", "%q is no name of a container", i.Container)
	}
	if i.At < 0 || early {
		r.wrong(at+".at", "at: faults stand in the order in which they happen, from 0s on")
	}
	kind, power := faultkind.Kind(i.Fault), slices.Contains(powerfault.Kinds(), powerfault.Kind(i.Fault))
	switch {
	case i.Fault == "":
	case !kind.Known() && !power:
		r.wrong(at+".fault", "there is no fault %q; lab fault --help lists them", i.Fault)
		return
	case kind.OfContainer() && i.Node != "":
		r.wrong(at+".node", "%s is of a container, and a node is named", kind)
	case !kind.OfContainer() && i.Container != "":
		r.wrong(at+".container", "%s is of a node, and a container is named", kind)
	case kind == faultkind.Partition && len(i.Peers) == 0:
		r.wrong(at, "a partition needs at least one peer: name nodes under from")
	case kind != faultkind.Partition && len(i.Peers) > 0:
		r.wrong(at+".from", "%s knows no peers", kind)
	}
	if !power {
		if err := i.Check(kind); err != nil {
			r.wrong(at, "%v", err)
		}
	}
	once := kind.Momentary()
	switch {
	case once && i.For != 0:
		r.wrong(at+".for", "%s is over once it has happened: it lasts for no time", i.Fault)
	case !once && (i.For < faultkind.MinLease || i.For > faultkind.MaxLease):
		r.wrong(at+".for", "for: give a time from %s to %s, not %s", faultkind.MinLease, faultkind.MaxLease, i.For)
	}
}

func (r *reader) see(at string, c Check, injections int, phase string) {
	if strings.TrimSpace(c.See) == "" {
		r.wrong(at, "see is missing: what is it that has to be seen, in words?")
	}
	if c.When.Text == "" {
		r.wrong(at, "when is missing: the condition by which it is seen")
	}
	switch {
	case phase == "steady" && (c.Within != 0 || c.Always || c.From != 0 || c.After != 0):
		r.wrong(at, "what is steady holds, and needs no times")
	case phase == "steady":
	case c.Always && (c.Within != 0 || c.From < 0):
		r.wrong(at, "what holds always has a from, of 0s or more, and no within")
	case !c.Always && (c.Within <= 0 || c.From != 0):
		r.wrong(at+".within", "within: by when has it to be seen? Or is it to hold always?")
	}
	if c.After < 0 || c.After > injections {
		r.wrong(at+".after", "after: there is no injection %d", c.After)
	}
}

// Catalogue returns the drills that come with the kit, in the order of the tutorial's sections, and of their ids.
func Catalogue() ([]*Drill, error) {
	names, err := fs.Glob(files, "drills/*.yaml")
	if err != nil {
		return nil, err
	}
	var all []*Drill
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		d, err := Parse(name, text)
		if err != nil {
			return nil, err
		}
		if want := path.Base(name); want != d.ID+".yaml" {
			return nil, &Error{File: name, Text: fmt.Sprintf("the drill in it calls itself %s", d.ID)}
		}
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b *Drill) int {
		return slices.Index(Sections(), a.Section) - slices.Index(Sections(), b.Section)
	})
	return all, nil
}
