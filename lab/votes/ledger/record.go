package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

const (
	magic   = "swarmlab ledger\n"
	version = 1

	tagSent     = 1
	tagAnswered = 2

	crcSize = 4
	// Sizes without the CRC; served_by comes on top.
	sentSize     = 1 + 4 + 3 + 1 + 8
	answeredSize = sentSize + 8 + 16 + 1
	maxServedBy  = 255
	maxRecord    = answeredSize + maxServedBy + crcSize
	headerPrefix = len(magic) + 2 + 4
	// maxHeader bounds what a damaged length can make the reader allocate.
	maxHeader = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendCRC ends what was appended to b since start.
func appendCRC(b []byte, start int) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func crcFits(b []byte) bool {
	body := len(b) - crcSize
	return crc32.Checksum(b[:body], castagnoli) == binary.BigEndian.Uint32(b[body:])
}

func putUint24(b []byte, n uint32) { b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n) }

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// appendRecord encodes a record; it fails for one that the format has no room for.
func appendRecord(b []byte, r Record) ([]byte, error) {
	if r.Seq > MaxSeq {
		return b, fmt.Errorf("vote number %d of voter %d: more than %d", r.Seq, r.Voter, MaxSeq)
	}
	start := len(b)
	tag, what := byte(tagSent), r.Choice
	if !r.IsSent() {
		tag, what = tagAnswered, byte(r.Outcome.Kind)
	}
	b = append(b, tag)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Voter))
	b = append(b, byte(r.Seq>>16), byte(r.Seq>>8), byte(r.Seq), what)
	b = binary.BigEndian.AppendUint64(b, uint64(r.At))
	if r.IsSent() {
		if r.Choice != 'a' && r.Choice != 'b' {
			return b[:start], fmt.Errorf("choice %q: neither a nor b", r.Choice)
		}
		return appendCRC(b, start), nil
	}
	o := r.Outcome
	if o.Kind < Acknowledged || o.Kind > Unknown {
		return b[:start], fmt.Errorf("outcome of %s", o.Kind)
	}
	if len(o.ServedBy) > maxServedBy {
		return b[:start], fmt.Errorf("the name of the container that answered has %d bytes, more than %d", len(o.ServedBy), maxServedBy)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(o.Order))
	b = append(b, o.VoterID[:]...)
	b = append(append(b, byte(len(o.ServedBy))), o.ServedBy...)
	return appendCRC(b, start), nil
}

var (
	// errShort: b may be the beginning of a record.
	errShort = errors.New("the record is cut short")
	errBad   = errors.New("no record")
)

// names keeps one copy of each container's name.
type names map[string]string

func (n names) intern(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	if len(n) > 1000 { // No lab has so many containers; a strange ledger shall not fill the memory.
		clear(n)
	}
	s := string(b)
	n[s] = s
	return s
}

// parseRecord decodes the record at the beginning of b and returns its length. It accepts exactly what appendRecord writes.
func parseRecord(b []byte, names names) (Record, int, error) {
	if len(b) == 0 {
		return Record{}, 0, errShort
	}
	size := sentSize
	switch b[0] {
	case tagSent:
	case tagAnswered:
		if len(b) < answeredSize {
			return Record{}, 0, errShort
		}
		size = answeredSize + int(b[answeredSize-1])
	default:
		return Record{}, 0, errBad
	}
	size += crcSize
	if len(b) < size {
		return Record{}, 0, errShort
	}
	if b = b[:size]; !crcFits(b) {
		return Record{}, 0, errBad
	}
	r := Record{
		Voter: Voter(binary.BigEndian.Uint32(b[1:])),
		Seq:   Seq(uint24(b[5:])),
		At:    time.Duration(binary.BigEndian.Uint64(b[9:])),
	}
	if b[0] == tagSent {
		if r.Choice = b[8]; r.Choice != 'a' && r.Choice != 'b' {
			return Record{}, 0, errBad
		}
		return r, size, nil
	}
	o := &r.Outcome
	if o.Kind = Kind(b[8]); o.Kind < Acknowledged || o.Kind > Unknown {
		return Record{}, 0, errBad
	}
	o.Order = int64(binary.BigEndian.Uint64(b[sentSize:]))
	copy(o.VoterID[:], b[sentSize+8:])
	o.ServedBy = names.intern(b[answeredSize : size-crcSize])
	return r, size, nil
}

func encodeHeader(run Run) ([]byte, error) {
	text, err := json.Marshal(run)
	if err != nil {
		return nil, fmt.Errorf("encode what the ledger says of the run: %w", err)
	}
	if len(text) > maxHeader {
		return nil, fmt.Errorf("the ledger's header has %d bytes, more than %d", len(text), maxHeader)
	}
	b := append([]byte(magic), 0, version)
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return appendCRC(append(b, text...), 0), nil
}

// ErrNoLedger says that a file is none, or its header is damaged.
var ErrNoLedger = errors.New("not a ledger")

// readHeader returns the run and the header's length.
func readHeader(r io.ReaderAt) (Run, int64, error) {
	prefix := make([]byte, headerPrefix)
	if _, err := r.ReadAt(prefix, 0); err != nil && !errors.Is(err, io.EOF) {
		return Run{}, 0, err
	}
	if string(prefix[:len(magic)]) != magic {
		return Run{}, 0, ErrNoLedger
	}
	if v := binary.BigEndian.Uint16(prefix[len(magic):]); v != version {
		return Run{}, 0, fmt.Errorf("a ledger of version %d, while this command reads version %d", v, version)
	}
	length := binary.BigEndian.Uint32(prefix[len(magic)+2:])
	if length > maxHeader {
		return Run{}, 0, fmt.Errorf("%w: its header is damaged", ErrNoLedger)
	}
	all := make([]byte, headerPrefix+int(length)+crcSize)
	if _, err := r.ReadAt(all, 0); err != nil && !errors.Is(err, io.EOF) {
		return Run{}, 0, err
	}
	var run Run
	if !crcFits(all) || json.Unmarshal(all[headerPrefix:len(all)-crcSize], &run) != nil {
		return Run{}, 0, fmt.Errorf("%w: its header is damaged", ErrNoLedger)
	}
	return run, int64(len(all)), nil
}
