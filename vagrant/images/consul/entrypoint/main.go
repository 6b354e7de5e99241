// Command entrypoint starts Consul as the stock image does: `agent` gets the image's data and configuration folders, other
// subcommands run as they are given. It exists because the image holds nothing else that could do it, no shell either.
package main

import (
	"fmt"
	"os"
	"slices"
	"syscall"
)

const consul = "/bin/consul"

func main() {
	if err := syscall.Exec(consul, command(os.Args[1:]), os.Environ()); err != nil {
		fmt.Fprintf(os.Stderr, "start %s: %v\n", consul, err)
		os.Exit(1)
	}
}

// command returns Consul's argument vector. The image's folders come first: Consul takes the last -data-dir it is given.
func command(args []string) []string {
	argv := []string{"consul"}
	if len(args) > 0 && args[0] == "consul" {
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "agent" && !slices.Contains(args, "-dev") {
		argv = append(argv, "agent", "-data-dir=/consul/data", "-config-dir=/consul/config")
		args = args[1:]
	}
	return append(argv, args...)
}
