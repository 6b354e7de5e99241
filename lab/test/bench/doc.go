// Package bench measures the voting application at full speed: `make bench`.
//
// What is measured is the real thing outside of node containers: HAProxy with the lab's own configuration, two web-vote-apps with a Redis
// each that syncs every write, a vote-worker, Postgres. An absolute figure says more about a machine than about a program, so that each
// is set against a limit measured in the same run, on the same machine, in turns with it:
//
//   - nullweb is the voting page with a queue that takes every vote and keeps none: what Redis costs.
//   - noop is a server that does nothing: what HAProxy and the load generator cost.
//   - COPY of the same rows, into a table with the same primary key, is what Postgres needs for them.
//   - seedstyle is the application as it was in the days of the tutorial's seeds: a connection to Redis per request, a commit per row.
//
// The benchmarks themselves need the build tag bench. Each adds rows to one [Report], which is printed as a table and written as JSON
// at the end. The package knows of the application what everybody knows: its programs, their settings, HTTP; for the drain alone it runs the
// worker's packages within itself, on equal terms with COPY. It does not judge whether votes were counted: that is the business of
// package verdict.
package bench
