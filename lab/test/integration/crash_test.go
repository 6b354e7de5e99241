//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Workers, web-vote-apps, Redis and Postgres are killed at random moments under votes, one after the other, and no vote is lost, counted
// twice or beaten by an older one.
func TestCrashesUnderVotes(t *testing.T) {
	l := open(t)
	kills := 2
	if l.emulated {
		kills = 1
	}
	l.crashesUnderVotes(t, kills)
}

// crashesUnderVotes kills each kind of container so often.
func (l *lab) crashesUnderVotes(t *testing.T, kills int) {
	t.Helper()
	seed := newSeed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	kinds := [][]place{nil, nil, nil, {{node: "store", container: "pg"}}}
	for _, p := range l.places() {
		switch {
		case strings.HasPrefix(p.container, "redis"):
			kinds[0] = append(kinds[0], p)
		case slices.Contains(l.nodesOf("frontend"), p.container):
			kinds[1] = append(kinds[1], p)
		case slices.Contains(l.nodesOf("worker"), p.container):
			kinds[2] = append(kinds[2], p)
		}
	}
	var victims []place
	for _, kind := range kinds {
		for range kills {
			victims = append(victims, kind[random.IntN(len(kind))])
		}
	}
	random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })

	votes := l.tryOut(t, seed, 0)
	killed := map[string]int{}
	began := time.Now()
	for _, v := range victims {
		// Half a second of votes at most: some die while the one before still finds its feet.
		votes.more(t, l, random.Int64N(int64(l.rate/2)))
		l.crash(t, v.node, v.container)
		killed[v.container]++
	}
	t.Logf("%d kills in %.0f s: %v", len(victims), time.Since(began).Seconds(), killed)
	l.waitReady(t)
	votes.pass(t, l)
}

// Postgres is restarted while the worker's transaction waits in the middle of a batch.
func TestPostgresRestartsMidBatch(t *testing.T) { open(t).postgresRestartsMidBatch(t, 1) }

func (l *lab) postgresRestartsMidBatch(t *testing.T, times int) {
	t.Helper()
	votes := l.tryOut(t, newSeed(t), 0)
	for range times {
		release := l.holdVotes(t)
		l.waitDelivered(t)
		votes.more(t, l, int64(l.rate)/2)
		l.mustOnNode(t, "store", "docker", "restart", "pg")
		release()
		votes.more(t, l, int64(l.rate)/2)
	}
	l.waitReady(t)
	votes.pass(t, l)
}

// waitDelivered waits until a worker holds votes.
func (l *lab) waitDelivered(t *testing.T) {
	t.Helper()
	c := l.datastore(t)
	waitFor(t, l.patience, "a worker holds a batch", func(ctx context.Context) error {
		for _, q := range c.Queues(ctx) {
			if q.Err == nil && q.Delivered > 0 {
				return nil
			}
		}
		return errors.New("none does")
	})
}

// Two workers share the queues. One is frozen with a batch in its hands for longer than its lease, and wakes up to find it counted.
func TestAFrozenWorkerDoesNoHarm(t *testing.T) {
	l := open(t)
	const second = "worker99"
	// A worker that reads asks again after a second at the latest; on a slow machine that takes longer, and a frozen one never does.
	const readAgain = 15 * time.Second
	l.startWorker(t, second)
	var queues []*redis.Client
	for i := range l.Frontends {
		queues = append(queues, l.redis(t, i+1))
	}
	// reads tells whether a worker asked for votes just now, at all queues.
	reads := func(worker string) func(context.Context) error {
		return func(ctx context.Context) error {
			runs, err := consumers(ctx, queues, worker)
			if err != nil {
				return err
			}
			fresh := 0
			for _, c := range runs {
				if c.Idle < readAgain {
					fresh++
				}
			}
			if fresh < len(queues) {
				return fmt.Errorf("%s reads %d of %d queues", worker, fresh, len(queues))
			}
			return nil
		}
	}
	holds := func(worker string) func(context.Context) (int64, error) {
		return func(ctx context.Context) (n int64, err error) {
			runs, err := consumers(ctx, queues, worker)
			for _, c := range runs {
				n += c.Pending
			}
			return n, err
		}
	}
	votes := l.tryOut(t, newSeed(t), 0)
	waitFor(t, l.patience, "both workers read", func(ctx context.Context) error {
		return errors.Join(reads("worker01")(ctx), reads(second)(ctx))
	})

	release := l.holdVotes(t)
	waitFor(t, l.patience, "worker01 holds votes", func(ctx context.Context) error {
		n, err := holds("worker01")(ctx)
		if err == nil && n == 0 {
			err = errors.New("it does not")
		}
		return err
	})
	l.mustOnNode(t, "worker01", "docker", "pause", "worker01")
	t.Cleanup(func() { _, _ = l.onNode(context.Background(), "worker01", "docker", "unpause", "worker01") })
	release()
	took := waitFor(t, l.patience, "the other worker takes over", func(ctx context.Context) error {
		n, err := holds("worker01")(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("worker01 still holds %d", n)
		}
		return err
	})
	t.Logf("its votes were taken over after %.1f s", took.Seconds())
	votes.more(t, l, int64(l.rate))
	l.mustOnNode(t, "worker01", "docker", "unpause", "worker01")
	waitFor(t, l.patience, "worker01 reads again", reads("worker01"))
	votes.more(t, l, int64(l.rate))
	l.waitReady(t)
	votes.pass(t, l)
}

// startWorker starts one more worker manually beside worker01, like it but for its name and number, and removes it with the test.
func (l *lab) startWorker(t *testing.T, name string) {
	t.Helper()
	inspect := func(format string) []string {
		return strings.Fields(l.mustOnNode(t, "worker01", "docker", "inspect", "-f", format, "worker01"))
	}
	args := []string{"docker", "run", "-d", "--name", name, "--network", "mynet"}
	for _, mount := range inspect("{{range .Mounts}}{{.Source}}:{{.Destination}}:ro {{end}}") {
		args = append(args, "-v", mount)
	}
	for _, variable := range inspect("{{range .Config.Env}}{{.}} {{end}}") {
		if !strings.HasPrefix(variable, "WORKER_NUMBER=") {
			args = append(args, "-e", variable)
		}
	}
	args = append(args, "-e", "WORKER_NUMBER="+strings.TrimPrefix(name, "worker"))
	t.Cleanup(func() {
		if _, err := l.onNode(context.Background(), "worker01", "docker", "rm", "-f", name); err != nil {
			t.Error(err)
		}
	})
	l.mustOnNode(t, "worker01", append(args, inspect("{{.Config.Image}}")...)...)
}
