package drill

import "github.com/goccy/go-yaml/ast"

// maxNodes bounds what aliases make of a file: each may stand for what has aliases itself.
const maxNodes = 20_000

// expand writes out what a drill's file says once and means several times: aliases (*name) become what their anchor (&name) stands for, and merge
// keys (<<) the fields that the mapping does not have itself. The decoder does that too, but takes a field that a mapping has and one that it merges
// for the same one twice, and gives a condition that is an alias no text.
func expand(file string, body ast.Node) (ast.Node, error) {
	e := expander{file: file, anchors: map[string]ast.Node{}, sizes: map[string]int{}}
	node := e.expand(body)
	if e.err != nil {
		return nil, e.err
	}
	return node, nil
}

type expander struct {
	file    string
	anchors map[string]ast.Node
	// sizes of what anchors stand for, and size of all that there is so far, in nodes.
	sizes map[string]int
	size  int
	err   *Error
}

func (e *expander) fail(node ast.Node, format string, args ...any) ast.Node {
	if e.err == nil {
		e.err = mistake(e.file, node, format, args...)
	}
	return node
}

func (e *expander) expand(node ast.Node) ast.Node {
	if e.err != nil {
		return node
	}
	e.size++
	switch n := node.(type) {
	case *ast.AnchorNode:
		name, before := n.Name.GetToken().Value, e.size
		value := e.expand(n.Value)
		e.anchors[name], e.sizes[name] = value, e.size-before
		return value
	case *ast.AliasNode:
		return e.alias(n)
	case *ast.MappingNode:
		e.mapping(n)
	case *ast.MappingValueNode:
		if n.Key.IsMergeKey() {
			all := ast.Mapping(n.GetToken(), n.IsFlowStyle, n)
			e.mapping(all)
			return all
		}
		n.Value = e.expand(n.Value)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			n.Values[i] = e.expand(v)
		}
	case *ast.TagNode:
		n.Value = e.expand(n.Value)
	}
	return node
}

func (e *expander) alias(n *ast.AliasNode) ast.Node {
	name := n.Value.GetToken().Value
	value, ok := e.anchors[name]
	if !ok {
		return e.fail(n, "there is no anchor &%s before the alias *%s", name, name)
	}
	if e.size += e.sizes[name]; e.size > maxNodes {
		return e.fail(n, "its aliases make it larger than a drill can be")
	}
	return value
}

// mapping expands the values of a mapping, and puts the fields that it merges behind its own.
func (e *expander) mapping(n *ast.MappingNode) {
	var own, merged []*ast.MappingValueNode
	has := map[string]bool{}
	for _, v := range n.Values {
		v.Value = e.expand(v.Value)
		if v.Key.IsMergeKey() {
			merged = append(merged, e.fields(v)...)
			continue
		}
		has[v.Key.GetToken().Value] = true
		own = append(own, v)
	}
	for _, v := range merged {
		// Of several mappings that are merged the first one counts.
		if key := v.Key.GetToken().Value; !has[key] {
			has[key] = true
			own = append(own, v)
		}
	}
	n.Values = own
}

// fields are those that a merge key brings: of a mapping, or of each in a list.
func (e *expander) fields(merge *ast.MappingValueNode) []*ast.MappingValueNode {
	sources := []ast.Node{merge.Value}
	if list, ok := merge.Value.(*ast.SequenceNode); ok {
		sources = list.Values
	}
	var all []*ast.MappingValueNode
	for _, source := range sources {
		switch m := source.(type) {
		case *ast.MappingNode:
			all = append(all, m.Values...)
		case *ast.MappingValueNode:
			all = append(all, m)
		default:
			e.fail(merge.Key, "a merge key (<<) takes the alias of a mapping, or a list of them")
		}
	}
	return all
}
