package cli_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/fleet/fleettest"
	"github.com/swarmlab/swarmlab/lab/host/pki"
	"github.com/swarmlab/swarmlab/lab/host/settings"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
	"github.com/swarmlab/swarmlab/lab/votingapp/store"
	"github.com/swarmlab/swarmlab/lab/votingapp/testservices"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
)

// booksKey is where a script's ledgers are kept.
type booksKey struct{}

// books are the ledgers of a script, of which one at a time is written.
type books struct {
	store *store.Store
	redis *redis.Client
	run   ledger.RunID
	open  *ledger.Writer
	votes []vote.Vote
}

// ledgerCommand plays a load:
//
//	ledger new      begins the next ledger, 000000000001 and so on
//	ledger queue    something waits in a queue from now on
//	ledger cast N   N votes are cast and acknowledged, two of each voter
//	ledger count    they are all counted, and nothing waits any more
//	ledger close    the load ends
//	ledger damage   the ledger's first record is damaged
//	ledger dead KIND TEXT REASON
//	                a worker puts something of a queue aside
func ledgerCommand(ts *testscript.TestScript, _ bool, args []string) {
	fake, _ := ts.Value(labKey{}).(*fleettest.Lab)
	b, _ := ts.Value(booksKey{}).(*books)
	var err error
	switch args[0] {
	case "new":
		b.run[5]++
		b.votes = nil
		run := ledger.Run{ID: b.run, Started: time.Now(), Lab: fake.Name}
		if b.open, err = ledger.Create(fake.LedgerDir(), run); err == nil {
			ts.Defer(func() { _ = b.open.Close() })
		}
	case "cast":
		n, convErr := strconv.Atoi(args[1])
		err = errors.Join(convErr, b.cast(n))
	case "queue":
		err = b.redis.XAdd(context.Background(), &redis.XAddArgs{Stream: contract.VoteStream, Values: []string{"v", "a vote"}}).Err()
	case "count":
		_, err = b.store.Merge(context.Background(), b.votes)
		err = errors.Join(err, b.redis.Del(context.Background(), contract.VoteStream).Err())
	case "dead":
		kind, text, reason := args[1], args[2], args[3]
		if text, err = strconv.Unquote(text); err == nil {
			err = b.redis.XAdd(context.Background(), &redis.XAddArgs{Stream: contract.DeadStream, Values: []string{
				"reason", reason, "id", "1-1", "consumer", "worker01-0a", kind, text,
			}}).Err()
		}
	case "close":
		err = b.open.Close()
	case "damage":
		err = damage(ledger.Path(fake.LedgerDir(), b.run))
	default:
		ts.Fatalf("ledger %v: no such verb", args)
	}
	ts.Check(err)
}

func (b *books) cast(n int) error {
	for range n {
		i := len(b.votes)
		v, s, at := ledger.Voter(i/2), ledger.Seq(i%2), time.Duration(i+1)*time.Millisecond
		one := vote.Vote{
			ID: b.run.VoteID(v, s), Voter: uuid.NewSHA1(uuid.Nil, []byte{b.run[5], byte(v >> 8), byte(v)}),
			Choice: []vote.Choice{vote.A, vote.B}[(int(v)+int(s)+1)%2], Order: vote.Order(i + 1), Frontend: "frontend01",
		}
		o := ledger.Outcome{Kind: ledger.Acknowledged, VoterID: one.Voter, Order: int64(one.Order), ServedBy: one.Frontend}
		if err := errors.Join(b.open.Sent(v, s, byte(one.Choice), at), b.open.Answered(v, s, o, at+1)); err != nil {
			return err
		}
		b.votes = append(b.votes, one)
	}
	return nil
}

func damage(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const ofThreeVotes = 3 * (21 + 46 + len("frontend01"))
	data[len(data)-ofThreeVotes]++
	return os.WriteFile(path, data, 0o600)
}

// TestVerifyScripts runs `lab verify` against a lab whose agents have tunnels to a real Postgres and real Redises.
func TestVerifyScripts(t *testing.T) {
	t.Parallel()
	postgres := testservices.StartPostgres(t)
	queues := []*testservices.Redis{testservices.StartRedis(t), testservices.StartRedis(t)}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/verify",
		Setup: func(env *testscript.Env) error {
			fake := fleettest.New(t)
			setPace(env)
			env.Cd = fake.Dir
			env.Setenv("CLONE", fake.Dir)
			env.Values[labKey{}] = fake
			fake.Agents["store"].Hook(func(h *fleettest.Hooks) { h.Ports = map[string]string{"pg:5432": postgres.Addr} })
			fake.Agents["frontend01"].Hook(func(h *fleettest.Hooks) { h.Ports = map[string]string{"redis01:6379": queues[0].Addr} })
			fake.Agents["frontend02"].Hook(func(h *fleettest.Hooks) { h.Ports = map[string]string{"redis02:6379": queues[1].Addr} })
			if err := givePasswords(fake.Lab); err != nil {
				return err
			}
			s, err := store.Open(t.Context(), store.Config{
				Addr: postgres.Addr, User: "postgres", Password: testservices.Password, Database: "votes", Conns: 2, Name: "test",
				ConnectTimeout: time.Minute,
			})
			if err != nil {
				return err
			}
			t.Cleanup(s.Close)
			if _, err := s.Migrate(t.Context()); err != nil {
				return err
			}
			env.Values[booksKey{}] = &books{store: s, redis: queues[0].Client(t)}
			return nil
		},
		Cmds: withSQL(postgres.Conn(t, "votes")),
	})
}

// withSQL adds a command: sql TEXT changes the database manually.
func withSQL(conn *pgx.Conn) map[string]func(*testscript.TestScript, bool, []string) {
	all := commands()
	all["sql"] = func(ts *testscript.TestScript, _ bool, args []string) {
		_, err := conn.Exec(context.Background(), args[0])
		ts.Check(err)
	}
	return all
}

func givePasswords(lab *settings.Lab) error {
	var errs []error
	for _, file := range []string{pki.RedisPasswordFile, pki.PostgresPasswordFile} {
		errs = append(errs, os.WriteFile(lab.Path(filepath.FromSlash(file)), []byte(testservices.Password), 0o600))
	}
	return errors.Join(errs...)
}
