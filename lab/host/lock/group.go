package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/swarmlab/swarmlab/lab/host/lock/flock"
)

// memberSuffix ends the names of the files in a group's folder.
const memberSuffix = ".lock"

// Member is a place in a group: a folder in which each of those who do the same has a locked file, which says who that is. The kernel
// takes a member out with its process, however that ends; what is left of the file then says nothing any more.
type Member struct{ file *File }

// Join makes a member, who is called so.
func Join(dir, who string) (*Member, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("say who is at work: %w", err)
	}
	for n := 0; ; n++ {
		path := filepath.Join(dir, strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(n)+memberSuffix)
		file, err := Try(path)
		if errors.Is(err, ErrHeld) {
			continue // another part of this process, or one of its number in another container
		}
		if err != nil {
			return nil, err
		}
		file.Sign(who)
		return &Member{file}, nil
	}
}

// File is what is locked: a child process that inherits it stays in the group when this process is gone.
func (m *Member) File() *os.File { return m.file.file }

// Sign says anew who the member is, and which of its processes.
func (m *Member) Sign(who string, process int) { signAs(m.file.file, who, process) }

// Leave takes the member out of the group. A child that inherited the file is not taken out.
func (m *Member) Leave() { m.file.Remove() }

// Members returns who is in the group, in their own words, in the order of their files' names. What is left of those who are gone it removes.
func Members(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // nobody ever was in it
	}
	// One looks at a time: to remove a file one has to have it for a moment, and would be taken for a member.
	looking, err := os.OpenFile(filepath.Join(dir, "look"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		defer func() { _ = looking.Close() }() // which unlocks
		err = flock.Lock(looking)
	}
	alone := err == nil
	var who []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) != memberSuffix {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if Held(path) {
			who = append(who, Holder(path))
		} else if alone {
			if left, err := Try(path); err == nil {
				left.Remove()
			}
		}
	}
	return who
}
