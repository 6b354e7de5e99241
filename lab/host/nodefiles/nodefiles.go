// Package nodefiles lays out below .lab/nodes/NODE what each node is given, next to the keys that pki puts there: the agent
// and the plugin of its role, the application and the stock images that its role runs, and the provisioning script.
//
//	bin/        labagent, role-ROLE
//	app/        what an image of the voting app is built from, a folder for each
//	bundle/     stock images, a tar for each
//	provision/  vagrant/provision
//
// The whole folder is /opt/swarmlab on the node: mounted into a container, copied to a virtual machine. The files are
// hard links, so that six nodes take no more room on the host than one; copies where the file system has no links, and of what is
// not readable for everybody: a learner on the node may look at all of it, and the images that they build from it run as other users.
// Whatever the umask was, folders and programs have mode 0755 there, other files 0644.
//
// The package knows which role needs what, and where the build and the bundle leave it. It starts and hashes nothing.
package nodefiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// needs is what a role runs besides its agent: folders of the voting app, and images of the bundle.
type needs struct{ apps, images []string }

// roles says it for the built-in roles; a test holds it to their plans (agents/roles). A role of one's own may run
// anything, so it is given everything.
func roles() map[string]needs {
	return map[string]needs{
		topology.RoleManager:   {images: []string{"consul"}},
		topology.RoleInterlock: {images: []string{"haproxy"}},
		topology.RoleFrontend:  {apps: []string{contract.VoteApp}, images: []string{"redis"}},
		topology.RoleWorker:    {apps: []string{contract.WorkerApp}},
		topology.RoleStore:     {apps: []string{contract.ResultsApp}, images: []string{"postgres"}},
	}
}

func of(role string) needs {
	table := roles()
	if n, ok := table[role]; ok {
		return n
	}
	var all needs
	for _, n := range table {
		all.apps, all.images = append(all.apps, n.apps...), append(all.images, n.images...)
	}
	return all
}

// built lists what `make build` makes for a role, as paths below the platform's folders: bin/labagent.
func built(role string) []string {
	files := []string{"bin/labagent", "bin/role-" + role}
	for _, app := range of(role).apps {
		files = append(files, "app/"+app+"/"+app, "app/"+app+"/Dockerfile")
	}
	return files
}

// source is where a file of a node's folder comes from: bin/labagent lies in .lab/bin/linux-amd64.
func source(lab *settings.Lab, file string) string {
	kind, rest, _ := strings.Cut(file, "/")
	return lab.Path(kind, lab.Platform(), filepath.FromSlash(rest))
}

// Unbuilt returns what `make build` has not built yet of what the lab's nodes need, as paths within the clone.
func Unbuilt(lab *settings.Lab) []string {
	var missing []string
	for _, n := range lab.Topology.Nodes {
		for _, file := range built(n.Role) {
			path := source(lab, file)
			if _, err := os.Stat(path); err == nil {
				continue
			}
			if short, err := filepath.Rel(lab.Dir, path); err == nil && !slices.Contains(missing, short) {
				missing = append(missing, short)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// Lay brings the folders of all nodes up to date and removes from them what a node is no longer given. What is there
// already is left alone. It fails when something is not built or not in the bundle.
func Lay(lab *settings.Lab) error {
	script, err := provision(lab)
	if err != nil {
		return err
	}
	for _, n := range lab.Topology.Nodes {
		files := map[string]string{}
		for name, from := range script {
			files[name] = from
		}
		for _, name := range built(n.Role) {
			files[name] = source(lab, name)
		}
		for _, image := range of(n.Role).images {
			name := "bundle/" + image + ".tar"
			files[name] = source(lab, name)
		}
		if err := lay(lab.NodeDir(n.Name), files); err != nil {
			return fmt.Errorf("lay out what node %s is given: %w", n.Name, err)
		}
	}
	return nil
}

// provision lists the files of the provisioning script, by their names in a node's folder.
func provision(lab *settings.Lab) (map[string]string, error) {
	root := filepath.Join(lab.Dir, "vagrant")
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(root, "provision"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(root, path)
		files[filepath.ToSlash(name)] = path
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the provisioning script: %w", err)
	}
	return files, nil
}

// lay makes dir hold exactly the given files, by their slashed names, in the folders that are the package's.
func lay(dir string, files map[string]string) error {
	// What is secret has closed folders of its own. On the host .lab is closed.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for name, from := range files {
		if err := folders(dir, filepath.Dir(filepath.FromSlash(name))); err != nil {
			return err
		}
		if err := place(from, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "agent.yaml", "pki", "secrets": // pki's
		case "bin", "app", "bundle", "provision":
			err = tidy(dir, e.Name(), files)
		default: // left half-written by a run that was killed
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folders makes the folder within dir, and those on the way to it.
func folders(dir, folder string) error {
	path := dir
	for part := range strings.SplitSeq(folder, string(filepath.Separator)) {
		path = filepath.Join(path, part)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Chmod(path, 0o755); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

// tidy removes the files of a folder that are not in the list, and the folders that are empty then.
func tidy(dir, folder string, files map[string]string) error {
	root := filepath.Join(dir, folder)
	var folders []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			folders = append(folders, path)
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if _, wanted := files[filepath.ToSlash(name)]; wanted {
			return nil
		}
		return os.Remove(path)
	})
	if err != nil {
		return err
	}
	slices.Reverse(folders)
	for _, f := range folders {
		entries, err := os.ReadDir(f)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// place makes to the same file as from, or one like it, whole or not at all.
func place(from, to string) error {
	want, err := os.Stat(from)
	if err != nil {
		return err
	}
	// A copy has the time of what it was copied from.
	if have, err := os.Stat(to); err == nil && have.Mode().Perm() == mode(want) && (os.SameFile(want, have) || alike(want, have)) {
		return nil
	}
	tmp := to + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A link has the mode of the file itself, which may be the clone's own.
	if want.Mode().Perm() != mode(want) || os.Link(from, tmp) != nil {
		if err := duplicate(from, tmp, want); err != nil {
			return err
		}
	}
	return os.Rename(tmp, to)
}

// mode is the one that a file has on the node. Windows has no such modes.
func mode(file fs.FileInfo) fs.FileMode {
	if runtime.GOOS == "windows" {
		return file.Mode().Perm()
	}
	if file.Mode().Perm()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

func alike(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func duplicate(from, to string, like fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode(like))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := os.Chmod(to, mode(like)); err != nil { // whatever the umask is
		return err
	}
	return os.Chtimes(to, like.ModTime(), like.ModTime())
}
