package discovery

import (
	"slices"
	"strings"
	"time"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

// hold is how long an instance must be missing from what an answering Consul lists before it is given up.
type hold struct {
	// deregistered: Consul has not lost its data since it listed the instance, so somebody deregistered it. Its own node would have
	// registered it again within Interval if that was a mistake.
	deregistered time.Duration
	// lost: Consul has lost its data since. The instance is given up only if, besides, it does not answer.
	lost time.Duration
}

// entry is what is known of an instance.
type entry struct {
	Service string `json:"service"`
	ID      string `json:"id"`
	Node    string `json:"node"`
	Address string `json:"address"`
	Port    uint32 `json:"port"`
	// Incarnation is the Consul that listed the instance: its id of its own node, made with its data and lost with it.
	Incarnation string `json:"incarnation"`

	// missing is since when Consul answers without it; zero while it is listed. Not kept: the count begins anew with the agent.
	missing time.Time
}

func (e entry) instance() *rolev1.Instance {
	return &rolev1.Instance{Service: e.Service, Id: e.ID, Node: e.Node, Address: e.Address, Port: e.Port}
}

func byID(a, b entry) int { return strings.Compare(a.ID, b.ID) }

// answer is what Consul says of a service.
type answer struct {
	incarnation string
	listed      []entry
}

// merge decides what is known of a service after an answer: what is listed, at once; and what was known before, as long as there is no
// good reason to give it up. doubtful are the known instances that are given up unless they answer when asked; next includes them.
// Whether a check passes does not matter: a TTL that ran out says that Consul was away, or the agent was; whether the instance works
// is for those to find out who use it.
func (h hold) merge(known []entry, a answer, now time.Time) (next, doubtful []entry) {
	next = slices.Clone(a.listed)
	for _, k := range known {
		if slices.ContainsFunc(a.listed, func(l entry) bool { return l.ID == k.ID }) {
			continue
		}
		if k.missing.IsZero() {
			k.missing = now
		}
		missing := now.Sub(k.missing)
		if k.Incarnation == a.incarnation && missing >= h.deregistered {
			continue
		}
		if missing >= h.lost {
			doubtful = append(doubtful, k)
		}
		next = append(next, k)
	}
	slices.SortFunc(next, byID)
	return next, doubtful
}

// unanswered is what is known of a service after Consul failed to answer: the same; and time without an answer is no time missing.
func unanswered(known []entry) []entry {
	next := slices.Clone(known)
	for i := range next {
		next[i].missing = time.Time{}
	}
	return next
}

// wait is how long to wait for news, at most: block, or until the next instance may have to be given up.
func (h hold) wait(known []entry, now time.Time, block time.Duration) time.Duration {
	w := block
	for _, k := range known {
		if k.missing.IsZero() {
			continue
		}
		missing := now.Sub(k.missing)
		for _, limit := range []time.Duration{h.deregistered, h.lost} {
			if missing < limit {
				w = min(w, limit-missing)
			}
		}
	}
	return max(w, time.Second)
}
