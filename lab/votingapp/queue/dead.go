package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/swarmlab/swarmlab/agents/common/contract"
)

// DeadLetter is what a worker put aside because it can never be counted.
type DeadLetter struct {
	// At is when, by Redis' clock.
	At time.Time `json:"at"`
	// Entry is the id that the entry had in the stream, Consumer who put it aside, and Reason why.
	Entry    string `json:"entry"`
	Consumer string `json:"consumer"`
	Reason   string `json:"reason"`
	// Kind is "vote" or "entry": what Text is, as it was. Text may hold anything, and as much as somebody put into the stream.
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// deadPage bounds what is asked of Redis at a time.
const deadPage = 100

// DeadLetters reads the latest dead letters, at most max, the latest first; total is how many there are.
func DeadLetters(ctx context.Context, client redis.Cmdable, maximum int) (letters []DeadLetter, total int64, err error) {
	if total, err = client.XLen(ctx, contract.DeadStream).Result(); err != nil {
		return nil, 0, fmt.Errorf("count dead letters: %w", err)
	}
	for end := "+"; len(letters) < maximum; {
		page, err := client.XRevRangeN(ctx, contract.DeadStream, end, "-", int64(min(maximum-len(letters), deadPage))).Result()
		if err != nil {
			return nil, 0, fmt.Errorf("read dead letters: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			letters = append(letters, readLetter(m))
		}
		end = "(" + page[len(page)-1].ID
	}
	return letters, total, nil
}

// readLetter takes whatever is in the stream: nothing that was put there manually may keep the others from being read.
func readLetter(m redis.XMessage) DeadLetter {
	take := func(name string) string {
		text, _ := m.Values[name].(string)
		delete(m.Values, name)
		return text
	}
	millis, _, _ := strings.Cut(m.ID, "-")
	n, _ := strconv.ParseInt(millis, 10, 64) // Redis' ids are numbers.
	l := DeadLetter{At: time.UnixMilli(n), Entry: take("id"), Consumer: take("consumer"), Reason: take("reason")}
	switch rest := slices.Sorted(maps.Keys(m.Values)); {
	case len(rest) == 1 && (rest[0] == kindVote || rest[0] == kindEntry):
		l.Kind, l.Text = rest[0], take(rest[0])
	default:
		l.Kind, l.Text = kindEntry, fieldsText(m.Values)
	}
	return l
}

// fieldsText shows an entry that is not the writer's.
func fieldsText(fields map[string]any) string {
	var text []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text = append(text, fmt.Sprintf("%s=%q", name, fields[name]))
	}
	return strings.Join(text, " ")
}
