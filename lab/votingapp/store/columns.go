package store

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// binaryFormat says that every parameter is in Postgres' binary format.
var binaryFormat = []int16{pgtype.BinaryFormatCode}

// columns writes votes as the five parameters of mergeSQL, one array per column, in Postgres' binary format
// (src/backend/utils/adt/arrayfuncs.c, array_recv): the number of dimensions, a flag for nulls, the elements' type; of the one dimension, length
// and first index; and each element after its length in bytes.
func columns(votes []vote.Vote) [][]byte {
	n := len(votes)
	text := 0
	for i := range votes {
		text += len(votes[i].Frontend)
	}
	const header, length = 5 * 4, 4
	var (
		voters    = array(pgtype.UUIDOID, n, header+n*(length+16))
		choices   = array(pgtype.TextOID, n, header+n*(length+1))
		ids       = array(pgtype.UUIDOID, n, header+n*(length+16))
		orders    = array(pgtype.Int8OID, n, header+n*(length+8))
		frontends = array(pgtype.TextOID, n, header+n*length+text)
		be        = binary.BigEndian
	)
	for i := range votes {
		v := &votes[i]
		voters = append(be.AppendUint32(voters, 16), v.Voter[:]...)
		choices = append(be.AppendUint32(choices, 1), byte(v.Choice))
		ids = append(be.AppendUint32(ids, 16), v.ID[:]...)
		orders = be.AppendUint64(be.AppendUint32(orders, 8), uint64(v.Order))
		frontends = append(be.AppendUint32(frontends, uint32(len(v.Frontend))), v.Frontend...)
	}
	return [][]byte{voters, choices, ids, orders, frontends}
}

// array begins an array that will have that many elements and bytes.
func array(element uint32, elements, size int) []byte {
	b := make([]byte, 0, size)
	for _, word := range []uint32{1, 0, element, uint32(elements), 1} {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return b
}
