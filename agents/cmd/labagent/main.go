// Command labagent is the agent of one node of the lab; package node says what it does. It runs under systemd as root.
//
//	labagent run           the agent, until SIGTERM
//	labagent await-quiet   waits until the engine may start (see package rejoin); docker.service runs it first
//	labagent reap          ends faults that the agent should have ended, and has the agent started anew, until there are no faults;
//	                       systemd runs it as long as there are
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/fault"
	"github.com/swarmlab/swarmlab/agents/node"
	"github.com/swarmlab/swarmlab/agents/rejoin"
	"github.com/swarmlab/swarmlab/agents/role"
	"github.com/swarmlab/swarmlab/agents/server"
)

const (
	configPath   = "/etc/swarmlab/agent.yaml"
	engineSocket = "/var/run/docker.sock"
	agentUnit    = "labagent.service"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "labagent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	paths := node.DefaultPaths()
	switch {
	case len(args) == 1 && args[0] == "run":
		return agent(ctx, paths)
	case len(args) == 1 && args[0] == "await-quiet":
		return rejoin.Await(ctx, paths.State)
	case len(args) == 1 && args[0] == "reap":
		return reap(ctx, paths)
	}
	return errors.New("usage: labagent run | labagent await-quiet | labagent reap")
}

func agent(ctx context.Context, paths node.Paths) error {
	// Six agents share a laptop: give memory back early rather than run the collector rarely.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(48 << 20)
	log := journal()
	config, err := node.ReadConfig(configPath)
	if err != nil {
		return err
	}
	identity, err := server.LoadIdentity(paths.PKI)
	if err != nil {
		return err
	}
	build, err := version()
	if err != nil {
		return err
	}
	docker, err := engine.Dial(engineSocket)
	if err != nil {
		return err
	}
	defer func() { _ = docker.Close() }()
	//nolint:contextcheck // the plugin lives until Close, which comes after the last that the agent wants of it
	plugin := role.Supervise(role.Config{Name: config.Self.GetRole(), Logger: log})
	defer plugin.Close()
	catalogue, err := node.NewDiscovery(config, paths, log)
	if err != nil {
		return err
	}
	n, err := node.New(node.Deps{
		Config: config, Paths: paths, Engine: docker, Role: plugin, Discovery: catalogue, Identity: identity, Log: log,
		Version: build,
		Host:    system(),
		Means:   means(paths),
	})
	if err != nil {
		return err
	}
	return n.Run(ctx)
}

func system() node.Systemd {
	return node.Systemd{EngineUnit: "docker.service", AgentUnit: agentUnit}
}

// means are how faults are done here. A container has neither a clock nor a disk of its own.
func means(paths node.Paths) fault.OS {
	m := fault.OS{
		Units: system(), Filter: fault.Nft{}, Links: fault.Netns{}, Disk: fault.HostDisk{Shared: node.InContainer(), Node: paths.State},
	}
	if !node.InContainer() {
		m.Clock = fault.SystemClock{
			Units: system(), Chrony: "chrony.service",
			Synchronised: func(ctx context.Context) bool { return system().Clock(ctx).Tracking.Source != "" },
		}
	}
	return m
}

// journal logs to journald, which adds the time and the unit.
func journal() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// reapEvery is how often it is looked whether the agent does what it should.
const reapEvery = 5 * time.Second

// reap does what the agent did not do, and starts it anew.
func reap(ctx context.Context, paths node.Paths) error {
	log := journal()
	docker, err := engine.Dial(engineSocket)
	if err != nil {
		return err
	}
	defer func() { _ = docker.Close() }()
	for {
		abandoned, all, err := node.Reap(ctx, paths, docker, means(paths), log)
		if abandoned > 0 {
			err = errors.Join(err, system().Restart(ctx, agentUnit))
		}
		if err != nil {
			log.Error("reap", "error", err)
		} else if all == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reapEvery):
		}
	}
}

// version tells one build of the agent from another: its own hash. A commit that does not change the agent does not
// change it.
func version() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find out the agent's own version: %w", err)
	}
	self, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("find out the agent's own version: %w", err)
	}
	defer func() { _ = self.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, self); err != nil {
		return "", fmt.Errorf("find out the agent's own version: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6]), nil
}
