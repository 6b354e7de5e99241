package load

import (
	"fmt"
	"math"
	"net/url"
	"time"
)

// Bounds of a plan.
const (
	// MaxVotes keeps the numbers of voters within 32 bits.
	MaxVotes       = 1_000_000_000
	MaxRate        = 1_000_000
	minRate        = 0.01
	MaxConcurrency = 10_000
	// MaxPatience is long enough for any outage that somebody waits for the end of.
	MaxPatience = time.Hour
)

// Plan says how many votes are cast, by whom and how fast.
type Plan struct {
	// URL of the voting page, http://host:port/.
	URL string `json:"url"`
	// Votes is how many votes are cast, MaxVotes at most; 0: until the context ends.
	Votes int64 `json:"votes"`
	// Voters is how many different voters there are at most; 0: as many as votes need. A voter who cannot go on, since their first vote got
	// no answer and so no cookie, is replaced by another one.
	Voters int `json:"voters"`
	// Change is the share of votes, 0 to 1, that come from a voter who voted before. It is larger if there are not voters enough.
	Change float64 `json:"change"`
	// Rate is how many votes are cast a second, evenly spaced, whatever becomes of them (open loop); 0: each as soon as the one before
	// it on its connection was answered (closed loop).
	Rate float64 `json:"rate"`
	// Concurrency is how many connections there are, so how many votes are on their way at once.
	Concurrency int `json:"concurrency"`
	// Patience is how long a vote is tried, again and again, until it counts as unknown.
	Patience time.Duration `json:"patience_ns"`
	// Seed decides who votes for what. When who votes depends on the answers' timing as well.
	Seed uint64 `json:"seed"`
	// Abort, when closed, gives up the votes that are on their way.
	Abort <-chan struct{} `json:"-"`
}

// Validate says what is wrong with the plan, beginning with the field's name in lower case.
func (p Plan) Validate() error {
	u, err := url.Parse(p.URL)
	switch {
	case err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("url %q: give the address of the voting page, as http://127.0.0.1:8080/", p.URL)
	case p.Votes < 0 || p.Votes > MaxVotes:
		return fmt.Errorf("votes %d: give 1 to %d", p.Votes, int64(MaxVotes))
	case p.Voters < 0 || p.Voters > MaxVotes:
		return fmt.Errorf("voters %d: give 1 to %d", p.Voters, int64(MaxVotes))
	case p.Votes > 0 && int64(p.Voters) > p.Votes:
		return fmt.Errorf("voters %d: there are only %d votes", p.Voters, p.Votes)
	case math.IsNaN(p.Change) || p.Change < 0 || p.Change > 1:
		return fmt.Errorf("change %g: give a share of the votes, 0 to 1", p.Change)
	case p.Rate != 0 && !(p.Rate >= minRate && p.Rate <= MaxRate):
		return fmt.Errorf("rate %g: give %g to %d votes a second, or 0 for as fast as they are answered", p.Rate, minRate, MaxRate)
	case p.Concurrency < 1 || p.Concurrency > MaxConcurrency:
		return fmt.Errorf("concurrency %d: give 1 to %d connections", p.Concurrency, MaxConcurrency)
	case p.Patience <= 0 || p.Patience > MaxPatience:
		return fmt.Errorf("patience %s: give a time up to %s", p.Patience, MaxPatience)
	}
	return nil
}

// newcomers is how many of the plan's voters vote for the first time during it; -1: no end.
func (p Plan) newcomers() int64 {
	voters := int64(p.Voters)
	if p.Votes == 0 {
		if voters == 0 {
			return -1
		}
		return voters
	}
	n := max(1, int64(math.Round(float64(p.Votes)*(1-p.Change))))
	if voters > 0 {
		n = min(n, voters)
	}
	return n
}
