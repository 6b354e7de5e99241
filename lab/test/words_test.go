package test

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// banned are phrases that were in what people read, and that a second-language reader has to guess at. What to write instead stands beside each.
var banned = map[string]string{
	"to be had":         "available, or the maximum is N",
	"has it that":       "says that",
	"it is not so that": "not satisfied:",
	"'s books":          "removed from the swarm",
	"off the swarm":     "removed from the swarm",
	"nobody says yet":   "cannot tell",
	"and yet not":       "but no effect was observed",
	"host will do":      "OK",
	"cannot carry":      "does not meet the requirements",
	"voters stay away":  "server down",
	"voters come":       "server up",
	"from whom?":        "at least one peer",
	"take it all away":  "destroy the lab",
	"nodes whole":       "nodes ready",
	"not whole":         "not ready",
	"stopped by hand":   "stopped manually",
	"is called so":      "no match",
}

// TestWords keeps them out of the texts of the product: the string literals of Go that is no test, the Vagrantfile's Ruby and the scripts.
func TestWords(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	for _, wing := range []string{"agents", "lab", "tui", "vagrant"} {
		err := filepath.WalkDir(filepath.Join(root, wing), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			slashed := filepath.ToSlash(path)
			if entry.IsDir() && (strings.HasSuffix(slashed, "/lab/test") || entry.Name() == "testdata") {
				return fs.SkipDir
			}
			var texts []string
			switch filepath.Ext(path) {
			case ".go":
				if strings.HasSuffix(path, "_test.go") {
					return nil
				}
				texts, err = literals(path)
			case ".rb", ".yaml", ".html":
				var text []byte
				text, err = os.ReadFile(path)
				texts = []string{string(text)}
			}
			for _, text := range texts {
				for phrase, instead := range banned {
					if strings.Contains(strings.ToLower(text), phrase) {
						t.Errorf("%s says %q; write: %s", slashed, phrase, instead)
					}
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// literals are the strings in a file of Go.
func literals(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	var s scanner.Scanner
	s.Init(files.AddFile(path, files.Base(), len(text)), text, nil, 0)
	var found []string
	for {
		_, kind, literal := s.Scan()
		if kind == token.EOF {
			return found, nil
		}
		if kind == token.STRING {
			found = append(found, literal)
		}
	}
}
