package power

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/docker"
)

// freezers is where cgroups of version 1 are frozen and thawed; with version 2 there is no such folder.
const freezers = "/sys/fs/cgroup/freezer"

const (
	frozen = "FROZEN"
	thawed = "THAWED"
)

// thawScript does on a node what thawBelow does from outside.
const thawScript = `[ ! -d ` + freezers + ` ] ||
find ` + freezers + ` -mindepth 2 -name freezer.state -exec sh -c 'for f; do echo ` + thawed + ` >"$f"; done' sh {} +`

// thawTimeout bounds that on a node that hangs.
const thawTimeout = 30 * time.Second

// ThawWithin lets everything go on that is frozen within a node's container, as a paused container is, so that the node can be killed. With
// cgroup v1 a frozen process does not die: the kernel waits for it, and Docker gives up ("did not receive an exit event") on a node that is
// neither alive nor dead from then on. With cgroup v2 SIGKILL reaches it.
func ThawWithin(ctx context.Context, container string) error {
	there, err := thawBelow(freezers, container)
	if there && err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, thawTimeout)
	defer cancel()
	var engine docker.Engine
	if version, unknown := engine.CgroupVersion(ctx); unknown == nil && version == "2" {
		return nil
	}
	// Only root may do so from outside, and where Docker runs on another machine, as Docker Desktop does, nobody. The node may do so itself.
	return errors.Join(err, engine.Exec(ctx, container, "sh", "-c", thawScript))
}

// thawBelow thaws every cgroup within that of a container, wherever Docker's cgroup driver has put that. there: it was found.
func thawBelow(root, container string) (there bool, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile, or was never there
		}
		if err != nil {
			return err
		}
		_, within, ok := strings.Cut(path, container)
		if !ok || entry.IsDir() || entry.Name() != "freezer.state" {
			return nil
		}
		there = true
		// The container's own is Docker's business.
		if _, below, _ := strings.Cut(within, "/"); !strings.Contains(below, "/") {
			return nil
		}
		state, err := os.ReadFile(path)
		if err == nil && string(bytes.TrimSpace(state)) == frozen {
			err = os.WriteFile(path, []byte(thawed), 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("thaw what is frozen on the node: %w", err)
		}
		return nil
	})
	return there, err
}
