// Role-worker is the plugin for nodes of role worker.
package main

import (
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/roles/worker"
)

func main() { role.Serve(worker.New()) }
