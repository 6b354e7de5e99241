// Package ledger is what a load generator remembers of a run: which votes it was about to send, and what it was told of each.
//
// A ledger is one append-only file per run. A vote is written down before it is sent ([Writer.Sent]) and again when its outcome is
// known ([Writer.Answered]); one without an outcome may or may not have happened. The file is the only witness of what was
// promised to whom, so it is made to survive its writer: what Sent was told is in the kernel's hands when it returns, and a file
// that was cut off anywhere can be read up to there.
//
// # Format
//
// All numbers are big-endian; every CRC is CRC-32C (Castagnoli) of all bytes of its part before it.
//
//	header    "swarmlab ledger\n"  version uint16  length uint32  [Run] as JSON  crc uint32
//	sent      1 uint8  voter uint32  number uint24  choice uint8 ('a', 'b')  at int64  crc uint32
//	answered  2 uint8  voter uint32  number uint24  kind uint8  at int64  order int64  voter_id [16]byte
//	          length uint8  served_by  crc uint32
//
// Times are in nanoseconds since the start of the run by the monotonic clock of the load generator. The header appears together with
// the file. A record that is cut short, or whose CRC is wrong, is the torn tail of an interrupted write if no whole record
// follows it, else the file was damaged.
//
// The package knows nothing of HTTP, queues or databases, and judges nothing.
package ledger

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"
)

// Suffix ends the names of ledgers; the rest of the name is the run's id.
const Suffix = ".ledger"

// Run is what a ledger says of the run as a whole.
type Run struct {
	ID RunID `json:"id"`
	// Started is the wall clock's time of the moment from which records count.
	Started time.Time `json:"started"`
	// Lab is the name of the lab that was voted in.
	Lab string `json:"lab"`
	// Seed makes the run repeatable.
	Seed uint64 `json:"seed"`
	// Plan is the load's own description.
	Plan json.RawMessage `json:"plan,omitempty"`
}

// RunID names a run. It is part of each of its votes' ids.
type RunID [6]byte

// NewRunID gives an id by chance.
func NewRunID() RunID {
	var id RunID
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// ParseRunID reads what String wrote.
func ParseRunID(text string) (RunID, error) {
	var id RunID
	return id, id.UnmarshalText([]byte(text))
}

// String gives 12 hexadecimal digits.
func (id RunID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id RunID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *RunID) UnmarshalText(text []byte) error {
	var read RunID
	if n, err := hex.Decode(read[:], text[:min(len(text), 2*len(read))]); err != nil || n != len(read) || len(text) != 2*n {
		return fmt.Errorf("run id %.20q: it must be %d hexadecimal digits", text, 2*len(read))
	}
	*id = read
	return nil
}

// Voter numbers the browsers of a run, from 0. One browser is at most one voter to the voting app.
type Voter uint32

// Seq numbers the votes of a voter, from 0 to MaxSeq. They are cast one after the other.
type Seq uint32

// MaxSeq is the highest number of a vote.
const MaxSeq Seq = 1<<24 - 1

// VoteID is the id under which a vote is sent: a UUID of version 8 (RFC 9562, section 5.8) of the run, the voter and the vote's number, so that a
// row in the database is found in the ledger without a map.
//
//	rrrrrrrr-rrrr-8000-80vv-vvvvvvssssss
func (id RunID) VoteID(v Voter, s Seq) uuid.UUID {
	var u uuid.UUID
	copy(u[:6], id[:])
	u[6], u[8] = 0x80, 0x80 // version 8, variant 10
	binary.BigEndian.PutUint32(u[9:], uint32(v))
	putUint24(u[13:], uint32(s))
	return u
}

// Split undoes VoteID; false for an id that VoteID cannot have made.
func Split(u uuid.UUID) (RunID, Voter, Seq, bool) {
	if u[6] != 0x80 || u[7] != 0 || u[8] != 0x80 {
		return RunID{}, 0, 0, false
	}
	return RunID(u[:6]), Voter(binary.BigEndian.Uint32(u[9:])), Seq(uint24(u[13:])), true
}

// Kind is how a vote ended.
type Kind byte

// The kinds of outcomes. A vote without any is Unknown as well.
const (
	// Acknowledged: the app promised to count it.
	Acknowledged Kind = 1
	// Refused: the app said that it did not take it, and never will.
	Refused Kind = 2
	// Unknown: given up without an answer that says either; it may or may not have happened.
	Unknown Kind = 3
)

// String gives "acknowledged", "refused" or "unknown".
func (k Kind) String() string {
	switch k {
	case Acknowledged:
		return "acknowledged"
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	default:
		return fmt.Sprintf("kind %d", byte(k))
	}
}

// Outcome is what became of a vote as far as its sender was told. All but Kind is zero where no answer said it.
type Outcome struct {
	Kind Kind
	// VoterID is who the app took the voter for.
	VoterID uuid.UUID
	// Order is the app's clock reading of the vote.
	Order int64
	// ServedBy is the container that answered, at most 255 bytes.
	ServedBy string
}

// Record is one line of the ledger: a vote that was about to be sent, or its outcome.
type Record struct {
	Voter Voter
	Seq   Seq
	// At is the time since the start of the run.
	At time.Duration
	// Choice is 'a' or 'b' for a vote that was about to be sent, else 0.
	Choice byte
	// Outcome is set if Choice is 0.
	Outcome Outcome
}

// IsSent tells a vote that was about to be sent from an outcome.
func (r Record) IsSent() bool { return r.Choice != 0 }

// Path is where the ledger of a run lies.
func Path(dir string, id RunID) string { return filepath.Join(dir, id.String()+Suffix) }
