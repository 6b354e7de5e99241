package bundle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/lab/host/inherit"
)

// overlay lets the recipe's files under overlay/<import path> take the place of those of the modules that the tool is made of, which are copied for
// it. (The -overlay of go build refuses files of the module cache.) It returns the file to give to go build as -modfile, or nothing where the
// recipe has no overlay. An overlay of a package or a file that the modules do not have is an error: they were upgraded, and it wants a look.
func (m *maker) overlay(ctx context.Context, recipe string) (modfile string, err error) {
	files := os.DirFS(filepath.Join(recipe, "overlay"))
	var packages []string
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !slices.Contains(packages, path.Dir(name)) {
			packages = append(packages, path.Dir(name))
		}
		return err
	})
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the overlay: %w", err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(recipe, name))
		if os.IsNotExist(err) && name == "go.sum" {
			continue
		} else if err != nil {
			return "", fmt.Errorf("read the recipe: %w", err)
		}
		if err := os.WriteFile(filepath.Join(m.work, name), data, 0o644); err != nil {
			return "", fmt.Errorf("copy the recipe: %w", err)
		}
	}
	modfile = filepath.Join(m.work, "go.mod")
	copies := map[string]string{} // by the module's path
	for _, pkg := range packages {
		module, dir, ok := "", "", false
		cmd := m.goCommand(ctx, recipe, "list", "-mod=readonly", "-find", "-f", "{{.Module.Path}}\n{{.Module.Dir}}", pkg)
		if err := run(cmd, func(stdout io.Reader) error {
			var out bytes.Buffer
			_, err := out.ReadFrom(stdout)
			module, dir, ok = strings.Cut(strings.TrimSpace(out.String()), "\n")
			return err
		}); err != nil {
			return "", err
		}
		if !ok {
			return "", fmt.Errorf("the overlay has a package %s, which no module has", pkg)
		}
		if copies[module] == "" {
			// With an @, for a module may lie below another.
			copied := filepath.Join(m.work, "modules", filepath.FromSlash(module)+"@")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				return "", fmt.Errorf("copy the module %s: %w", module, err)
			}
			if err := run(m.goCommand(ctx, recipe, "mod", "edit", "-replace="+module+"="+copied, modfile), nil); err != nil {
				return "", err
			}
			copies[module] = copied
		}
		if err := replaceFiles(files, pkg, filepath.Join(copies[module], strings.TrimPrefix(pkg, module))); err != nil {
			return "", err
		}
	}
	return modfile, nil
}

// replaceFiles lets the files of a folder take the place of those of the same names in another.
func replaceFiles(files fs.FS, from, to string) error {
	entries, err := fs.ReadDir(files, from)
	if err != nil {
		return fmt.Errorf("read the overlay: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		name := path.Join(from, e.Name())
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("read the overlay: %w", err)
		}
		// What the module cache has is read-only, and so is its copy.
		place := filepath.Join(to, e.Name())
		if err := os.Remove(place); os.IsNotExist(err) {
			return fmt.Errorf("the overlay has %s, which its module does not have", name)
		} else if err != nil {
			return fmt.Errorf("replace %s: %w", name, err)
		}
		if err := os.WriteFile(place, data, 0o644); err != nil {
			return fmt.Errorf("replace %s: %w", name, err)
		}
	}
	return nil
}

// goCommand is Go in the folder of a recipe, for the nodes' platform.
func (m *maker) goCommand(ctx context.Context, recipe string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = recipe
	cmd.Env = inherit.Environ(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+m.arch, "GOWORK=off")
	return cmd
}
