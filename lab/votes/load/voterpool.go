package load

import (
	"errors"
	"math"
	"math/rand/v2"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

var errNoVoters = errors.New("there are no more numbers for voters")

// ballot is one vote before it is cast.
type ballot struct {
	voter  ledger.Voter
	seq    ledger.Seq
	choice byte
	// browser is nil for a voter who votes for the first time.
	browser *browser
	slot    uint32 // of browser
}

// voterPool decides who votes next and keeps their browsers. Not safe for concurrent use, but for the browsers: one belongs to whoever
// holds its ballot.
type voterPool struct {
	random *rand.Rand
	seed   uint64
	change float64
	// votes and newcomers still to come; -1: no end.
	votes, newcomers int64
	// next is the number of the next voter, counting in 64 bits to see the end.
	next uint64
	// remember: somebody will vote twice.
	remember bool

	browsers browsers
	// idle are the slots of those who may vote again, voting is how many ballots are out.
	idle   []uint32
	voting int
}

func newVoterPool(p Plan) *voterPool {
	e := &voterPool{
		random: rand.New(rand.NewPCG(p.Seed, 0)), seed: p.Seed, change: p.Change,
		votes: p.Votes, newcomers: p.newcomers(),
	}
	if p.Votes == 0 {
		e.votes = -1
	}
	e.remember = p.Change > 0 || e.newcomers >= 0 && e.newcomers != e.votes
	return e
}

// turn is what draw has to say.
type turn int

const (
	// vote: a ballot was drawn.
	voteNow turn = iota
	// wait: all who could vote are voting; ask again when one is back.
	waitForVoter
	// over: all votes were drawn.
	allDrawn
)

// draw gives the next ballot. It must come back, by done.
func (e *voterPool) draw() (ballot, turn, error) {
	if e.votes == 0 {
		return ballot{}, allDrawn, nil
	}
	newcomer := e.drawNewcomer()
	if !newcomer && len(e.idle) == 0 {
		// Who would vote again is voting. Someone new does as well, if there is one; and if nobody can come back, someone must.
		newcomer = e.newcomers != 0 || e.voting == 0
		if !newcomer {
			return ballot{}, waitForVoter, nil
		}
	}
	var b ballot
	if newcomer {
		if e.next > math.MaxUint32 {
			return ballot{}, allDrawn, errNoVoters
		}
		b.voter = ledger.Voter(e.next)
		e.next++
		if e.newcomers > 0 {
			e.newcomers--
		}
	} else {
		i := e.random.IntN(len(e.idle))
		last := len(e.idle) - 1
		b.slot = e.idle[i]
		e.idle[i] = e.idle[last]
		e.idle = e.idle[:last]
		b.browser = e.browsers.at(b.slot)
		b.voter, b.seq = b.browser.voter, b.browser.seq
	}
	b.choice = choose(e.seed, b.voter, b.seq)
	if e.votes > 0 {
		e.votes--
	}
	e.voting++
	return b, voteNow, nil
}

// drawNewcomer decides whether the next voter is a new one. With an end in sight it is selection sampling (Knuth, TAOCP 3.4.2, algorithm S): the
// newcomers are spread evenly over all votes, and none is left at the end.
func (e *voterPool) drawNewcomer() bool {
	switch {
	case e.newcomers == 0:
		return false
	case e.votes < 0:
		return e.random.Float64() >= e.change
	default:
		return e.random.Int64N(e.votes) < e.newcomers
	}
}

// choose is a or b, the same for the same vote of the same seed.
func choose(seed uint64, v ledger.Voter, s ledger.Seq) byte {
	source := rand.NewPCG(seed, uint64(v)<<24|uint64(s))
	return 'a' + byte(source.Uint64()>>63)
}

// done takes a ballot back. The voter votes again only if the browser has a cookie, so that it is the same voter to the app: set by the answer
// if there was one, else the one from before.
func (e *voterPool) done(b ballot, a *answer) {
	e.voting--
	if !e.remember || b.seq == ledger.MaxSeq {
		return
	}
	seen := a.verdict == taken
	if b.browser == nil {
		if !seen || len(a.cookie) == 0 {
			return
		}
		b.browser, b.slot = e.browsers.add()
		b.browser.voter, b.browser.who = b.voter, shorten(a.voterID)
	} else if seen && shorten(a.voterID) != b.browser.who {
		return // One browser is one voter: this one is none any more.
	}
	if seen && len(a.cookie) > 0 && !b.browser.keep(a.cookie) {
		return
	}
	b.browser.seq = b.seq + 1
	e.idle = append(e.idle, b.slot)
}

// maxCookie is the length of the longest cookie that is kept. The app's have 59 characters.
const maxCookie = 63

// browser is what a voter's browser knows between two votes, in 80 bytes without a pointer: there may be millions.
type browser struct {
	voter  ledger.Voter
	seq    ledger.Seq
	who    who
	length uint8
	value  [maxCookie]byte
}

// who is enough of a voter's id at the app to see that it became another one.
type who [8]byte

func shorten(id uuid.UUID) who { return who(id[8:]) }

func (b *browser) cookie() []byte { return b.value[:b.length] }

// keep is false for a cookie that is too long.
func (b *browser) keep(cookie []byte) bool {
	if len(cookie) > maxCookie {
		return false
	}
	b.length = uint8(copy(b.value[:], cookie))
	return true
}

// browsers are many browsers that never move.
type browsers struct {
	chunks []*[chunk]browser
	used   uint32
}

const chunk = 4096

func (b *browsers) at(slot uint32) *browser { return &b.chunks[slot/chunk][slot%chunk] }

func (b *browsers) add() (*browser, uint32) {
	slot := b.used
	if slot%chunk == 0 {
		b.chunks = append(b.chunks, new([chunk]browser))
	}
	b.used++
	return b.at(slot), slot
}
