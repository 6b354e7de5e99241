// Package contract holds what nodes, host and application agree on: names, ports and keys that one part writes and another reads. Each stands
// here once; contract_test.go holds Ruby, shell and the images to it. It imports nothing of ours, and decides nothing.
package contract

// Network is the overlay network that all containers of the lab are on.
const Network = "mynet"

// Containers of which a node has one. The others are called by their node's number: redis01, frontend01, worker01.
const (
	ConsulContainer    = "consul"
	InterlockContainer = "interlock"
	PostgresContainer  = "pg"
	ResultsContainer   = "results-app"
)

// Images of the voting app, by the folders they are built from; the services of the pages are called the same in Consul.
const (
	VoteApp    = "web-vote-app"
	ResultsApp = "results-app"
	WorkerApp  = "vote-worker"
)

// StoreAlias is the name of Postgres on Network.
const StoreAlias = "store"

// Ports on which containers listen.
const (
	HTTPPort     = 80
	RedisPort    = 6379
	PostgresPort = 5432
	ConsulPort   = 8500
	// VotePort is where a frontend serves the voting page.
	VotePort = 5000
)

// AgentPort is where all agents listen.
const AgentPort = 7400

// SwarmPort is where a swarm's manager takes new members.
const SwarmPort = 2377

// Secrets by the names of their files, on the nodes and below SecretsDir in containers.
const (
	RedisPassword    = "redis-password"
	PostgresPassword = "postgres-password"
	VoterKey         = "voter-key"
	StatsPassword    = "stats-password"
	ManagementToken  = "consul-management-token"
	NodeToken        = "consul-node-token"

	SecretsDir = "/run/secrets/"
)

// StatsUser may read HAProxy's statistics, with StatsPassword.
const StatsUser = "stats"

// Measures of roles' checks: votes along their path, in votes.
const (
	MeasureCaptured     = "votes_captured"
	MeasureQueued       = "votes_queued"
	MeasureCounted      = "votes_counted"
	MeasureDeadLettered = "votes_dead_lettered"
	// MeasureIncidents comes before the name of a queue: how often it came back without votes that it had acknowledged.
	MeasureIncidents = "queue_incidents:"
)

// Keys in a frontend's Redis.
const (
	// VoteStream holds the votes that wait to be counted.
	VoteStream = "votes"
	// WorkerGroup is the consumer group of the workers on VoteStream.
	WorkerGroup = "workers"
	// DeadStream holds the votes that could not be counted, with the reason.
	DeadStream = "votes:dead"
	// CapturedKey counts the votes that were ever appended to VoteStream; it never goes down.
	CapturedKey = "votes:captured"
	// SettledKey counts those of them that are counted or dead.
	SettledKey = "votes:settled"
	// IdentityKey is the random name that a Redis is given when it is new: one without its data gets another.
	IdentityKey = "votes:identity"
	// ProbeKey is written by health probes.
	ProbeKey = "votes:probe"
)
