package drill

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// shape finds what in a drill's file cannot be read as what it is to be: unknown fields, a word for a number, a list for a text. The decoder finds
// most of that too, but one at a time, in words of Go, and not always with the line.
func (r *reader) shape(body ast.Node) { r.value(reflect.TypeFor[Drill](), body, "the drill") }

// misshapen takes note of a mistake in what a node holds.
func (r *reader) misshapen(node ast.Node, format string, args ...any) {
	r.errs = append(r.errs, mistake(r.file, node, format, args...))
}

// value checks that a node holds a value of a type; name is that of its field.
func (r *reader) value(t reflect.Type, node ast.Node, name string) {
	if tag, ok := node.(*ast.TagNode); ok {
		r.misshapen(node, "%s: leave the tag %s out", name, tag.GetToken().Value)
		return
	}
	if node == nil || node.Type() == ast.NullType {
		r.misshapen(node, "%s: there is no value", name)
		return
	}
	_, scalar := node.(ast.ScalarNode)
	switch {
	case t.Kind() == reflect.Pointer:
		r.value(t.Elem(), node, name)
	case t == reflect.TypeFor[time.Duration]():
		text := node.GetToken().Value
		if _, err := time.ParseDuration(text); err != nil || !scalar {
			r.misshapen(node, "%s: give a time, as 5s or 1m30s, not %s", name, given(node))
		}
	case t == reflect.TypeFor[Condition]():
		if !scalar {
			r.misshapen(node, "%s: give a condition, as accepted > 50, not %s", name, given(node))
		}
	case t.Kind() == reflect.Struct:
		r.fields(t, node, name)
	case t.Kind() == reflect.Slice:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			r.misshapen(node, "%s: give a list, not %s", name, given(node))
			return
		}
		for _, v := range list.Values {
			r.value(t.Elem(), v, name)
		}
	case !scalar || !fits(t.Kind(), node.Type()):
		r.misshapen(node, "%s: give %s, not %s", name, wanted(t.Kind()), given(node))
	case isNumber(t.Kind()) && !decimal.MatchString(node.GetToken().Value):
		r.misshapen(node, "%s: give %s in decimal digits, as 100, not %s", name, wanted(t.Kind()), given(node))
	}
}

// decimal is how a number is written. YAML has octal and hexadecimal ones, too, and 0100 is one hundred for one reader and 64 for another.
var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

func isNumber(k reflect.Kind) bool {
	return k == reflect.Float64 || k == reflect.Uint64 || k == reflect.Int
}

// fields checks a mapping by the fields of a struct.
func (r *reader) fields(t reflect.Type, node ast.Node, name string) {
	entries, ok := entriesOf(node)
	if !ok {
		r.misshapen(node, "%s: give fields and their values, not %s", name, given(node))
		return
	}
	types := fieldTypes(t)
	for _, e := range entries {
		key := keyOf(e).Value
		field, ok := types[key]
		if !ok {
			r.misshapen(e.Key, "unknown field %q", key)
			continue
		}
		r.value(field, e.Value, key)
	}
}

// entriesOf are the entries of a mapping. The library has a node of its own for a mapping of one entry.
func entriesOf(node ast.Node) (entries []*ast.MappingValueNode, ok bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// keyOf is the key of an entry, also of one that begins with a question mark.
func keyOf(e *ast.MappingValueNode) *token.Token {
	if k, ok := e.Key.(*ast.MappingKeyNode); ok {
		return k.Value.GetToken()
	}
	return e.Key.GetToken()
}

// fieldTypes are the fields of a struct by their names in the file.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		tag, named := f.Tag.Lookup("yaml")
		if !named {
			tag = f.Tag.Get("json")
		}
		if name, _, _ := strings.Cut(tag, ","); f.IsExported() && name != "" {
			types[name] = f.Type
		}
	}
	return types
}

// fits reports whether a scalar can be read as a value of a kind. Any can as a text.
func fits(k reflect.Kind, node ast.NodeType) bool {
	switch k {
	case reflect.Bool:
		return node == ast.BoolType
	case reflect.Float64:
		return node == ast.IntegerType || node == ast.FloatType || node == ast.NanType || node == ast.InfinityType
	case reflect.Uint64, reflect.Int:
		return node == ast.IntegerType
	}
	return true
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.Uint64, reflect.Int:
		return "a whole number"
	}
	return "a text"
}

// given says what stands in place of what was wanted.
func given(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "fields"
	case *ast.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", node.GetToken().Value)
}
