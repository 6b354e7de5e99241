package role

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
)

// lifelineEnv names the file descriptor that reads end-of-file when the agent is gone.
const lifelineEnv = "SWARMLAB_ROLE_LIFELINE"

// Serve is the whole of a role plugin's main. It returns when the agent ends the plugin, or leaves the process when it was not launched
// by an agent or when the agent died. Log through log/slog: Serve makes its default logger write JSON to the agent. Standard
// output belongs to go-plugin; what a role prints there after launch goes to the agent's log as well.
func Serve(r Role) {
	// Bound to the real standard error: go-plugin replaces os.Stderr.
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if fd, err := strconv.ParseUint(os.Getenv(lifelineEnv), 10, 31); err == nil {
		go leaveWithAgent(os.NewFile(uintptr(fd), "lifeline"))
	}
	// systemd sends it to agent and plugin alike; the agent ends the plugin when it is done with it.
	signal.Ignore(syscall.SIGTERM)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  handshake(),
		VersionedPlugins: versions(r),
		GRPCServer:       plugin.DefaultGRPCServer,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
	})
}

// leaveWithAgent ends this process once the agent is gone: nobody else would, except for systemd on a node.
func leaveWithAgent(lifeline io.Reader) {
	_, _ = io.Copy(io.Discard, lifeline)
	os.Exit(0)
}
