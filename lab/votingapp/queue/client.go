package queue

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// Timeout bounds one exchange with Redis: a Redis that has not answered by then counts as away.
var Timeout = timescale.Scale(time.Second)

// poolSize is far more connections than are ever used; they are made when they are needed. After as many dials that failed,
// the library's pool tries by itself once a second and refuses in between, so a small pool would be slow to notice that Redis is back.
const poolSize = 256

// Dial prepares a client for the Redis at addr (host:port). Contexts bound every exchange, in addition to [Timeout].
func Dial(addr, password string) *redis.Client { return DialWithin(addr, password, Timeout) }

// DialWithin is Dial with another timeout than [Timeout]. It holds for whatever uses the client: [Writer], [Reader] and [Prober].
func DialWithin(addr, password string, timeout time.Duration) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:                  addr,
		Password:              password,
		PoolSize:              poolSize,
		DialTimeout:           timeout / 2,
		DialerRetries:         1,
		ReadTimeout:           timeout,
		WriteTimeout:          timeout,
		PoolTimeout:           timeout,
		ContextTimeoutEnabled: true,
		// Trying again is decided where the cost of it is known: the writer answers 503, the reader backs off.
		MaxRetries: -1,
		// One round trip at connecting, not three.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// timeoutOf is the timeout that a client was dialled with.
func timeoutOf(client *redis.Client) time.Duration { return client.Options().ReadTimeout }

// LogTo sends what the Redis library logs by itself to log, at level debug: whatever matters comes back as an error as well. It holds
// for the whole process, hence it is for main to call.
func LogTo(log *slog.Logger) { redis.SetLogger(logger{log}) }

type logger struct{ *slog.Logger }

// Printf is what the library calls.
func (l logger) Printf(ctx context.Context, format string, v ...any) {
	l.DebugContext(ctx, "redis library", "message", fmt.Sprintf(format, v...))
}
