package pace

import "time"

// Whoever waits for a vote gives up before who waits for them does, however slow the machine is: so the page can still say what is wrong, and
// the balancer can still ask another one, while the voter is there.

// VoterWaits is how long somebody who votes waits for the answer to one request, on any machine: a person has no more patience because a
// machine is slow. What sends votes gives up then, and sends the vote again under the same id.
const VoterWaits = 10 * time.Second

// PageWaits is how long the voting page waits for its queue to take a vote; it may take a tenth more.
func PageWaits() time.Duration { return page(factor) }

// BalancerWaits is how long the balancer waits for a voting page's answer before it asks another one.
func BalancerWaits() time.Duration { return balancer(factor) }

func page(factor time.Duration) time.Duration { return min(factor*time.Second, 7*time.Second) }

func balancer(factor time.Duration) time.Duration {
	return min(factor*3*time.Second, VoterWaits-time.Second)
}
