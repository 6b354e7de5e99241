package role

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

// TestMain plays the test and, under the name role-NAME, the plugins that it launches: real processes, good and bad ones.
func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); name {
	case "role-good", "role-impostor":
		Serve(&good{name: "good"})
	case "role-chatty":
		Serve(&chatty{})
	case "role-panics":
		Serve(&panics{})
	case "role-dies":
		fmt.Fprintln(os.Stderr, "cannot find my configuration")
		os.Exit(3)
	case "role-garbage":
		fmt.Println("Hello, world!")
		select {}
	case "role-future":
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig:  handshake(),
			VersionedPlugins: map[int]plugin.PluginSet{7: versions(&good{name: "future"})[1]},
			GRPCServer:       plugin.DefaultGRPCServer,
		})
	case "role-stranger":
		other := handshake()
		other.MagicCookieKey = "SOME_OTHER_PLUGIN"
		plugin.Serve(&plugin.ServeConfig{HandshakeConfig: other, VersionedPlugins: versions(&good{}), GRPCServer: plugin.DefaultGRPCServer})
	default:
		goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/go-plugin.(*GRPCBroker).Run"))
	}
}

// good is a role that does as it should.
type good struct{ name string }

func (g *good) Describe(context.Context) (*Description, error) {
	return &Description{Name: g.name, Version: "1.2.3", Summary: "a role for tests"}, nil
}

func (g *good) Plan(_ context.Context, f *Facts) (*Plan, error) {
	if f.GetNode().GetName() == "" {
		return nil, fmt.Errorf("no node in the facts")
	}
	plan := &Plan{
		Containers: []*rolev1.Container{{
			Name: "on-" + f.GetNode().GetName(), Image: &rolev1.Image{Reference: "redis:8.0"},
			Stage: rolev1.Stage_STAGE_CLUSTER, Restart: rolev1.RestartPolicy_RESTART_POLICY_NO,
		}},
		Swarm: rolev1.SwarmMembership_SWARM_MEMBERSHIP_NONE,
	}
	if f.GetNode().GetName() == "n" {
		plan.Follow = []string{"No Name"}
	}
	return plan, nil
}

func (g *good) Check(ctx context.Context, _ *Facts, secretsDir string) (*Health, error) {
	if secretsDir == "wait" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &Health{Healthy: true, Message: "all is well in " + secretsDir, Measures: map[string]float64{"votes_captured": 3}}, nil
}

// chatty logs and prints.
type chatty struct{ good }

func (c *chatty) Describe(context.Context) (*Description, error) {
	slog.Warn("the queue is long", "votes_queued", 12)
	fmt.Println("printed where one should not")
	fmt.Fprintln(os.Stderr, `{"@message":1,"@level":2,"level":[]}`)
	return &Description{Name: "chatty"}, nil
}

// panics when asked for a plan.
type panics struct{ good }

func (p *panics) Describe(context.Context) (*Description, error) {
	return &Description{Name: "panics"}, nil
}

func (p *panics) Plan(context.Context, *Facts) (*Plan, error) {
	panic("a workshop's bug in " + strings.ToUpper("plan"))
}
