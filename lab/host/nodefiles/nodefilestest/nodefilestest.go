// Package nodefilestest gives a clone in a test what a build and a bundle would.
package nodefilestest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/swarmlab/swarmlab/lab/host/nodefiles"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// Make writes all that the lab's nodes are given, with the files' names as their content.
func Make(lab *settings.Lab) error {
	files := append(nodefiles.Unbuilt(lab), filepath.Join("vagrant", "provision", "provision.sh"))
	for _, image := range []string{"consul", "haproxy", "postgres", "redis"} {
		files = append(files, filepath.Join(".lab", "bundle", lab.Platform(), image+".tar"))
	}
	for _, name := range files {
		path := filepath.Join(lab.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make a supply: %w", err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			return fmt.Errorf("make a supply: %w", err)
		}
	}
	return nil
}
