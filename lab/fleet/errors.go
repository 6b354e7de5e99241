package fleet

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Problem classifies why an agent did not do what was asked.
type Problem int

// The problems that callers tell apart.
const (
	// ProblemOther is the agent's own error.
	ProblemOther Problem = iota
	// ProblemDown: nothing listens at the node's port; the node is not running.
	ProblemDown
	// ProblemSilent: the node takes connections, but no agent answers; it is starting, or its agent is down.
	ProblemSilent
	// ProblemHanging: no answer in time.
	ProblemHanging
	// ProblemTrust: one of the two does not accept the other's certificate.
	ProblemTrust
	// ProblemCanceled: the caller gave up.
	ProblemCanceled
)

// Error says what is wrong with a node, for people; Unwrap gives the gRPC error.
type Error struct {
	Node    string
	Problem Problem
	// Reason is the message without the node's name.
	Reason string
	cause  error
}

func (e *Error) Error() string { return e.Node + ": " + e.Reason }

func (e *Error) Unwrap() error { return e.cause }

// explain turns a gRPC error into one for people. gRPC keeps what happened to a connection only as text.
func (m *member) explain(err error) *Error {
	e := &Error{Node: m.node.Name, cause: err}
	text := status.Convert(err).Message()
	set := func(p Problem, format string, args ...any) *Error {
		e.Problem, e.Reason = p, fmt.Sprintf(format, args...)
		return e
	}
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch code := status.Code(err); code {
	case codes.DeadlineExceeded:
		// While a connection is being retried, its own error is appended; it says more than the deadline.
		if has("connection refused") {
			return set(ProblemDown, "nothing listens at %s: the node is not running; `make up` starts it", m.address)
		}
		return set(ProblemHanging, "no answer in time at %s: the node hangs, is paused or overloaded", m.address)
	case codes.Canceled:
		return set(ProblemCanceled, "given up")
	case codes.Unimplemented:
		return set(ProblemOther, "its agent is of another version (%s); `make up` installs this one's", text)
	case codes.PermissionDenied:
		return set(ProblemOther, "its agent refuses: %s", text)
	case codes.Unavailable:
	default:
		return set(ProblemOther, "%s", text)
	}
	switch {
	case has("connection refused"):
		return set(ProblemDown, "nothing listens at %s: the node is not running; `make up` starts it", m.address)
	case has("signed by unknown authority"):
		return set(ProblemTrust, "the certificate at %s is not of this lab's authority: another lab has the port, "+
			"or the node is to be provisioned again; `make up` tells and repairs", m.address)
	case has("certificate is valid for", "certificate is not valid for"):
		return set(ProblemTrust, "another node answers at %s (%s); `make up` repairs", m.address, afterLast(text, "x509: "))
	case has("certificate has expired"):
		return set(ProblemTrust, "the certificate at %s has expired (%s); `make up` renews it", m.address, afterLast(text, "x509: "))
	case has("remote error: tls"):
		return set(ProblemTrust, "its agent does not accept this clone's certificate (%s); `make up` provisions it again",
			strings.Trim(afterLast(text, "remote error: tls: "), `"`))
	case has("deadline exceeded", "i/o timeout", "keepalive ping failed"):
		return set(ProblemHanging, "no answer in time at %s: the node hangs, is paused or overloaded", m.address)
	case has("EOF", "connection reset", "broken pipe", "closed", "handshake failed", "connect:"):
		return set(ProblemSilent, "the node is up, but its agent does not answer at %s: it is starting, or look with "+
			"`vagrant ssh %s -c 'systemctl status labagent'`", m.address, m.node.Name)
	default:
		return set(ProblemSilent, "its agent does not answer at %s: %s", m.address, text)
	}
}

func afterLast(text, mark string) string {
	if i := strings.LastIndex(text, mark); i >= 0 {
		return strings.TrimSuffix(text[i+len(mark):], `"`)
	}
	return text
}
