// Package timescale slows down what runs on a machine that is slow: one whose processor is emulated needs twenty times as long for everything.
// There an agent that gives up and tries again as soon as elsewhere never gets anything done, and six that look around as often as elsewhere
// leave a host no time for anything else. Nor do a balancer, a voting page and a worker that take each other for dead after a second: each
// such error is tried again and makes the machine slower still. Whatever they do again and again they do less often there, and whatever they
// wait for they wait for longer, by one factor. What was promised to somebody outside is not stretched: the leases of faults above all, and how
// long a voter waits.
package timescale

import (
	"os"
	"strconv"
	"time"
)

// Variable is the environment variable with the factor, a whole number from 1 to slowest. provision.sh sets it for the agent, which hands it
// on to its role's plugin, and puts it into the images of the voting app, which it builds. Anything else, and nothing, means 1.
const Variable = "SWARMLAB_TIMESCALE"

// slowest is the largest factor.
const slowest = 100

// factor is that of this process.
var factor = parse(os.Getenv(Variable))

func parse(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > slowest {
		return 1
	}
	return time.Duration(n)
}

// Factor is how many times longer this machine takes for everything than others do.
func Factor() int { return int(factor) }

// Scale returns how long this machine takes for what takes others d.
func Scale(d time.Duration) time.Duration { return d * factor }
