package console

import "strings"

var bars = []rune("▁▂▃▄▅▆▇█")

// Spark draws values, none of them negative, as bars beside each other, one for each value, or for the sum of a few so that there are
// width at most. What is not nothing is seen: only 0 is a space.
func Spark(values []int64, width int) string {
	width = max(width, 1)
	each := max(1, (len(values)+width-1)/width)
	var sums []int64
	for i, v := range values {
		if i%each == 0 {
			sums = append(sums, 0)
		}
		sums[len(sums)-1] += v
	}
	var highest int64
	for _, v := range sums {
		highest = max(highest, v)
	}
	var line strings.Builder
	for _, v := range sums {
		if v <= 0 {
			line.WriteRune(' ')
			continue
		}
		line.WriteRune(bars[min(int(float64(v)/float64(highest)*float64(len(bars))), len(bars)-1)])
	}
	return line.String()
}

// Gauge draws how much of a whole is done, 0 to 1.
func Gauge(done float64, width int) string {
	full := int(min(max(done, 0), 1) * float64(width))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
