// Role-store is the plugin for nodes of role store.
package main

import (
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/store"
)

func main() { role.Serve(store.New()) }
