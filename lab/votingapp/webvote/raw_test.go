package webvote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/swarmlab/swarmlab/lab/votingapp/service"
	"github.com/swarmlab/swarmlab/lab/votingapp/vote"
	"github.com/swarmlab/swarmlab/lab/votingapp/voter"
)

// journal remembers what the server complains about: it survives a panic in a handler, a test must not.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// startRaw serves the app as the program does, and returns the address.
func startRaw(t testing.TB, q *fakeQueue, complaints io.Writer) string {
	t.Helper()
	log := slog.New(slog.NewTextHandler(complaints, &slog.HandlerOptions{Level: slog.LevelDebug}))
	app, err := New(Config{Frontend: "frontend01", OptionA: "Cats", OptionB: "Dogs", Key: testKey(t)}, q, q, prometheus.NewRegistry(), log)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := service.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := service.Serve(ctx, service.Server(app, log), listener, service.Drain{Finish: 2 * time.Minute}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		serving.Wait()
	})
	return listener.Addr().String()
}

// exchange sends bytes on a connection of their own and returns all that comes back. whole is false if the server hung up on what it had
// not read: the client's system may then throw away answers.
func exchange(t *testing.T, addr string, sent []byte) (got []byte, whole bool) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, sending := conn.Write(sent)
	_ = conn.(*net.TCPConn).CloseWrite()
	got, err = io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the server neither answers nor hangs up")
	}
	return got, sending == nil && err == nil
}

// acknowledged tells whether an answer says that a vote was saved.
func acknowledged(status int, body []byte) bool {
	if status != http.StatusOK {
		return false
	}
	var saved struct {
		VoteID uuid.UUID `json:"vote_id"`
	}
	if json.Unmarshal(body, &saved) == nil {
		return saved.VoteID != uuid.Nil
	}
	return bytes.Contains(body, []byte("is saved."))
}

// FuzzServer sends arbitrary bytes to the whole server. Whatever they are: it does not panic, it answers in HTTP with a status that
// makes sense, and says that a vote is saved as often as one was.
func FuzzServer(f *testing.F) {
	alice := voter.Identity{ID: uuid.MustParse(someID), Order: 1 << 50, Choice: vote.B}
	const form = "Host: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /healthz HTTP/1.0\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: x\r\nCookie: " + asCookie(f, alice) + "\r\n\r\n",
		"POST / HTTP/1.1\r\n" + form + "Content-Length: 6\r\n\r\nvote=a",
		"POST / HTTP/1.1\r\n" + form + "Accept: application/json\r\nCookie: " + asCookie(f, alice) +
			"\r\nContent-Length: 51\r\n\r\nvote=b&vote_id=" + someID,
		"POST / HTTP/1.1\r\n" + form + "Transfer-Encoding: chunked\r\n\r\n4\r\nvote\r\n2\r\n=b\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" + form + "Expect: 100-continue\r\nContent-Length: 6\r\n\r\nvote=a",
		"POST / HTTP/1.1\r\n" + form + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\nvote=a",
		"POST / HTTP/1.1\r\n" + form + "Content-Length: 6\r\nContent-Length: 7\r\n\r\nvote=a",
		"POST / HTTP/1.1\r\n" + form + "Content-Length: 9999\r\n\r\nvote=a",
		"POST / HTTP/1.1\r\n" + form + "Content-Length: -1\r\n\r\nvote=a",
		"POST / HTTP/1.1\r\n" + form + "Content-Length: 6\r\n\r\nvote=aPOST / HTTP/1.1\r\n" + form + "Content-Length: 6\r\n\r\nvote=b",
		"POST //../ HTTP/1.1\r\n" + form + "Content-Length: 6\r\n\r\nvote=a",
		"POST http://x/ HTTP/1.1\r\n" + form + "Content-Length: 6\r\n\r\nvote=a",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"\r\n\r\n", "\x16\x03\x01\x02\x00", "GET / HTTP/9.9\r\n\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	q := &fakeQueue{}
	complaints := &journal{}
	addr := startRaw(f, q, complaints)
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, whole := exchange(t, addr, sent)
		if said := complaints.take(); strings.Contains(said, "panic") {
			t.Fatal(said)
		}
		acks := 0
		for answers := bufio.NewReader(bytes.NewReader(got)); ; {
			if _, err := answers.Peek(1); err != nil {
				break
			}
			status, body, err := readAnswer(answers)
			if err != nil {
				t.Fatalf("not HTTP: %v:\n%s", err, got)
			}
			switch status {
			case 100, 200, 301, 307, 400, 404, 405, 408, 413, 415, 417, 431, 501, 503, 505:
			default:
				t.Fatalf("status %d", status)
			}
			if acknowledged(status, body) {
				acks++
			}
		}
		if votes := q.taken(); acks > len(votes) || whole && acks < len(votes) {
			t.Fatalf("%d votes were acknowledged, %d captured: %v\n%s", acks, len(votes), votes, got)
		}
	})
}

// readAnswer reads one answer. That to a HEAD announces a body, but has none: after its header comes the next answer, or the end.
func readAnswer(r *bufio.Reader) (status int, body []byte, err error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, nil, err
	}
	if next, _ := r.Peek(5); resp.ContentLength > 0 && (len(next) == 0 || string(next) == "HTTP/") {
		return resp.StatusCode, nil, nil
	}
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}
