// Role-manager is the plugin for nodes of role manager.
package main

import (
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/manager"
)

func main() { role.Serve(manager.New()) }
