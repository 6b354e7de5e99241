// Package queue hands votes over from the frontends to the workers through Redis Streams.
//
// Every frontend appends to the stream `votes` of its own Redis ([Writer]); workers read it as the consumer group `workers`
// ([Reader]). Redis keeps what was delivered and not yet acknowledged, to whom and since when, so that a vote whose worker
// died is claimed by another: at-least-once delivery, with all of its bookkeeping in Redis. Entries are acknowledged and deleted
// in one step once they are counted: the length of the stream is what still waits. What cannot be read as a vote goes to
// the stream `votes:dead` together with the reason, in the same step.
//
// The package knows nothing about HTTP or Postgres.
package queue

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// Names in Redis.
const (
	// Stream holds the votes that wait to be counted.
	Stream = "votes"
	// Group is the consumer group of the workers on Stream.
	Group = "workers"
	// DeadStream holds the entries that could not be counted, with the reason.
	DeadStream = "votes:dead"
	// ProbeKey is written by health probes.
	ProbeKey = "votes:probe"

	// field is the one field of an entry. It names the version of the encoding.
	field = "v1"

	maxFrontend = 32
)

// encode writes a vote as one line that can be read in redis-cli:
//
//	<voter> <vote id> <a|b> <order> <frontend>
func encode(v vote.Vote) string {
	b := make([]byte, 0, 36+1+36+1+1+1+19+1+len(v.Frontend))
	b = append(appendUUID(b, v.Voter), ' ')
	b = append(appendUUID(b, v.ID), ' ')
	b = append(b, byte(v.Choice), ' ')
	b = append(strconv.AppendInt(b, int64(v.Order), 10), ' ')
	return string(append(b, v.Frontend...))
}

func appendUUID(b []byte, id uuid.UUID) []byte {
	// MarshalText never fails.
	text, _ := id.MarshalText()
	return append(b, text...)
}

// decode is strict: whatever encode cannot have written is an error, which says what is wrong with it.
func decode(fields map[string]any) (vote.Vote, error) {
	value, ok := fields[field].(string)
	if !ok || len(fields) != 1 {
		return vote.Vote{}, fmt.Errorf("the entry is not of version %s", field)
	}
	return parse(value)
}

func parse(value string) (vote.Vote, error) {
	const maxLength = 36 + 1 + 36 + 1 + 1 + 1 + 19 + 1 + maxFrontend
	if len(value) > maxLength {
		return vote.Vote{}, fmt.Errorf("the entry is %d bytes long, more than %d", len(value), maxLength)
	}
	var part [5]string
	rest := value
	for i := range part {
		var more bool
		part[i], rest, more = strings.Cut(rest, " ")
		if more != (i < len(part)-1) {
			return vote.Vote{}, fmt.Errorf("the entry has not %d words", len(part))
		}
	}
	var (
		v   vote.Vote
		err error
	)
	if v.Voter, err = parseUUID(part[0]); err != nil {
		return vote.Vote{}, fmt.Errorf("voter: %w", err)
	}
	if v.ID, err = parseUUID(part[1]); err != nil {
		return vote.Vote{}, fmt.Errorf("vote id: %w", err)
	}
	if v.Choice, err = vote.ParseChoice(part[2]); err != nil {
		return vote.Vote{}, err
	}
	order, err := strconv.ParseInt(part[3], 10, 64)
	if v.Order = vote.Order(order); err != nil || !v.Order.Valid() || part[3] != strconv.FormatInt(order, 10) {
		return vote.Vote{}, fmt.Errorf("order %q is not from 1 to %d", part[3], vote.MaxOrder)
	}
	if v.Frontend, err = parseFrontend(part[4]); err != nil {
		return vote.Vote{}, err
	}
	return v, nil
}

func parseUUID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil || id.String() != s {
		return uuid.UUID{}, fmt.Errorf("%.40q is not a uuid in lower case", s)
	}
	return id, nil
}

func parseFrontend(s string) (string, error) {
	if s == "" || len(s) > maxFrontend {
		return "", fmt.Errorf("frontend: %d characters instead of 1 to %d", len(s), maxFrontend)
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return "", fmt.Errorf("frontend %q: only a-z, 0-9 and - are allowed", s)
		}
	}
	return s, nil
}
