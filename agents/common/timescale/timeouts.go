package timescale

import "time"

// Whoever waits for a vote gives up before who waits for them does, however slow the machine is: so the page can still say what is wrong, and
// the balancer can still ask another one, while the voter is there.

// VoterTimeout is how long somebody who votes waits for the answer to one request, on any machine: a person has no more patience because a
// machine is slow. What sends votes gives up then, and sends the vote again under the same id.
const VoterTimeout = 10 * time.Second

// PageTimeout is how long the voting page waits for its queue to take a vote; it may take a tenth more.
func PageTimeout() time.Duration { return pageTimeout(factor) }

// BalancerTimeout is how long the balancer waits for a voting page's answer before it asks another one.
func BalancerTimeout() time.Duration { return balancerTimeout(factor) }

func pageTimeout(factor time.Duration) time.Duration { return min(factor*time.Second, 7*time.Second) }

func balancerTimeout(factor time.Duration) time.Duration {
	return min(factor*3*time.Second, VoterTimeout-time.Second)
}
