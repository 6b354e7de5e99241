package power

import (
	"os"
	"path/filepath"
	"testing"
)

func TestThawBelow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		// state of each cgroup before and after.
		before, after map[string]string
		there         bool
	}{
		"cgroupfs": {
			before: map[string]string{"docker/f00": "THAWED", "docker/f00/docker/a1": "FROZEN", "docker/f00/docker/a2": "THAWED", "docker/f01/docker/a1": "FROZEN"},
			after:  map[string]string{"docker/f00": "THAWED", "docker/f00/docker/a1": "THAWED", "docker/f00/docker/a2": "THAWED", "docker/f01/docker/a1": "FROZEN"},
			there:  true,
		},
		"systemd": {
			before: map[string]string{"system.slice/docker-f00.scope": "THAWED", "system.slice/docker-f00.scope/docker/a1/x": "FROZEN"},
			after:  map[string]string{"system.slice/docker-f00.scope": "THAWED", "system.slice/docker-f00.scope/docker/a1/x": "THAWED"},
			there:  true,
		},
		"paused itself": {
			before: map[string]string{"docker/f00": "FROZEN"},
			after:  map[string]string{"docker/f00": "FROZEN"},
			there:  true,
		},
		"elsewhere": {before: map[string]string{"docker/f01/docker/a1": "FROZEN"}, after: map[string]string{"docker/f01/docker/a1": "FROZEN"}},
		"v2":        {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(t.TempDir(), "freezer")
			for group, state := range tt.before {
				if err := os.MkdirAll(filepath.Join(root, group), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, group, "freezer.state"), []byte(state+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if there, err := thawBelow(root, "f00"); there != tt.there || err != nil {
				t.Errorf("there: %v, %v", there, err)
			}
			for group, want := range tt.after {
				got, err := os.ReadFile(filepath.Join(root, group, "freezer.state"))
				if err != nil {
					t.Fatal(err)
				}
				if string(got[:len(want)]) != want {
					t.Errorf("%s is %s, want %s", group, got, want)
				}
			}
		})
	}
}
