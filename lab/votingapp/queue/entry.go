// Package queue hands votes over from the frontends to the workers through Redis Streams.
//
// Every frontend appends to the stream `votes` of its own Redis ([Writer]); workers read it as the consumer group `workers`
// ([Reader]). Redis keeps what was delivered and not yet acknowledged, to whom and since when, so that a vote whose worker
// died is claimed by another: at-least-once delivery, with all of its bookkeeping in Redis. Entries are acknowledged and deleted
// in one step once they are counted. What cannot be read as a vote goes to the stream `votes:dead` together with the reason, in the same
// step, and only if the entry was still there: each bad vote makes one dead letter, whoever else settles it as well.
//
// # Many votes in an entry
//
// The votes of one pipeline of the writer share an entry; a lone vote is an entry of one. Redis' bookkeeping has its price per entry (the
// delivery is written to the file as well as the append), and so has reading one: with an entry per vote, two queues drained at 94,000
// votes/s, 0.43 of COPY, and half of the processor time was spent on entries, by Redis and by its client. A few hundred votes in an entry
// make that cost vanish. Lists with a processing list per worker, which are cheaper per element, were therefore not needed.
//
// The stream's length is thus no number of votes. The writer counts what it appends (contract.CapturedKey) and a reader what it settles
// (contract.SettledKey), each in the transaction that does it, so that captured minus settled is what waits.
//
// The package knows nothing about HTTP or Postgres.
package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

const (
	// What a dead letter is.
	kindVote  = "vote"
	kindEntry = "entry"

	// field is the one field of an entry. It names the version of the encoding.
	field = "v2"

	// maxVotes bounds the votes of an entry, and with it what a delivery of some entries can cost. More would hardly save anything.
	maxVotes = 256

	maxFrontend = 32
	uuidLength  = 36
	maxOrder    = 16 // digits of vote.MaxOrder
	maxLine     = uuidLength + 1 + uuidLength + 1 + 1 + 1 + maxOrder + 1 + maxFrontend
)

// appendVote writes a vote as one line that can be read in redis-cli:
//
//	<voter> <vote id> <a|b> <order> <frontend>
//
// An entry's value is such lines, separated by line feeds.
func appendVote(b []byte, v vote.Vote) []byte {
	b = append(appendUUID(b, v.Voter), ' ')
	b = append(appendUUID(b, v.ID), ' ')
	b = append(b, byte(v.Choice), ' ')
	b = append(strconv.AppendInt(b, int64(v.Order), 10), ' ')
	return append(b, v.Frontend...)
}

const hexDigits = "0123456789abcdef"

func appendUUID(b []byte, id uuid.UUID) []byte {
	for i, x := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, hexDigits[x>>4], hexDigits[x&15])
	}
	return b
}

// decode is strict: whatever the writer cannot have written is an error, which says what is wrong with it. The votes of an entry are
// judged one by one.
func decode(id string, fields map[string]any) Entry {
	e := Entry{ID: id}
	value, ok := fields[field].(string)
	if !ok || len(fields) != 1 {
		e.Dead = []Letter{{kind: kindEntry, text: fieldsText(fields), Err: fmt.Errorf("the entry is not of version %s", field)}}
		return e
	}
	lines := strings.Count(value, "\n") + 1
	if lines > maxVotes {
		e.Dead = []Letter{{kind: kindEntry, text: value, Err: fmt.Errorf("the entry has %d lines, more than %d", lines, maxVotes)}}
		return e
	}
	e.size = lines
	e.Votes = make([]vote.Vote, 0, e.size)
	for line := range strings.SplitSeq(value, "\n") {
		v, err := parse(line)
		if err != nil {
			e.Dead = append(e.Dead, Letter{kind: kindVote, text: line, Err: err})
			continue
		}
		e.Votes = append(e.Votes, v)
	}
	return e
}

func parse(line string) (vote.Vote, error) {
	if len(line) > maxLine {
		return vote.Vote{}, fmt.Errorf("the vote is %d bytes long, more than %d", len(line), maxLine)
	}
	// The lengths of all but the last two words are fixed.
	const (
		id     = uuidLength + 1
		choice = id + uuidLength + 1
		order  = choice + 2
	)
	if len(line) <= order || line[id-1] != ' ' || line[choice-1] != ' ' || line[order-1] != ' ' {
		return vote.Vote{}, errors.New("the vote is not of the form: voter, vote id, a or b, order, frontend")
	}
	var (
		v   vote.Vote
		err error
	)
	if v.Voter, err = parseUUID(line[:id-1]); err != nil {
		return vote.Vote{}, fmt.Errorf("voter: %w", err)
	}
	if v.ID, err = parseUUID(line[id : choice-1]); err != nil {
		return vote.Vote{}, fmt.Errorf("vote id: %w", err)
	}
	if v.Choice, err = vote.ParseChoice(line[choice : order-1]); err != nil {
		return vote.Vote{}, err
	}
	number, frontend, _ := strings.Cut(line[order:], " ")
	if v.Order, err = parseOrder(number); err != nil {
		return vote.Vote{}, err
	}
	v.Frontend = frontend
	return v, checkFrontend(frontend)
}

// unhex gives the value of a hexadecimal digit in lower case, or noHex.
var unhex = func() (table [256]byte) {
	for i := range table {
		table[i] = noHex
	}
	for i := range len(hexDigits) {
		table[hexDigits[i]] = byte(i)
	}
	return table
}()

const noHex = 0xff

func parseUUID(s string) (id uuid.UUID, err error) {
	bad := byte(0)
	at := 0
	for i := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			if s[at] != '-' {
				bad = noHex
			}
			at++
		}
		high, low := unhex[s[at]], unhex[s[at+1]]
		bad |= high | low
		id[i] = high<<4 | low
		at += 2
	}
	if bad&0xf0 != 0 {
		return uuid.UUID{}, fmt.Errorf("%.40q is not a uuid in lower case", s)
	}
	return id, nil
}

func parseOrder(s string) (vote.Order, error) {
	var n int64
	ok := s != "" && len(s) <= maxOrder && s[0] != '0'
	for i := 0; i < len(s) && ok; i++ {
		ok = s[i] >= '0' && s[i] <= '9'
		n = n*10 + int64(s[i]-'0')
	}
	if order := vote.Order(n); ok && order.Valid() {
		return order, nil
	}
	return 0, fmt.Errorf("order %.40q is not from 1 to %d", s, vote.MaxOrder)
}

func checkFrontend(s string) error {
	if s == "" || len(s) > maxFrontend {
		return fmt.Errorf("frontend: %d characters instead of 1 to %d", len(s), maxFrontend)
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("frontend %q: only a-z, 0-9 and - are allowed", s)
		}
	}
	return nil
}
