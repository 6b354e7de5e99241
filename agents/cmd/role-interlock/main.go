// Role-interlock is the plugin for nodes of role interlock.
package main

import (
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/interlock"
)

func main() { role.Serve(interlock.New()) }
