package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/swarmlab/swarmlab/lab/votes/client"
	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// noopAddr is set for the process that plays the voting app in benchmarks: what it costs is not the load's.
const noopEnv = "LOAD_TEST_NOOP"

func TestMain(m *testing.M) {
	if os.Getenv(noopEnv) != "" {
		serveNoop()
	}
	os.Exit(m.Run())
}

// serveNoop takes every vote without looking at more than it must.
func serveNoop() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	voter := uuid.NewString()
	err = fasthttp.Serve(listener, func(ctx *fasthttp.RequestCtx) {
		args := ctx.PostArgs()
		ctx.Response.Header.Set("Set-Cookie", "voter_id=v1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax")
		ctx.SetContentType("application/json")
		fmt.Fprintf(ctx, `{"vote_id":"%s","voter_id":"%s","vote":"%s","order":1234567890123456,"served_by":"frontend01"}`+"\n",
			args.Peek("vote_id"), voter, args.Peek("vote"))
	})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func startNoop(b *testing.B) string {
	b.Helper()
	server := exec.CommandContext(b.Context(), os.Args[0])
	server.Env = append(os.Environ(), noopEnv+"=1")
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Wait() }) // The context ended by then and took it along.
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return "http://" + addr[:len(addr)-1] + "/"
}

// BenchmarkRun is a whole load with its ledger against an app of another process that does nothing.
func BenchmarkRun(b *testing.B) {
	for _, change := range []float64{0, 0.5} {
		for _, connections := range []int{64, 256} {
			b.Run("change"+strconv.FormatFloat(change, 'g', -1, 64)+"/connections"+strconv.Itoa(connections), func(b *testing.B) {
				url := startNoop(b)
				id := ledger.NewRunID()
				w, err := ledger.Create(b.TempDir(), ledger.Run{ID: id})
				if err != nil {
					b.Fatal(err)
				}
				plan := Plan{URL: url, Votes: int64(b.N), Change: change, Concurrency: connections, Patience: 10 * time.Second, Seed: 1}
				b.ReportAllocs()
				b.ResetTimer()
				before := cpu(b)
				s, err := Run(context.Background(), plan, id, w, nil)
				if err != nil || s.Acknowledged != int64(b.N) {
					b.Fatal(err, s)
				}
				b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/vote")
				b.ReportMetric(s.Rate, "votes/s")
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkClients compares what casting a vote costs with three clients: ours, fasthttp's own and net/http's. All do the least that a
// voter needs: send the form and the cookie, read the receipt and the cookie.
func BenchmarkClients(b *testing.B) {
	const connections = 64
	id := ledger.NewRunID()
	for name, with := range map[string]func(url string) func(b *ballot, id uuid.UUID) error{
		"ours": func(url string) func(*ballot, uuid.UUID) error {
			l := newClient(url, address(url)).line()
			var a answer
			return func(b *ballot, id uuid.UUID) error {
				l.try(b, id, time.Now().Add(tryTimeout), &a)
				if a.verdict != taken {
					return errors.New(a.trouble)
				}
				return nil
			}
		},
		"fasthttp": func(url string) func(*ballot, uuid.UUID) error {
			l := newClient(url, address(url)).line().(*httpLine)
			hosts := &fasthttp.HostClient{Addr: address(url), MaxConns: 1}
			var a answer
			return func(b *ballot, id uuid.UUID) error {
				l.write(b, id)
				if err := hosts.DoDeadline(&l.request, &l.response, time.Now().Add(tryTimeout)); err != nil {
					return err
				}
				l.classify(b, id, &a)
				if a.verdict != taken {
					return errors.New(a.trouble)
				}
				return nil
			}
		},
		"net-http": func(url string) func(*ballot, uuid.UUID) error {
			hosts := &http.Client{Transport: &http.Transport{}, Timeout: tryTimeout}
			return func(b *ballot, id uuid.UUID) error {
				r, err := http.NewRequest(http.MethodPost, url, strings.NewReader("vote="+string(b.choice)+"&vote_id="+id.String()))
				if err != nil {
					return err
				}
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Header.Set("Accept", "application/json")
				r.AddCookie(&http.Cookie{Name: client.CookieName, Value: string(b.browser.cookie())})
				resp, err := hosts.Do(r)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				var receipt client.Receipt
				if err := json.NewDecoder(resp.Body).Decode(&receipt); err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if receipt.VoteID != id || len(resp.Cookies()) != 1 {
					return errors.New("no receipt")
				}
				return nil
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			url := startNoop(b)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu(b)
			var all sync.WaitGroup
			var n atomic.Int64
			for range connections {
				all.Go(func() {
					cast := with(url)
					who := &browser{}
					who.keep([]byte("v1." + strings.Repeat("A", 56)))
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						vote := ballot{voter: ledger.Voter(i), choice: 'a', browser: who}
						if err := cast(&vote, id.VoteID(vote.voter, 0)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/vote")
		})
	}
}

// BenchmarkOpenLoop is what the clock costs: votes that are due wake a connection each.
func BenchmarkOpenLoop(b *testing.B) {
	url := startNoop(b)
	id := ledger.NewRunID()
	w, err := ledger.Create(b.TempDir(), ledger.Run{ID: id})
	if err != nil {
		b.Fatal(err)
	}
	plan := Plan{URL: url, Votes: int64(b.N), Rate: 10000, Concurrency: 256, Patience: 10 * time.Second, Seed: 1}
	b.ResetTimer()
	before := cpu(b)
	s, err := Run(context.Background(), plan, id, w, nil)
	if err != nil || s.Acknowledged != int64(b.N) {
		b.Fatal(err, s)
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/vote")
	b.ReportMetric(s.Rate, "votes/s")
	b.ReportMetric(s.Latency.P50, "p50-ms")
	b.ReportMetric(s.Latency.P99, "p99-ms")
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}
