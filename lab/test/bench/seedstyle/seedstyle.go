// Package seedstyle is what the applications of the tutorial's seeds had in common, in Go: each request to vote opens a connection to Redis of
// its own and closes it (Flask's vote.py), a list is the queue, and the worker takes one vote from it and commits one row, again
// and again (Worker.java). It is the baseline of package bench and for nothing else: it loses a vote whenever the worker ends between
// the two.
package seedstyle

// List is the queue's key in Redis.
const List = "votes"

// Schema is the seeds' table.
const Schema = `CREATE TABLE IF NOT EXISTS seed_votes (id text PRIMARY KEY, vote text NOT NULL)`

// Ballot is a vote as it waits in the list.
type Ballot struct {
	VoterID string `json:"voter_id"`
	Vote    string `json:"vote"`
}
