package vote

import "time"

// Order is a reading of the hybrid logical clock: milliseconds since 1970 in the upper bits, a counter in the lower ten. It fits the
// 53 bits that JSON numbers keep exact.
type Order int64

const (
	counterBits = 10

	// MaxOrder is the highest Order that is ever valid.
	MaxOrder Order = 1<<53 - 1

	// latestMillis is the first millisecond of the year 2200. A machine's clock is not believed beyond it, which leaves
	// room for 10^15 more votes: no clock, however wrong, can push a voter to MaxOrder.
	latestMillis = 7_258_118_400_000
)

// Next gives the order of a voter's next vote: max(arrived, seen) + 1, where arrived is when it came in, by whichever clock, and seen
// is the order of the voter's last vote (0 for none). A later vote thus always has the higher order, whatever the clocks
// say, and needs no clock synchronisation.
//
// The drift is bounded: an order runs ahead of the true time only as far as the furthest wrong clock that the voter has met, and then
// by one step per vote. An order ahead of the clock is nevertheless honoured; refusing it would either let an older vote
// win or make a second voter out of the first.
func Next(arrived time.Time, seen Order) Order {
	millis := min(max(arrived.UnixMilli(), 0), latestMillis)
	return min(max(Order(millis)<<counterBits, seen)+1, MaxOrder)
}

// Valid tells whether o can have come out of [Next].
func (o Order) Valid() bool { return o > 0 && o <= MaxOrder }

// Time is the physical part of o.
func (o Order) Time() time.Time { return time.UnixMilli(int64(o >> counterBits)) }
