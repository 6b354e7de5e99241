// Package integration holds the tests that run on the lab of this clone as `make up` leaves it: real nodes, real engines, the real
// application, through the same forwarded ports on 127.0.0.1 that a learner uses. They need the build tag integration.
// `make test` runs one of each kind on container nodes, `make test-long` those with the build tag long as well, `make vm-test` some of them on
// virtual machines.
//
// What happens to votes is judged as `lab verify` does: a load keeps a ledger, and every row of the database must be what it promised. What is
// left to chance hangs on a seed that the log tells; LAB_TEST_SEED repeats it.
//
// Every wait is on a condition with a deadline of minutes: no test fails because the machine is slow. How long it took is told as a figure. A
// test leaves the lab ready, or fails; the lab is repaired then, or the run stops.
package integration
