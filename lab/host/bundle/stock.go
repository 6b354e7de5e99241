package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// debianSuite is the release that the images are made from; the nodes run the same.
const debianSuite = "trixie"

// imagesDir holds the recipes, within the clone.
const imagesDir = "vagrant/images"

// stock is an image that the lab uses as its makers publish it, and how to make one that can stand in for it.
type stock struct {
	Name string
	// Reference under which roles ask for it; the tag is pinned.
	Reference string
	Build     build
	// Config of the image when it is made here, like the stock image's.
	Config v1.Config
}

// build is how an image is made here: from Debian packages or as a Go tool.
type build struct {
	Packages []string
	GoTool   string
}

func (b build) describe() string {
	if b.GoTool != "" {
		return "compiling (minutes the first time)"
	}
	return "building from Debian " + debianSuite
}

// stockImages returns the images of the bundle, the one whose making takes longest first.
func stockImages() []stock {
	const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	entrypoint := []string{"/usr/local/bin/docker-entrypoint.sh"}
	return []stock{
		{
			Name: "consul", Reference: "hashicorp/consul:1.22.0",
			Build: build{GoTool: "github.com/hashicorp/consul"},
			Config: v1.Config{
				User: "100:1000", Env: []string{path}, WorkingDir: "/",
				Entrypoint: []string{"/bin/entrypoint"}, Cmd: []string{"agent", "-dev", "-client", "0.0.0.0"},
				ExposedPorts: ports("8300/tcp", "8301/tcp", "8301/udp", "8302/tcp", "8302/udp", "8500/tcp", "8600/tcp", "8600/udp"),
				Volumes:      ports("/consul/data"),
			},
		},
		{
			Name: "postgres", Reference: "postgres:17",
			Build: build{Packages: []string{"postgresql-17"}},
			Config: v1.Config{
				User: "999:999", Env: []string{path, "PGDATA=/var/lib/postgresql/data", "LANG=C.UTF-8"}, WorkingDir: "/",
				Entrypoint: entrypoint, Cmd: []string{"postgres"},
				// Fast shutdown: without it Postgres would wait for its clients to leave.
				StopSignal:   "SIGINT",
				ExposedPorts: ports("5432/tcp"), Volumes: ports("/var/lib/postgresql/data"),
			},
		},
		{
			Name: "redis", Reference: "redis:8.0",
			Build: build{Packages: []string{"redis-server"}},
			Config: v1.Config{
				User: "999:999", Env: []string{path}, WorkingDir: "/data",
				Entrypoint: entrypoint, Cmd: []string{"redis-server"},
				ExposedPorts: ports("6379/tcp"), Volumes: ports("/data"),
			},
		},
		{
			Name: "haproxy", Reference: "haproxy:3.0",
			Build: build{Packages: []string{"haproxy"}},
			Config: v1.Config{
				User: "99:99", Env: []string{path}, WorkingDir: "/var/lib/haproxy",
				Entrypoint: entrypoint, Cmd: []string{"haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"},
				// Let running connections end.
				StopSignal: "SIGUSR1",
			},
		},
	}
}

// ports makes the odd kind of set that image configurations use.
func ports(names ...string) map[string]struct{} {
	set := make(map[string]struct{}, len(names))
	for _, name := range names {
		set[name] = struct{}{}
	}
	return set
}

// referenceHash identifies an image from the registry.
func (s stock) referenceHash(arch string) string {
	sum := sha256.Sum256([]byte(s.Reference + " linux/" + arch))
	return hex.EncodeToString(sum[:])
}

// recipeHash identifies an image made here: by all that goes into it, apart from the state of Debian's archive.
func (s stock) recipeHash(root, arch string) (string, error) {
	config, err := json.Marshal(struct {
		Stock stock
		Suite string
		Arch  string
	}{s, debianSuite, arch})
	if err != nil {
		return "", fmt.Errorf("hash the recipe: %w", err)
	}
	hash := sha256.New()
	hash.Write(config)
	files, err := s.recipe(root)
	if err != nil {
		return "", err
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(root, imagesDir, file))
		if err != nil {
			return "", fmt.Errorf("hash the recipe: %w", err)
		}
		fmt.Fprintf(hash, "%s %d\n", file, len(data))
		hash.Write(data)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// recipe returns the files of the recipe, relative to imagesDir, in a fixed order.
func (s stock) recipe(root string) ([]string, error) {
	files := []string{"common.sh"}
	err := fs.WalkDir(os.DirFS(filepath.Join(root, imagesDir)), s.Name, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the recipe of %s in %s: %w", s.Name, filepath.Join(root, imagesDir), err)
	}
	slices.Sort(files)
	return files, nil
}
