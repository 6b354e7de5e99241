// Package owner tells whose a lab's container, volume or network is.
//
// A path says little about that: a clone is reached by links and bind mounts under several names, it is moved, and another one is put in its
// place. So a clone has an identity of its own, a number by chance in .lab/clone, which everything that is made of it is labelled with. The folder is
// labelled, too: by it is known what was made before the clone had an identity, or with one that was deleted, and whether the clone that
// something belongs to is still where it was. The Vagrantfile does the same (vagrant/owner.rb).
//
// The package reads folders and labels; it asks no engine, and removes nothing.
package owner

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Labels that everything of a lab carries.
const (
	LabelLab    = "swarmlab.lab"
	LabelFolder = "swarmlab.folder"
	LabelClone  = "swarmlab.clone"
	LabelInode  = "swarmlab.inode"
)

// Clone is a clone's folder with the identity that it has now.
type Clone struct {
	Dir string
	// ID is empty before anything was made of it.
	ID string
	// made is the folder that the clone had when its identity was written down last, inode that folder's number: it goes with a folder that is
	// moved, and a copy has another one. It is empty where it was not known, or written down by an earlier version.
	made, inode string
}

// idLength is that of an identity in hexadecimal digits.
const idLength = 16

// file is where the identity of the clone in dir stands: the number, then the folder, then its inode, a line each.
func file(dir string) string { return filepath.Join(dir, ".lab", "clone") }

// moved is a file by which somebody says that the clone in dir is one that was moved, where nothing else tells.
func moved(dir string) string { return filepath.Join(dir, ".lab", "moved") }

// Of reads the identity of the clone in dir. One that cannot be read is none.
func Of(dir string) Clone {
	c := Clone{Dir: dir}
	text, err := os.ReadFile(file(dir))
	if err != nil {
		return c
	}
	id, made, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(id) == idLength && strings.Trim(id, "0123456789abcdef") == "" {
		c.ID, c.made = id, made
		// A folder's name may have several lines.
		if i := strings.LastIndexByte(made, '\n'); i >= 0 && strings.Trim(made[i+1:], "0123456789") == "" {
			c.made, c.inode = made[:i], made[i+1:]
		}
	}
	return c
}

// here says whether what is written down of the clone is how it is now.
func (c Clone) here() bool {
	if _, err := os.Lstat(moved(c.Dir)); err == nil {
		return false
	}
	return c.ID != "" && c.made == c.Dir && c.inode == inode(c.Dir)
}

// Sign gives the clone in dir an identity, if it has none, and writes down where it is.
func Sign(dir string) (Clone, error) {
	c := Of(dir)
	if c.here() {
		return c, nil
	}
	id := c.ID
	if id == "" {
		var b [idLength / 2]byte
		_, _ = rand.Read(b[:]) // it never fails
		id = hex.EncodeToString(b[:])
	}
	if err := write(dir, id, c.ID == ""); err != nil {
		return Clone{}, fmt.Errorf("write down which clone this is: %w", err)
	}
	return Of(dir), nil
}

// Renew writes down where the clone in dir is now, if it has an identity. Until then it is not known of its copies that they are some. Call it after
// Check. Where it cannot be written, what was written before is as good as it was.
func Renew(dir string) {
	if c := Of(dir); c.ID != "" && !c.here() {
		_ = write(dir, c.ID, false)
	}
}

