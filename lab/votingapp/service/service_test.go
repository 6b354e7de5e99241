package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMainStatus(t *testing.T) {
	fails := func(context.Context, *slog.Logger) error { return errors.New("settings: N is not set") }
	works := func(context.Context, *slog.Logger) error { return nil }
	for _, tt := range []struct {
		args           []string
		run            func(context.Context, *slog.Logger) error
		status         int
		stdout, stderr string
	}{
		{nil, works, 0, "", "stopped"},
		{nil, fails, 1, "", "N is not set"},
		{[]string{"--help"}, fails, 0, "the usage", ""},
		{[]string{"--version"}, fails, 0, "prog ", ""},
		{[]string{"x"}, works, 2, "", `unexpected argument "x"`},
	} {
		var stdout, stderr bytes.Buffer
		status := Main("prog", "the usage", tt.args, &stdout, &stderr, tt.run)
		if status != tt.status || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%v: status %d, stdout %q, stderr %q", tt.args, status, &stdout, &stderr)
		}
	}
}

func TestServeDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const linger, step = time.Second, time.Millisecond
		listener := newPipes()
		release := make(chan struct{})
		mux := http.NewServeMux()
		mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { <-release })
		ctx, cancel := context.WithCancel(t.Context())
		announced, served := make(chan struct{}), make(chan error, 1)
		go func() {
			served <- Serve(ctx, Server(mux, slog.New(slog.DiscardHandler)), listener, Drain{
				Announce: func() { close(announced) }, Linger: linger, Finish: 5 * time.Second,
			})
		}()
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				if conn := listener.dial(); conn != nil {
					return conn, nil
				}
				return nil, net.ErrClosed
			},
		}}
		get := func(path string) error {
			resp, err := client.Get("http://app" + path)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}
		slow := make(chan error, 1)
		go func() { slow <- get("/slow") }()
		synctest.Wait()
		cancel()
		<-announced
		if err := get("/"); err != nil {
			t.Errorf("a request right after the announcement: %v", err)
		}
		time.Sleep(linger - step)
		if err := get("/"); err != nil {
			t.Errorf("a request while it lingers: %v", err)
		}
		time.Sleep(2 * step)
		if err := get("/"); err == nil {
			t.Error("still serving")
		}
		close(release)
		if err := <-slow; err != nil {
			t.Errorf("the request in flight: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestServeCutsOff(t *testing.T) {
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inside := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(inside); <-r.Context().Done() })
	go func() {
		<-inside
		cancel()
	}()
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err == nil {
			_ = resp.Body.Close()
		}
	}()
	err = Serve(ctx, Server(handler, slog.New(slog.DiscardHandler)), listener, Drain{Finish: 100 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Serve = %v", err)
	}
}

func TestListenNamesTheAddress(t *testing.T) {
	taken, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // done
	if _, err := Listen(t.Context(), taken.Addr().String()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("Listen = %v", err)
	}
}

func TestHeaderLimit(t *testing.T) {
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, Server(http.NotFoundHandler(), slog.New(slog.DiscardHandler)), listener, Drain{Finish: 2 * time.Minute})
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	go func() { // The server stops reading in the middle of it.
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nCookie: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
	}()
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 431" {
		t.Errorf("%q, %v", answer, err)
	}
	_ = conn.Close()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
