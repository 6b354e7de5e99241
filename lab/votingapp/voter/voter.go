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
	"net/http"

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
type Key struct{ secret []byte }

// ParseKey reads a key of 64 hexadecimal digits (32 bytes).
func ParseKey(s string) (Key, error) {
	secret, err := hex.DecodeString(s)
	if err != nil || len(secret) != sha256.Size {
		return Key{}, fmt.Errorf("the voter key must be %d hexadecimal digits, not %d characters", 2*sha256.Size, len(s))
	}
	return Key{secret: secret}, nil
}

func (k Key) mac(about string, message []byte) [sha256.Size]byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte(about))
	h.Write(message)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
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
func (k Key) VoteID(request string) uuid.UUID { return k.derive(aboutVote, []byte(request)) }

// VoterID derives the id of a first-time voter from the id of their first vote, so that a retry of that vote, before the
// voter has got a cookie, does not make a second voter.
func (k Key) VoterID(voteID uuid.UUID) uuid.UUID { return k.derive(aboutVoter, voteID[:]) }

// Seal gives the value of the cookie that carries id.
func (k Key) Seal(id Identity) string {
	var sealed [sealedSize]byte
	copy(sealed[:16], id.ID[:])
	binary.BigEndian.PutUint64(sealed[16:24], uint64(id.Order))
	sealed[24] = byte(id.Choice)
	sum := k.mac(aboutCookie, sealed[:payloadSize])
	copy(sealed[payloadSize:], sum[:macSize])
	value := make([]byte, valueSize)
	copy(value, prefix)
	base64.RawURLEncoding.Encode(value[len(prefix):], sealed[:])
	return string(value)
}

// Open gives the identity in a cookie's value. Its errors are ErrVersion, ErrDamaged and ErrForged.
func (k Key) Open(value string) (Identity, error) {
	switch {
	case len(value) < len(prefix) || value[:len(prefix)] != prefix:
		return Identity{}, ErrVersion
	case len(value) != valueSize:
		return Identity{}, ErrDamaged
	}
	var sealed [sealedSize]byte
	if n, err := base64.RawURLEncoding.Decode(sealed[:], []byte(value[len(prefix):])); err != nil || n != sealedSize {
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
func (k Key) FromRequest(r *http.Request) (Identity, error) {
	switch cookies := r.CookiesNamed(CookieName); len(cookies) {
	case 0:
		return Identity{}, nil
	case 1:
		return k.Open(cookies[0].Value)
	default:
		return Identity{}, ErrDuplicate
	}
}

// Cookie carries id in a browser for a year. SameSite=Lax makes browsers leave it out of POSTs that other sites trigger: such
// a forged vote is then one of a new voter, worth no more than any visit, and cannot change the vote of the browser's owner.
// Secure is not set, since the lab serves plain HTTP.
func (k Key) Cookie(id Identity) *http.Cookie {
	return &http.Cookie{
		Name:     CookieName,
		Value:    k.Seal(id),
		Path:     "/",
		MaxAge:   365 * 24 * 60 * 60,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	}
}
