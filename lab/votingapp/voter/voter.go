// Package voter recognises a voter without keeping anything about them on a server: all that is known travels in a cookie that the
// lab signs.
//
// The signature keeps voters from inventing identities of others and from inventing an order (see package vote) that would make
// an old vote win. It does not keep anyone from throwing the cookie away and voting as somebody new: the poll is anonymous.
//
// The package knows HTTP no further than cookies, and nothing about queues.
package voter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/textproto"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// CookieName is the cookie that carries a voter's [Identity].
const CookieName = "voter_id"

// Identity is what a voter's browser carries.
type Identity struct {
	ID uuid.UUID
	// Order is that of the voter's last vote, 0 if they have not voted.
	Order vote.Order
	// Choice is the voter's last vote as far as this browser knows, 0 if they have not voted.
	Choice vote.Choice
}

// Why a cookie was not accepted. Its bearer is treated as a new voter, never turned away.
var (
	ErrVersion   = errors.New("voter cookie of another version")
	ErrDamaged   = errors.New("damaged voter cookie")
	ErrForged    = errors.New("voter cookie with a wrong signature")
	ErrDuplicate = errors.New("more than one voter cookie")
)

// Layout of the cookie, version 1: "v1." and the unpadded base64url of
//
//	voter id (16 bytes) | order (8, big-endian) | choice (1) | HMAC-SHA256 of all before it, truncated (17)
//
// 17 bytes of signature make the whole a multiple of three, so that no base64 has spare bits to play with.
const (
	prefix      = "v1."
	payloadSize = 16 + 8 + 1
	macSize     = 17
	sealedSize  = payloadSize + macSize
	valueSize   = len(prefix) + sealedSize/3*4
)

// What a message to be authenticated is about. No two uses of the key can be mistaken for each other.
const (
	aboutCookie = "swarmlab voter cookie v1\x00"
	aboutVote   = "swarmlab vote id v1\x00"
	aboutVoter  = "swarmlab voter id v1\x00"
)

// Key signs cookies and derives ids. All frontends of a lab share one. Safe for concurrent use.
type Key struct {
	// macs holds a *mac for each processor that needs one: to prepare the key anew would cost more than to use it.
	macs *sync.Pool
}

// ParseKey reads a key of 64 hexadecimal digits (32 bytes).
func ParseKey(s string) (Key, error) {
	secret, err := hex.DecodeString(s)
	if err != nil || len(secret) != sha256.Size {
		return Key{}, fmt.Errorf("the voter key must be %d hexadecimal digits, not %d characters", 2*sha256.Size, len(s))
	}
	return Key{macs: &sync.Pool{New: func() any { return &mac{hash: hmac.New(sha256.New, secret)} }}}, nil
}

// mac computes one HMAC at a time. Its buffers live as long as it does: what is passed to an interface such as hash.Hash would else be
// allocated each time.
type mac struct {
	hash    hash.Hash
	message []byte
	sum     [sha256.Size]byte
}

// of leaves the HMAC of about and message in m.sum.
func (m *mac) of(about string, message []byte) {
	m.message = append(append(m.message[:0], about...), message...)
	m.hash.Reset()
	m.hash.Write(m.message)
	m.hash.Sum(m.sum[:0])
}

func (k Key) mac(about string, message []byte) [sha256.Size]byte {
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	m.of(about, message)
	return m.sum
}

// derive makes a uuid (version 8: "vendor specific", RFC 9562) out of a message.
func (k Key) derive(about string, message []byte) uuid.UUID {
	sum := k.mac(about, message)
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// VoteID derives the id of a vote from the id of the request that casts it, so that a retry of that request by the load
// balancer is the same vote.
func (k Key) VoteID(request uuid.UUID) uuid.UUID { return k.derive(aboutVote, request[:]) }

// VoterID derives the id of a first-time voter from the id of their first vote, so that a retry of that vote, before the
// voter has got a cookie, does not make a second voter.
func (k Key) VoterID(voteID uuid.UUID) uuid.UUID { return k.derive(aboutVoter, voteID[:]) }

// Seal gives the value of the cookie that carries id.
func (k Key) Seal(id Identity) string { return string(k.appendSealed(nil, id)) }

func (k Key) appendSealed(dst []byte, id Identity) []byte {
	var sealed [sealedSize]byte
	copy(sealed[:16], id.ID[:])
	binary.BigEndian.PutUint64(sealed[16:24], uint64(id.Order))
	sealed[24] = byte(id.Choice)
	sum := k.mac(aboutCookie, sealed[:payloadSize])
	copy(sealed[payloadSize:], sum[:macSize])
	return base64.RawURLEncoding.AppendEncode(append(dst, prefix...), sealed[:])
}

// Open gives the identity in a cookie's value. Its errors are ErrVersion, ErrDamaged and ErrForged.
func (k Key) Open(value string) (Identity, error) {
	switch {
	case len(value) < len(prefix) || value[:len(prefix)] != prefix:
		return Identity{}, ErrVersion
	case len(value) != valueSize:
		return Identity{}, ErrDamaged
	}
	var (
		text   [valueSize]byte
		sealed [sealedSize]byte
	)
	copy(text[:], value)
	if n, err := base64.RawURLEncoding.Decode(sealed[:], text[len(prefix):]); err != nil || n != sealedSize {
		return Identity{}, ErrDamaged
	}
	sum := k.mac(aboutCookie, sealed[:payloadSize])
	if !hmac.Equal(sum[:macSize], sealed[payloadSize:]) {
		return Identity{}, ErrForged
	}
	id := Identity{
		ID:     uuid.UUID(sealed[:16]),
		Order:  vote.Order(binary.BigEndian.Uint64(sealed[16:24])),
		Choice: vote.Choice(sealed[24]),
	}
	voted := id.Order.Valid() && id.Choice.Valid()
	if id.ID == uuid.Nil || !voted && (id.Order != 0 || id.Choice != 0) {
		return Identity{}, ErrDamaged
	}
	return id, nil
}

// FromRequest finds the voter of a request. No cookie is no error: the identity is then the zero value, as it is with any
// error.
//
// It reads the header by itself, as http.Request.CookiesNamed would, but for the garbage that leaves.
func (k Key) FromRequest(r *http.Request) (Identity, error) {
	value, found := "", false
	for _, rest := range r.Header["Cookie"] {
		for rest != "" {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			name, v, _ := strings.Cut(pair, "=")
			if textproto.TrimString(name) != CookieName {
				continue
			}
			if found {
				return Identity{}, ErrDuplicate
			}
			value, found = unquoted(textproto.TrimString(v)), true
		}
	}
	if !found {
		return Identity{}, nil
	}
	return k.Open(value)
}

// unquoted is a cookie's value without the quotation marks that it may stand in (RFC 6265, section 4.1.1).
func unquoted(value string) string {
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		return value[1 : n-1]
	}
	return value
}

// cookieAttributes make a cookie that stays in a browser for a year. SameSite=Lax makes browsers leave it out of POSTs that other sites trigger:
// such a forged vote is then one of a new voter, worth no more than any visit, and cannot change the vote of the browser's owner.
// Secure is not set, since the lab serves plain HTTP.
const cookieAttributes = "; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"

// SetCookie is the value of a Set-Cookie header that has a browser carry id.
func (k Key) SetCookie(id Identity) string {
	text := make([]byte, 0, len(CookieName)+1+valueSize+len(cookieAttributes))
	text = append(append(text, CookieName...), '=')
	return string(append(k.appendSealed(text, id), cookieAttributes...))
}
