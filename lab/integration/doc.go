// Package integration holds the tests that run on the lab of this clone as `make up` leaves it: real nodes, real engines, the real
// application, through the same forwarded ports on 127.0.0.1 that a learner uses. They need the build tag integration and the
// docker provider, whose node containers they kill; `make test` runs them.
//
// Every wait is on a condition with a deadline. A test leaves the lab whole, or fails.
package integration
