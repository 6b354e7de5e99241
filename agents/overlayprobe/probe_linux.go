package overlayprobe

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// probeFrom looks from the namespace of the process pid.
func probeFrom(pid int, targets []Target) (findings []Finding, err error) {
	onThreadOfItsOwn(func() { findings, err = probeFromHere(pid, targets) })
	return findings, err
}

// onThreadOfItsOwn runs f on a thread that ends with it, whatever f did to the thread.
func onThreadOfItsOwn(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Without an unlock, so that the runtime ends the thread rather than use it for others.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// But for the process's main thread, which it sets aside and never ends: a namespace entered there would outlive its
			// container, and answer for the container's address ever after. While this goroutine holds it, the next gets another one.
			defer runtime.UnlockOSThread()
			onThreadOfItsOwn(f)
			return
		}
		f()
	}()
	<-done
}

// probeFromHere enters the namespace and never returns from it.
func probeFromHere(pid int, targets []Target) ([]Finding, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open its network namespace: %w", err)
	}
	err = unix.Setns(fd, unix.CLONE_NEWNET)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return nil, fmt.Errorf("enter its network namespace: %w", err)
	}
	findings := make([]Finding, len(targets))
	for i, t := range targets {
		findings[i].Target = t
	}
	if err := resolve(findings); err != nil {
		return nil, err
	}
	if err := knock(findings); err != nil {
		return nil, err
	}
	return findings, nil
}

// nameServer is where Docker answers for names in every container on a network of one's own.
func nameServer() *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 11}, Port: 53}
}

// resolve asks for all names at once and notes those that are wrong.
func resolve(findings []Finding) (err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ask for names: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.Connect(fd, nameServer()); err != nil {
		return fmt.Errorf("ask for names: %w", err)
	}
	for i := range findings {
		findings[i].Err = ErrNoName
	}
	for i := range findings {
		packet, err := question(uint16(i), findings[i].Target.Name)
		if err != nil {
			return err
		}
		if _, err := unix.Write(fd, packet); err != nil {
			return nil // nothing listens there, as the question before has found out: no name resolves
		}
	}
	buffer := make([]byte, 1500)
	deadline := time.Now().Add(nameTimeout)
	for range findings {
		if ready, err := await([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, deadline); err != nil || !ready {
			return err
		}
		n, err := unix.Read(fd, buffer)
		if err != nil {
			return nil // nothing listens there: no name resolves
		}
		id, addresses, err := answer(buffer[:n])
		if err != nil || int(id) >= len(findings) {
			continue
		}
		f := &findings[id]
		switch {
		case slices.Contains(addresses, f.Target.Address):
			f.Err = nil
		case len(addresses) > 0:
			f.Err = fmt.Errorf("%w: %v", ErrOldName, addresses)
		}
	}
	return nil
}

// knock tries to connect to all targets at once. Both an open and a refused connection prove that packets pass both ways.
func knock(findings []Finding) error {
	var polls []unix.PollFd
	var at []int
	defer func() {
		for _, p := range polls {
			_ = unix.Close(int(p.Fd))
		}
	}()
	for i := range findings {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("knock: %w", err)
		}
		polls, at = append(polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}), append(at, i)
		err = unix.Connect(fd, sockaddr(findings[i].Target.Address))
		if err != nil && !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.ECONNREFUSED) {
			findings[i].Err = errors.Join(fmt.Errorf("%w: %w", ErrNoAnswer, err), findings[i].Err)
		}
	}
	deadline := time.Now().Add(replyTimeout)
	open := slices.Clone(polls)
	for len(open) > 0 {
		ready, err := await(open, deadline)
		if err != nil {
			return err
		}
		if !ready {
			break
		}
		open = slices.DeleteFunc(open, func(p unix.PollFd) bool { return p.Revents != 0 })
	}
	for i, p := range polls {
		f := &findings[at[i]]
		if slices.ContainsFunc(open, func(o unix.PollFd) bool { return o.Fd == p.Fd }) {
			f.Err = errors.Join(ErrNoAnswer, f.Err)
			continue
		}
		code, err := unix.GetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return fmt.Errorf("knock: %w", err)
		}
		if result := unix.Errno(code); code != 0 && result != unix.ECONNREFUSED {
			f.Err = errors.Join(fmt.Errorf("%w: %w", ErrNoAnswer, result), f.Err)
		}
	}
	return nil
}

func sockaddr(address netip.Addr) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: address.As4(), Port: knockPort}
}

// await polls until something is ready; false at the deadline. Even one that has passed, because this thread got no processor for so long, is
// no reason not to look: what is there by then came in time.
func await(fds []unix.PollFd, deadline time.Time) (bool, error) {
	for {
		left := max(0, time.Until(deadline))
		wait := 0
		if left > 0 {
			wait = int(left.Milliseconds()) + 1
		}
		n, err := unix.Poll(fds, wait)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("poll: %w", err)
		}
		if n > 0 || left == 0 {
			return n > 0, nil
		}
	}
}
