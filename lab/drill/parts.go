package drill

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
)

// part is something that a condition looks at, which can be evaluated by itself.
type part struct {
	// shown is how it is written in the condition; source is an expression with the same value.
	shown, source string
	program       *vm.Program
}

// partsOf finds what an expression looks at: the variables of an Env, calls of its functions, and whole what has a closure (all, any, count and
// the others), since within a closure things hang on the element that it is at.
func partsOf(node ast.Node) []part {
	l := &looker{}
	l.look(node, nil)
	return l.found
}

// looks returns expressions that make all calls of an expression, whatever that decides meanwhile: all(…) ends with the first element that is not as
// it should be, these look at each.
func looks(node ast.Node) []string {
	var found []string
	switch n := node.(type) {
	case *ast.VariableDeclaratorNode:
		found = looks(n.Value)
		for _, look := range looks(n.Expr) {
			found = append(found, "let "+n.Name+" = "+n.Value.String()+"; "+look)
		}
		return found
	case *ast.CallNode:
		found = append(found, n.String())
	case *ast.BuiltinNode:
		if len(n.Arguments) != 2 {
			break
		}
		if closure, ok := n.Arguments[1].(*ast.PredicateNode); ok {
			found = looks(n.Arguments[0])
			for _, look := range looks(closure.Node) {
				found = append(found, "map("+n.Arguments[0].String()+", "+look+")")
			}
			return found
		}
	}
	for _, child := range children(node) {
		found = append(found, looks(child)...)
	}
	return found
}

// binding is a variable of the expression's own: let name = value.
type binding struct {
	name, value string
	// fleeting: it hangs on the element that a closure is at.
	fleeting bool
}

type looker struct{ found []part }

// look goes through a node within bindings, the innermost last.
func (l *looker) look(node ast.Node, bound []binding) {
	switch n := node.(type) {
	case *ast.VariableDeclaratorNode:
		l.look(n.Value, bound)
		l.look(n.Expr, append(slices.Clone(bound), binding{n.Name, n.Value.String(), fleeting(n.Value, bound)}))
		return
	case *ast.IdentifierNode:
		if !slices.ContainsFunc(bound, func(b binding) bool { return b.name == n.Value }) {
			l.add(n, bound)
		}
	case *ast.CallNode:
		for _, argument := range n.Arguments {
			l.look(argument, bound)
		}
		l.add(n, bound)
		return
	case *ast.BuiltinNode:
		if slices.ContainsFunc(n.Arguments, func(a ast.Node) bool { _, closure := a.(*ast.PredicateNode); return closure }) {
			l.add(n, bound)
		}
	}
	for _, child := range children(node) {
		l.look(child, bound)
	}
}

// add takes up a part, unless it hangs on the element that a closure is at.
func (l *looker) add(node ast.Node, bound []binding) {
	if fleeting(node, bound) {
		return
	}
	shown := node.String()
	var source strings.Builder
	if uses(node, func(name string) bool {
		return slices.ContainsFunc(bound, func(b binding) bool { return b.name == name })
	}) {
		for _, b := range bound {
			if !b.fleeting {
				source.WriteString("let " + b.name + " = " + b.value + "; ")
			}
		}
	}
	source.WriteString(shown)
	if !slices.ContainsFunc(l.found, func(p part) bool { return p.shown == shown }) {
		l.found = append(l.found, part{shown: shown, source: source.String()})
	}
}

// fleeting reports whether a node's value hangs on the element that a closure around it is at.
func fleeting(node ast.Node, bound []binding) bool {
	if pointsOut(node) {
		return true
	}
	return uses(node, func(name string) bool {
		return slices.ContainsFunc(bound, func(b binding) bool { return b.name == name && b.fleeting })
	})
}

// pointsOut reports whether a node names the element of a closure that is not within it.
func pointsOut(node ast.Node) bool {
	switch node.(type) {
	case *ast.PointerNode:
		return true
	case *ast.PredicateNode:
		return false
	}
	return slices.ContainsFunc(children(node), pointsOut)
}

// uses reports whether a node names a variable of which that is true.
func uses(node ast.Node, of func(name string) bool) bool {
	if n, ok := node.(*ast.IdentifierNode); ok {
		return of(n.Value)
	}
	return slices.ContainsFunc(children(node), func(child ast.Node) bool { return uses(child, of) })
}

// children of a node, none of them nil, in the order in which they stand there.
func children(node ast.Node) []ast.Node {
	var all []ast.Node
	switch n := node.(type) {
	case *ast.UnaryNode:
		all = []ast.Node{n.Node}
	case *ast.BinaryNode:
		all = []ast.Node{n.Left, n.Right}
	case *ast.ChainNode:
		all = []ast.Node{n.Node}
	case *ast.MemberNode:
		all = []ast.Node{n.Node, n.Property}
	case *ast.SliceNode:
		all = []ast.Node{n.Node, n.From, n.To}
	case *ast.CallNode:
		all = append([]ast.Node{n.Callee}, n.Arguments...)
	case *ast.BuiltinNode:
		all = n.Arguments
	case *ast.PredicateNode:
		all = []ast.Node{n.Node}
	case *ast.ConditionalNode:
		all = []ast.Node{n.Cond, n.Exp1, n.Exp2}
	case *ast.VariableDeclaratorNode:
		all = []ast.Node{n.Value, n.Expr}
	case *ast.SequenceNode:
		all = n.Nodes
	case *ast.ArrayNode:
		all = n.Nodes
	case *ast.MapNode:
		all = n.Pairs
	case *ast.PairNode:
		all = []ast.Node{n.Key, n.Value}
	}
	return slices.DeleteFunc(slices.Clone(all), func(child ast.Node) bool { return child == nil })
}
