package drill

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"
	"github.com/goccy/go-yaml/ast"
)

// What drill files called things before. They are read for one release, with a warning.
const (
	oldReady = "whole"
	newReady = "ready"
)

// newField is what a field of a check is called now, by its old name.
var newField = map[string]string{"mark": "annotation", "figure": "metric"}

// renameFields gives the fields of checks their new names.
func (r *reader) renameFields(body ast.Node) {
	sections, _ := entriesOf(body)
	for _, section := range sections {
		checks, ok := section.Value.(*ast.SequenceNode)
		if !ok || !slices.Contains([]string{"steady", "expect", "recover"}, keyOf(section).Value) {
			continue
		}
		for _, check := range checks.Values {
			fields, _ := entriesOf(check)
			for _, field := range fields {
				key, ok := field.Key.(*ast.StringNode)
				if !ok || newField[key.Value] == "" {
					continue
				}
				name := newField[key.Value]
				r.warn(key.Token.Position.Line, "%s is now called %s", key.Value, name)
				key.Value, key.Token.Value = name, name
			}
		}
	}
}

// renameWords gives an expression the words of today: the variable of a lab all of whose nodes are ready, and what node() says of one that is. What
// is no expression is left as it is.
func renameWords(text string) string {
	tokens, err := lexer.Lex(file.NewSource(text))
	if err != nil {
		return text
	}
	asksNodes := slices.ContainsFunc(tokens, func(t lexer.Token) bool { return t.Is(lexer.Identifier, "node") })
	runes := []rune(text)
	for _, t := range slices.Backward(tokens) {
		switch {
		case t.Is(lexer.Identifier, oldReady):
			runes = slices.Replace(runes, t.From, t.To, []rune(newReady)...)
		case asksNodes && t.Is(lexer.String, oldReady):
			quote := string(runes[t.From])
			runes = slices.Replace(runes, t.From, t.To, []rune(quote+newReady+quote)...)
		}
	}
	return string(runes)
}

// warn notes what is still read, and is to be written in another way.
func (r *reader) warn(line int, format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf("%s:%d: %s", r.file, line, fmt.Sprintf(format, args...)))
}
