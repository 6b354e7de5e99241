// Package role is the seam between the node agent and the role of its node.
//
// A role decides which containers its node needs and whether they do their job; the agent acts. Roles are plugins:
// processes of their own that speak gRPC (hashicorp/go-plugin), so that a workshop can write one without touching the
// agent. A plugin's main is
//
//	func main() { role.Serve(myrole.Role{}) }
//
// built as role-NAME and installed in [DefaultDir] of the nodes whose role is NAME in vagrant/topology.yaml. The roles that come
// with the lab are made the same way and may do nothing that others may not.
//
// The host side is [Supervisor]. Package roletest checks a role against the rules that the agent relies on.
//
// This package knows nothing of Docker, of Consul, or of any particular role.
package role

import (
	"context"
	"time"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// The vocabulary of the protocol; agents/api/role/v1/role.proto says what each field means.
type (
	// Facts are all that a plan may depend on.
	Facts = rolev1.Facts
	// Description says what the role is.
	Description = rolev1.DescribeResponse
	// Plan is what the node should have.
	Plan = rolev1.PlanResponse
	// Health says whether the role does its job.
	Health = rolev1.CheckResponse
)

// CheckTimeout is what the agent gives a Check. An answer after that does not reach it, so that a role which knows more by then than that it
// has had no answer should give up earlier by itself.
var CheckTimeout = timescale.Scale(3 * time.Second)

// Role is what a plugin implements. Implementations must be safe for concurrent use.
type Role interface {
	// Describe says what the role is. Its name must be that of the binary without "role-". An error makes the agent launch
	// the plugin anew.
	Describe(ctx context.Context) (*Description, error)

	// Plan says what the node should have. It must be a pure function of the facts: the same facts give the same plan, with no
	// look at the clock, the network or the file system. An error says why these facts make no sense; the agent shows it to
	// people, leaves the node as it is, and asks again when a fact changes.
	Plan(ctx context.Context, facts *Facts) (*Plan, error)

	// Check says whether the role does its job, judged by its work and not by its processes. secretsDir holds the node's secrets, one
	// file each. A role that does not do its job is no error but a Health that says so and why; an error means that the role could not
	// tell. ctx ends after CheckTimeout.
	Check(ctx context.Context, facts *Facts, secretsDir string) (*Health, error)
}
