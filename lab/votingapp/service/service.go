// Package service is what the three programs have in common as processes in a container: flags, logging, signals, and HTTP servers with
// limits that drain before they stop. It knows nothing about votes.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Exit statuses.
const (
	exitOK    = 0
	exitBad   = 1
	exitUsage = 2
)

// Main runs a program until it ends or the process is told to stop (SIGTERM, SIGINT), and returns the exit status. The program has no
// arguments: everything is set by environment, as the usage says. A second signal ends the process at once.
func Main(name, usage string, args []string, stdout, stderr io.Writer, run func(ctx context.Context, log *slog.Logger) error) int {
	for _, arg := range args {
		switch arg {
		case "-h", "-help", "--help":
			fmt.Fprintf(stdout, "%s %s\n\n%s", name, Version(), usage)
			return exitOK
		case "-version", "--version":
			fmt.Fprintf(stdout, "%s %s\n", name, Version())
			return exitOK
		default:
			fmt.Fprintf(stderr, "%s: unexpected argument %q; see %s --help\n", name, arg, name)
			return exitUsage
		}
	}
	boundMemory()
	log := slog.New(slog.NewJSONHandler(stderr, nil)).With("program", name)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	// From the first signal on, the second one has its default effect again.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, log); err != nil {
		log.Error("stopped by an error", "error", err)
		return exitBad
	}
	log.Info("stopped")
	return exitOK
}

const (
	// memoryLimit is what the Go runtime tries to stay below, in bytes: 10,000 open connections fit in.
	memoryLimit = 256 << 20
	// gcPercent lets the heap grow to five times what is in use before garbage is collected, below memoryLimit. What is in use is a few
	// MiB, so that collecting each time it has doubled would take a good part of the processor.
	gcPercent = 400
)

// boundMemory settles how much memory is used to save time, unless the environment says so (GOGC, GOMEMLIMIT).
func boundMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryLimit)
	}
}

// Version is the version of the module, or of the commit, that the program was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return info.Main.Version
}

// Registry makes a registry of metrics of this process alone.
func Registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Metrics serves a registry in the format of Prometheus.
func Metrics(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Limits that no honest client meets.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 15 * time.Second
	idleTimeout    = 75 * time.Second
	maxHeader      = 64 << 10 // a browser may carry many cookies of other programs on the same host
)

// Server prepares an HTTP server with limits on time and size.
func Server(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Drain is how a server is stopped.
type Drain struct {
	// Announce is called first: from now on the server should tell its load balancer that it is going. May be nil.
	Announce func()
	// Linger is how long the server goes on serving, so that the balancer notices before a connection is refused.
	Linger time.Duration
	// Finish bounds the time that requests in flight have after that.
	Finish time.Duration
}

// Serve serves on listener until ctx ends, then drains. Requests still running after that are cut off, which is an error.
func Serve(ctx context.Context, server *http.Server, listener net.Listener, drain Drain) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	if drain.Announce != nil {
		drain.Announce()
	}
	linger := time.NewTimer(drain.Linger)
	defer linger.Stop()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-linger.C:
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain.Finish)
	defer cancel()
	err := server.Shutdown(finish)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests on %s were still running after %v: %w", listener.Addr(), drain.Finish, err), server.Close())
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve on %s: %w", listener.Addr(), served))
	}
	return err
}

// Listen opens a TCP port for a server. It accepts so many connections at a time that their memory stays bounded.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return limit(listener.(*net.TCPListener), maxConnections), nil
}
