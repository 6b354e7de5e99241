package webvote

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"

	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// prepared is the page as it is shown and as it thanks for a vote, for every choice: rendered once, since a template takes many times as long
// as all the rest of a vote.
type prepared struct {
	shown map[vote.Choice][]byte
	saved map[vote.Choice]receiptPage
}

// receiptPage is the page after a vote: what stands before, between and after the vote's id, its voter and its order.
type receiptPage [4][]byte

// pages are buffers for the page after a vote.
var pages = sync.Pool{New: func() any { return new([]byte) }}

// prepare renders the pages. What stands for a vote's own values is text that no label of an answer contains by accident.
func prepare(render func(view) ([]byte, error)) (prepared, error) {
	const voteID, voterID, order = "\ue000vote\ue000", "\ue000voter\ue000", "\ue000order\ue000"
	p := prepared{shown: map[vote.Choice][]byte{}, saved: map[vote.Choice]receiptPage{}}
	for _, choice := range []vote.Choice{0, vote.A, vote.B} {
		var err error
		if p.shown[choice], err = render(view{Chosen: choice.String()}); err != nil {
			return prepared{}, err
		}
		if choice == 0 {
			continue
		}
		rest, err := render(view{Chosen: choice.String(), Saved: true, VoteID: voteID, VoterID: voterID, Order: order})
		if err != nil {
			return prepared{}, err
		}
		var parts receiptPage
		for i, hole := range []string{voteID, voterID, order} {
			var found bool
			if parts[i], rest, found = bytes.Cut(rest, []byte(hole)); !found || bytes.Contains(rest, []byte(hole)) {
				return prepared{}, fmt.Errorf("the page after a vote does not show once, and in this order: %s", hole)
			}
		}
		parts[3] = rest
		p.saved[choice] = parts
	}
	return p, nil
}

// append writes the page after v.
func (p receiptPage) append(dst []byte, v vote.Vote) []byte {
	dst = appendUUID(append(dst, p[0]...), v.ID)
	dst = appendUUID(append(dst, p[1]...), v.Voter)
	dst = strconv.AppendInt(append(dst, p[2]...), int64(v.Order), 10)
	return append(dst, p[3]...)
}
