// Role-frontend is the plugin for nodes of role frontend.
package main

import (
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/frontend"
)

func main() { role.Serve(frontend.New()) }
