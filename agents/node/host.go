package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/coreos/go-systemd/v22/dbus"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/agents/clock"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// Systemd is a host that runs systemd, with the names of the units.
type Systemd struct {
	EngineUnit string
	AgentUnit  string
}

var _ Host = Systemd{}

// Engine asks systemd over its private socket, which is there until the very end of a shutdown. An engine's unit ceases to
// be active at the moment at which systemd sends it the signal, or at which the engine itself announces its end.
func (s Systemd) Engine(ctx context.Context) (EngineUnit, error) {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return EngineUnit{}, fmt.Errorf("ask systemd about the engine: %w", err)
	}
	defer conn.Close()
	system, err := conn.GetManagerProperty("SystemState")
	if err != nil {
		return EngineUnit{}, fmt.Errorf("ask systemd whether the system is shutting down: %w", err)
	}
	if state := strings.Trim(system, `"`); state == "stopping" {
		return EngineUnit{State: state}, nil
	}
	properties, err := conn.GetUnitPropertiesContext(ctx, s.EngineUnit)
	if err != nil {
		return EngineUnit{}, fmt.Errorf("ask systemd about %s: %w", s.EngineUnit, err)
	}
	state, ok := properties["ActiveState"].(string)
	entered, ok2 := properties["ActiveEnterTimestamp"].(uint64)
	if !ok || !ok2 {
		return EngineUnit{}, fmt.Errorf("systemd says of %s: state %v since %v", s.EngineUnit,
			properties["ActiveState"], properties["ActiveEnterTimestamp"])
	}
	return EngineUnit{
		State: state, Running: state == "active" || state == "reloading", Since: time.UnixMicro(int64(entered)),
	}, nil
}

// Ready tells systemd that the agent is up; without systemd around it does nothing.
func (s Systemd) Ready() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) }

// Alive feeds the watchdog, where the unit has one.
func (s Systemd) Alive() { _, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) }

// MTU of the interface that has an address.
func (s Systemd) MTU(address string) (int, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return 0, fmt.Errorf("list the network interfaces: %w", err)
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			return 0, fmt.Errorf("list the addresses of %s: %w", i.Name, err)
		}
		for _, a := range addresses {
			if ip, _, err := net.ParseCIDR(a.String()); err == nil && ip.String() == address {
				return i.MTU, nil
			}
		}
	}
	return 0, fmt.Errorf("no interface of this node has its address %s; `vagrant reload` sets it up again", address)
}

// containerMark is written by systemd at its start, within a container only; see its Container Interface.
const containerMark = "/run/systemd/container"

var chronyTimeout = timescale.Scale(time.Second)

// InContainer reports whether this node is a container, and so shares its host's clock and disk.
func InContainer() bool {
	_, err := os.Stat(containerMark)
	return err == nil
}

// Clock asks chrony over its unix socket, if there is a chrony.
func (s Systemd) Clock(ctx context.Context) ClockKeeper {
	if InContainer() {
		return ClockKeeper{Source: agentv1.ClockSource_CLOCK_SOURCE_HOST}
	}
	ctx, cancel := context.WithTimeout(ctx, chronyTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "chronyc", "-n", "-c", "tracking")
	var out, complaint strings.Builder
	command.Stdout, command.Stderr = &out, &complaint
	err := command.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return ClockKeeper{Source: agentv1.ClockSource_CLOCK_SOURCE_NONE}
	}
	keeper := ClockKeeper{Source: agentv1.ClockSource_CLOCK_SOURCE_CHRONY}
	if err != nil {
		keeper.Err = fmt.Errorf("ask chrony about the clock: %w: %s", err, strings.TrimSpace(out.String()+complaint.String()))
		return keeper
	}
	keeper.Tracking, keeper.Err = clock.ParseTracking(out.String())
	return keeper
}

// Journal reads the agent's log from journald.
func (s Systemd) Journal(ctx context.Context, follow bool, tail int, line func(text string) error) error {
	args := []string{"--unit", s.AgentUnit, "--output", "cat", "--no-pager", "--quiet", "--lines", strconv.Itoa(tail)}
	if follow {
		args = append(args, "--follow")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	command := exec.CommandContext(ctx, "journalctl", args...)
	var complaint strings.Builder
	command.Stderr = &complaint
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		return fmt.Errorf("read the agent's journal: %w", err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := line(lines.Text()); err != nil {
			cancel()
			_ = command.Wait()
			return err
		}
	}
	err = errors.Join(lines.Err(), command.Wait())
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("read the agent's journal: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return nil
}

// listen opens the agent's port.
func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the lab: %w; does another agent run on this node?", err)
	}
	return listener, nil
}

// Stop stops units, in this order.
func (s Systemd) Stop(ctx context.Context, units ...string) error {
	return s.each(ctx, "stop", units, (*dbus.Conn).StopUnitContext)
}

// Start starts units, in this order.
func (s Systemd) Start(ctx context.Context, units ...string) error {
	return s.each(ctx, "start", units, (*dbus.Conn).StartUnitContext)
}

// Restart ends units, however they do, and starts them again.
func (s Systemd) Restart(ctx context.Context, units ...string) error {
	return s.each(ctx, "restart", units, (*dbus.Conn).RestartUnitContext)
}

// each has systemd do a job with each unit, and waits for it.
func (s Systemd) each(ctx context.Context, doing string, units []string,
	job func(c *dbus.Conn, ctx context.Context, unit, mode string, done chan<- string) (int, error),
) error {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("have systemd %s %s: %w", doing, strings.Join(units, ", "), err)
	}
	defer conn.Close()
	for _, unit := range units {
		result := make(chan string, 1)
		if _, err := job(conn, ctx, unit, "replace", result); err != nil {
			return fmt.Errorf("have systemd %s %s: %w", doing, unit, err)
		}
		select {
		case word := <-result:
			if word != "done" {
				return fmt.Errorf("have systemd %s %s: %s", doing, unit, word)
			}
		case <-ctx.Done():
			return fmt.Errorf("have systemd %s %s: %w", doing, unit, ctx.Err())
		}
	}
	return nil
}

// Kill ends a unit's main process by SIGKILL.
func (s Systemd) Kill(ctx context.Context, unit string) error {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err == nil {
		defer conn.Close()
		err = conn.KillUnitWithTarget(ctx, unit, dbus.Main, int32(syscall.SIGKILL))
	}
	if err != nil {
		return fmt.Errorf("kill the process of %s: %w", unit, err)
	}
	return nil
}

// MainPID is the process id of a running unit; 0 for one that does not run.
func (s Systemd) MainPID(ctx context.Context, unit string) (int, error) {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask systemd about %s: %w", unit, err)
	}
	defer conn.Close()
	property, err := conn.GetServicePropertyContext(ctx, unit, "MainPID")
	if err != nil {
		return 0, fmt.Errorf("ask systemd about %s: %w", unit, err)
	}
	pid, ok := property.Value.Value().(uint32)
	if !ok {
		return 0, fmt.Errorf("systemd says of %s: main process %v", unit, property.Value)
	}
	return int(pid), nil
}
