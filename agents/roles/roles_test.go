// Package roles_test launches the lab's own roles, and one as a workshop would write it, the way the agent does.
package roles_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/role/roletest"
	"github.com/swarmlab/swarmlab/agents/roles/frontend"
	"github.com/swarmlab/swarmlab/agents/roles/interlock"
	"github.com/swarmlab/swarmlab/agents/roles/manager"
	"github.com/swarmlab/swarmlab/agents/roles/store"
	"github.com/swarmlab/swarmlab/agents/roles/worker"
)

func roles() map[string]role.Role {
	return map[string]role.Role{
		"manager": manager.New(), "interlock": interlock.New(), "frontend": frontend.New(), "worker": worker.New(), "store": store.New(),
		"cache": cache{},
	}
}

// cache is a workshop's own role.
type cache struct{}

func (cache) Describe(context.Context) (*role.Description, error) {
	return &role.Description{Name: "cache", Version: "0.1", Summary: "a cache, for practice"}, nil
}

func (cache) Plan(context.Context, *role.Facts) (*role.Plan, error) {
	return &role.Plan{
		Containers: []*rolev1.Container{{
			Name: "cache", Image: &rolev1.Image{Reference: "redis:8.0"}, Stage: rolev1.Stage_STAGE_APPLICATION,
			Restart:  rolev1.RestartPolicy_RESTART_POLICY_UNLESS_STOPPED,
			Networks: []*rolev1.NetworkAttachment{{Network: role.Bridge}},
		}},
		Swarm: rolev1.SwarmMembership_SWARM_MEMBERSHIP_NONE,
	}, nil
}

func (cache) Check(context.Context, *role.Facts, string) (*role.Health, error) {
	return &role.Health{Healthy: true}, nil
}

// TestMain plays the test and, under the name role-NAME, the plugin.
func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "role-"); ok {
		role.Serve(roles()[name])
		return
	}
	os.Exit(m.Run())
}

func TestRolesAsPlugins(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, direct := range roles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := os.Symlink(self, filepath.Join(dir, "role-"+name)); err != nil {
				t.Fatal(err)
			}
			plugin := role.Supervise(role.Config{Name: name, Dir: dir, StartTimeout: roletest.Patience, Logger: slog.New(slog.DiscardHandler)})
			defer plugin.Close()
			roletest.Eventually(t, "the plugin runs", func() bool { return plugin.Status().Running })
			facts := roletest.Facts(name, 1)
			want := roletest.Plan(t, direct, facts)
			got, err := plugin.Plan(t.Context(), facts)
			if err != nil || !proto.Equal(want, got) {
				t.Errorf("the plan over the wire is another (%v):\n%v\n%v", err, want, got)
			}
			// Nothing runs here, so none but the last can be healthy; all must say so rather than fail.
			secrets := t.TempDir()
			for _, secret := range []string{"redis-password", "postgres-password", "stats-password", "consul-node-token"} {
				if err := os.WriteFile(filepath.Join(secrets, secret), []byte("x-secret"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			health, err := plugin.Check(t.Context(), facts, secrets)
			if err != nil || !health.GetHealthy() && health.GetMessage() == "" {
				t.Errorf("check: %v, %v", health, err)
			}
			if strings.Contains(health.GetMessage(), "x-secret") {
				t.Errorf("the message tells a secret: %v", health)
			}
		})
	}
}
