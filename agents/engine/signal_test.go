package engine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestHandles(t *testing.T) {
	const status = "Name:\thaproxy\nSigIgn:\tffffffffffffffff\nSigCgt:\t0000000000000800\nCapInh:\t0000000000000000\n"
	for _, tt := range []struct {
		status string
		signal syscall.Signal
		want   bool
	}{
		{status, syscall.SIGUSR2, true}, // 12, hence bit 11
		{status, syscall.SIGUSR1, false},
		{status, syscall.SIGHUP, false},
		{"Name:\thaproxy\n", syscall.SIGUSR2, false},
		{"SigCgt:\tnothing\n", syscall.SIGUSR2, false},
		{"", syscall.SIGUSR2, false},
	} {
		if got := handles([]byte(tt.status), tt.signal); got != tt.want {
			t.Errorf("handles(%q, %v) = %v", tt.status, tt.signal, got)
		}
	}
}

func TestAwaitHandler(t *testing.T) {
	// This program handles its signals (the Go runtime does); a shell does once it is told to.
	if err := awaitHandler(t.Context(), os.Getpid(), syscall.SIGUSR2); err != nil {
		t.Error(err)
	}
	shell := exec.CommandContext(t.Context(), "/bin/sh", "-c", "read go; trap : USR2; echo ready; read end")
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 5*handlerPoll)
	defer cancel()
	if err := awaitHandler(short, shell.Process.Pid, syscall.SIGUSR2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before the shell handles it: %v", err)
	}
	handled := make(chan error, 1)
	long, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { handled <- awaitHandler(long, shell.Process.Pid, syscall.SIGUSR2) }()
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if err := <-handled; err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	_ = shell.Wait() // read tells the end of its input as a failure
	if err := awaitHandler(t.Context(), shell.Process.Pid, syscall.SIGUSR2); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("of a process that has ended: %v", err)
	}
}
