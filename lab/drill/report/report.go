// Package report makes a page of a journal: what was broken, what was seen, what became of the votes, and what is to be learned from it.
//
// A report is one HTML file that can be mailed, shown on a projector, printed and kept: it needs no other file, no network and no
// script, and its policy forbids the browser all of them. It is made of the journal and nothing else; the same journal makes the
// same page.
package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"path/filepath"

	"github.com/swarmlab/swarmlab/agents/common/durable"
	"github.com/swarmlab/swarmlab/lab/drill/journal"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// Suffix ends the names of reports; what is before it is the run's id.
const Suffix = ".html"

// HTML writes the report of a run, which may still go on. The error is that of a journal that makes no sense, or of the writer.
func HTML(w io.Writer, j *journal.Journal) error {
	if err := j.Validate(); err != nil {
		return fmt.Errorf("report on %s: %w", j.ID, err)
	}
	p, err := newPage(j)
	if err != nil {
		return fmt.Errorf("report on %s: %w", j.ID, err)
	}
	parsed, err := template.New("report").Funcs(functions()).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("report on %s: %w", j.ID, err)
	}
	if err := parsed.Execute(w, p); err != nil {
		return fmt.Errorf("report on %s: %w", j.ID, err)
	}
	return nil
}

// Path is where Write puts the report of a run.
func Path(dir, id string) string { return filepath.Join(dir, id+Suffix) }

// Write puts the report of a run into a folder, in place of an earlier one.
func Write(dir string, j *journal.Journal) (path string, err error) {
	path = Path(dir, j.ID)
	var text bytes.Buffer
	if err := HTML(&text, j); err != nil {
		return "", err
	}
	if err := durable.Replace(path, text.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("write the report on %s: %w", j.ID, err)
	}
	return path, nil
}

// policy lets the browser use the page's own style, and nothing from anywhere.
func policy(css string) string {
	sum := sha256.Sum256([]byte(css))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}