// write replaces the file, so that nobody reads half of it. A new identity gives way to one that somebody else wrote meanwhile.
func write(dir, id string, isNew bool) error {
	if isNew {
		if err := os.MkdirAll(filepath.Dir(file(dir)), 0o700); err != nil {
			return err
		}
	}
	// Each of several commands at once writes a file of its own.
	f, err := os.CreateTemp(filepath.Dir(file(dir)), "clone.*.new")
	if err != nil {
		return err
	}
	temporary := f.Name()
	defer func() { _ = os.Remove(temporary) }() // it has its other name by then
	_, err = f.WriteString(id + "\n" + dir + "\n" + inode(dir) + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if isNew && os.Link(temporary, file(dir)) == nil {
		return nil
	}
	// There is one: another's, which is kept, or a damaged one. Or the file system knows no links.
	if isNew && Of(dir).ID != "" {
		return nil
	}
	if err := os.Rename(temporary, file(dir)); err != nil {
		return err
	}
	// What somebody said has been heard: a copy that is made later must not say so, too.
	if err := os.Remove(moved(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// CopyError is a clone that was copied with its .lab. Whatever it did it would do to the lab of the other one.
type CopyError struct{ Dir, Original string }

func (e *CopyError) Error() string {
	return fmt.Sprintf("%s is a copy of %s, and its .lab is that clone's, whose lab it would work on: go there, or remove .lab and .vagrant here first",
		e.Dir, e.Original)
}

// UnsettledError is a clone that is neither where its identity was written down, nor the folder that it was written down in: it was moved to another
// file system, or it is a copy of a clone that was moved or deleted.
type UnsettledError struct{ Dir, Made string }

func (e *UnsettledError) Error() string {
	return fmt.Sprintf("%s has the .lab of a clone that was at %s, and may be that clone, moved to another file system, or a copy, which would work on the lab of "+
		"that clone: if it is a copy, remove .lab and .vagrant here; if the clone itself was moved, say so: `touch %s`",
		e.Dir, e.Made, Quote(moved(e.Dir)))
}

// Check finds out whether the clone in dir is a copy, a *CopyError, or may be one, a *UnsettledError.
func Check(dir string) error {
	c := Of(dir)
	switch here := inode(dir); {
	case c.ID == "" || c.made == "" || same(c.made, dir):
		return nil
	case Of(c.made).ID == c.ID:
		return &CopyError{Dir: dir, Original: c.made}
	case c.inode == "" || here == "" || c.inode == here:
		return nil
	}
	if _, err := os.Lstat(moved(dir)); err == nil {
		return nil
	}
	return &UnsettledError{Dir: dir, Made: c.made}
}

// Whose says to whom something belongs.
type Whose int

// The owners.
const (
	// Others: another clone's.
	Others Whose = iota
	// Ours: this clone's.
	Ours
	// Forsaken: made of this very folder, whose .lab was deleted since. Nothing here has the keys to it.
	Forsaken
	// Stray: the clone that made it is no longer where it was. It was deleted, or moved, and then it may still be wanted.
	Stray
)

// Mark is what the labels say of something's owner.
type Mark struct{ Lab, Folder, Clone, Inode string }

// MarkOf reads labels.
func MarkOf(labels map[string]string) Mark {
	return Mark{Lab: labels[LabelLab], Folder: labels[LabelFolder], Clone: labels[LabelClone], Inode: labels[LabelInode]}
}

// Whose tells to whom something with that mark belongs.
func (c Clone) Whose(m Mark) Whose {
	switch {
	case m.Clone != "" && m.Clone == c.ID:
		return Ours
	case m.Folder == "":
		return Others
	case same(m.Folder, c.Dir):
		switch here := inode(c.Dir); {
		case m.Clone == "": // made before clones had identities
			return Ours
		case m.Inode == "" || here == "" || m.Inode == here:
			return Forsaken
		}
		return Stray
	case gone(m.Folder):
		return Stray
	}
	// Another one stands in its place.
	if there := Of(m.Folder); m.Clone != "" && there.ID != "" && there.ID != m.Clone {
		return Stray
	}
	return Others
}

// Removal is a shell command that removes all that has a mark, by what tells it best from others.
func Removal(m Mark) string {
	label := LabelLab + "=" + m.Lab
	switch {
	case m.Clone != "":
		label = LabelClone + "=" + m.Clone
	case m.Folder != "":
		label = LabelFolder + "=" + m.Folder
	}
	return "for kind in container volume network; do docker $kind ls -q $([ $kind = container ] && echo -a) --filter " + Quote("label="+label) +
		" | xargs -r docker $kind rm $([ $kind = network ] || echo -f); done"
}

// Quote makes a word safe to paste into a shell.
func Quote(word string) string {
	plain := func(r rune) bool {
		return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || strings.ContainsRune("/._-+=:@,%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Moved reports whether the folder that something was made of no longer leads to the clone. What the engine was told by
// that path it does not find.
func (c Clone) Moved(m Mark) bool { return m.Folder != "" && !same(m.Folder, c.Dir) }

// same: both paths lead to the same folder.
func same(a, b string) bool {
	if a == b {
		return true
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// gone: nothing is there. What may not be looked at may be.
func gone(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}
