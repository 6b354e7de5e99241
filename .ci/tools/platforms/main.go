// Command platforms type-checks the packages that people run on their own machine for the systems that this one is not: what does not compile
// there is told, tests included.
//
//	platforms GOOS[:EXCLUDED,…] …
//
// EXCLUDED is a part of the import paths of packages that are left out.
//
// It does what `go vet` would do for errors of types, in a tenth of the processor's time: that compiles all dependencies for each system first.
// Here the dependencies are read without the bodies of their functions, and nothing is compiled. CI runs the real vet as well.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/tools/go/packages"
)

func main() {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "platforms:", err)
		os.Exit(1)
	}
	found := make([][]string, len(os.Args[1:]))
	var checking sync.WaitGroup
	for i, system := range os.Args[1:] {
		checking.Go(func() { found[i] = check(dir, system) })
	}
	checking.Wait()
	failed := false
	for _, lines := range found {
		for _, line := range lines {
			fmt.Fprintln(os.Stderr, line)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check returns what is wrong with the clone's packages for one system.
func check(dir, argument string) []string {
	system, excluded, _ := strings.Cut(argument, ":")
	environ := append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	config := &packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps |
			packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedTypesSizes | packages.NeedModule,
		Dir: dir, Env: environ, Tests: true, BuildFlags: []string{"-tags=integration,pictures,long"},
		ParseFile: func(files *token.FileSet, name string, text []byte) (*ast.File, error) {
			return parse(dir, files, name, text)
		},
	}
	loaded, err := packages.Load(config, "./lab/...", "./tui/...")
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", system, err)}
	}
	var wrong []string
	if len(loaded) == 0 {
		wrong = append(wrong, system+": there are no packages")
	}
	told := map[string]bool{}
	for _, p := range loaded {
		isExcluded := func(part string) bool { return part != "" && strings.Contains(p.PkgPath, part) }
		// The main package of a test is Go's own.
		if strings.HasSuffix(p.PkgPath, ".test") || slices.ContainsFunc(strings.Split(excluded, ","), isExcluded) {
			continue
		}
		for _, e := range p.Errors {
			line := fmt.Sprintf("%s: %s: %s", system, strings.TrimPrefix(e.Pos, dir+string(filepath.Separator)), e.Msg)
			if !told[line] { // a package and the one with its tests have the same
				told[line] = true
				wrong = append(wrong, line)
			}
		}
	}
	return wrong
}

// parse leaves the bodies of functions out of what is not in dir. Its imports may be unused then, which nobody is told of.
func parse(dir string, files *token.FileSet, name string, text []byte) (*ast.File, error) {
	if strings.HasPrefix(name, dir+string(filepath.Separator)) {
		return parser.ParseFile(files, name, text, parser.AllErrors|parser.ParseComments)
	}
	file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
	if file != nil {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				f.Body = nil
			}
		}
	}
	return file, err
}
