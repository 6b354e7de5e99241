package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/swarmlab/swarmlab/agents/common/durable"
)

// suffix ends the names of journals; the rest of the name is the run's id.
const suffix = ".json"

// maxSize bounds what is read of a journal, in bytes.
const maxSize = 64 << 20

// ErrNone says that there is no such journal.
var ErrNone = errors.New("no such journal")

// ErrEmpty says that no drill has left one yet.
var ErrEmpty = errors.New("there are no journals yet: `lab drill run ID` leaves one of each run")

// NewID names a run by its time and drill, so that names sort by age.
func NewID(begun time.Time, drill string) string {
	return begun.UTC().Format(moment) + "-" + drill
}

const (
	// moment is how an id says when; stamp is its length.
	moment = "20060102-150405.000"
	stamp  = len(moment)
)

// checkID keeps an id from leading out of the folder.
func checkID(id string) error {
	bad := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
	}
	if id == "" || len(id) > 128 || strings.HasPrefix(id, ".") || strings.ContainsFunc(id, bad) {
		return fmt.Errorf("%w: %q is not the name of one", ErrNone, id)
	}
	return nil
}

// Path is where the journal of a run lies in a folder.
func Path(dir, id string) string { return filepath.Join(dir, id+suffix) }

// Write writes a journal into a folder, which is made if need be, in place of an earlier state of it. What was there before stays whole
// until the new one is.
func Write(dir string, j *Journal) error {
	if err := checkID(j.ID); err != nil {
		return err
	}
	text, err := json.MarshalIndent(j, "", " ")
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("write the journal of %s: %w", j.ID, err)
	}
	if err := durable.Replace(Path(dir, j.ID), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the journal of %s: %w", j.ID, err)
	}
	return nil
}

// Read reads a journal; ErrNone when there is none of that id.
func Read(dir, id string) (*Journal, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	path := Path(dir, id)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrNone, id)
	case err != nil:
		return nil, fmt.Errorf("read a journal: %w", err)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("read the journal %s: it has %d bytes, more than any has", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a journal: %w", err)
	}
	j, err := Parse(text)
	if err == nil && j.ID != id {
		err = fmt.Errorf("it says that it is the journal %q", j.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal %s: %w", path, err)
	}
	return j, nil
}

// Parse reads the text of a journal, and refuses one that makes no sense.
func Parse(text []byte) (*Journal, error) {
	var j Journal
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, fmt.Errorf("it is no journal: %w", err)
	}
	switch j.Format {
	case Format:
	case 1:
		if err := j.readFormat1(text); err != nil {
			return nil, fmt.Errorf("it is no journal: %w", err)
		}
	default:
		return nil, fmt.Errorf("it has the format %d; this lab reads %d and older ones", j.Format, Format)
	}
	if err := j.Validate(); err != nil {
		return nil, err
	}
	return &j, nil
}

// readFormat1 takes what has another name since format 2, and makes the journal one of today.
func (j *Journal) readFormat1(text []byte) error {
	var old struct {
		Marks   []Annotation `json:"marks"`
		Figures []struct {
			Metric
			Aim bool `json:"aim"`
		} `json:"figures"`
	}
	if err := json.Unmarshal(text, &old); err != nil {
		return err
	}
	j.Format, j.Annotations, j.Metrics = Format, old.Marks, nil
	for _, f := range old.Figures {
		f.Target = f.Aim
		j.Metrics = append(j.Metrics, f.Metric)
	}
	return nil
}

// IDs returns the names of all journals in a folder, the oldest first; none if there is no folder.
func IDs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the journals: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), suffix); ok && checkID(id) == nil && !e.IsDir() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Find returns the one journal whose name is, or else contains, what was given; the latest if nothing was, and of a drill by its id. The error is
// ErrEmpty when a folder has none at all, ErrNone when none fits, and one that names some of them when several do.
func Find(dir, part string) (string, error) {
	ids, err := IDs(dir)
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", ErrEmpty
	case part == "":
		return ids[len(ids)-1], nil
	case slices.Contains(ids, part):
		return part, nil
	}
	for _, id := range slices.Backward(ids) {
		if len(id) > stamp && id[stamp:] == "-"+part {
			return id, nil
		}
	}
	fit := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.Contains(id, part) })
	switch len(fit) {
	case 0:
		return "", fmt.Errorf("%w: %q is no part of a name", ErrNone, part)
	case 1:
		return fit[0], nil
	}
	named, more := fit, ""
	if len(fit) > shownFit {
		named, more = fit[len(fit)-shownFit:], "…, "
	}
	return "", fmt.Errorf("%q is part of the names of %d journals: %s%s; give more of one", part, len(fit), more, strings.Join(named, ", "))
}

// shownFit is how many journals an error names, the latest.
const shownFit = 5
