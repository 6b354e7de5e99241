package load

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/swarmlab/swarmlab/lab/votes/client"
)

const (
	// maxBody and maxHeader bound an answer; a receipt has about 200 bytes.
	maxBody   = 64 << 10
	maxHeader = 8 << 10
	// maxServedBy is what a ledger has room for.
	maxServedBy = 255
	// maxIdle is how long a connection is trusted that nobody used: less than the balancer keeps one.
	maxIdle = 5 * time.Second
)

// outcome is what one try came to.
type outcome byte

const (
	// taken: the app promised to count the vote.
	taken outcome = iota
	// rejected: it said that it never will.
	rejected
	// unsent: it cannot have heard of it.
	unsent
	// unsure: it may or may not have taken it.
	unsure
)

// answer is what came of one try. Its slices are valid until the next one of the same line.
type answer struct {
	verdict outcome
	// trouble names what went wrong, in few words, of which there are few.
	trouble string
	// pause is what the app asked to wait before the next try; 0: nothing.
	pause time.Duration

	voterID  uuid.UUID
	order    int64
	servedBy []byte
	cookie   []byte
}

// line is a connection to the app, made when it is needed. One goroutine uses it.
type line interface {
	// try sends a vote once and waits for the answer until by.
	try(b *ballot, id uuid.UUID, by time.Time, a *answer)
	close()
}

// client makes connections, and closes those that are in use when it is aborted.
type httpClient struct {
	url string
	// connect makes a connection to the app.
	connect func(ctx context.Context) (net.Conn, error)

	mu      sync.Mutex
	open    map[net.Conn]struct{}
	aborted bool
	ctx     context.Context // of dials
	cancel  context.CancelFunc
}

func newClient(url, addr string) *httpClient {
	c := &httpClient{url: url, open: map[net.Conn]struct{}{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.connect = func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", addr) }
	return c
}

func (c *httpClient) abort() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	for conn := range c.open {
		_ = conn.Close()
	}
}

func (c *httpClient) dial(by time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(c.ctx, by)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	c.open[conn] = struct{}{}
	return conn, nil
}

func (c *httpClient) hangUp(conn net.Conn) {
	c.mu.Lock()
	delete(c.open, conn)
	c.mu.Unlock()
	_ = conn.Close()
}

// httpLine is a connection that speaks HTTP/1.1 with messages read and written by fasthttp: with net/http's client a vote costs two and
// a half times as much processor time (see BenchmarkClients). fasthttp's own client costs as much as this, but does not say whether a vote
// can have left, and cannot be interrupted.
type httpLine struct {
	client    *httpClient
	conn      net.Conn
	used      time.Time
	r         *bufio.Reader
	w         *bufio.Writer
	request   fasthttp.Request
	response  fasthttp.Response
	body      []byte
	receipt   client.Receipt
	setCookie fasthttp.Cookie
}

func (c *httpClient) line() line {
	l := &httpLine{client: c, r: bufio.NewReaderSize(nil, maxHeader), w: bufio.NewWriter(nil)}
	l.request.SetRequestURI(c.url)
	l.request.Header.SetMethod(http.MethodPost)
	l.request.Header.SetContentType("application/x-www-form-urlencoded")
	l.request.Header.Set("Accept", "application/json")
	return l
}

func (l *httpLine) close() {
	if l.conn != nil {
		l.client.hangUp(l.conn)
		l.conn = nil
	}
}

func (l *httpLine) try(b *ballot, id uuid.UUID, by time.Time, a *answer) {
	*a = answer{}
	if l.conn != nil && time.Since(l.used) > maxIdle {
		l.close()
	}
	if l.conn == nil {
		var err error
		if l.conn, err = l.client.dial(by); err != nil {
			a.verdict, a.trouble = unsent, trouble(err)
			return
		}
		l.r.Reset(l.conn)
		l.w.Reset(l.conn)
	}
	l.write(b, id)
	if err := l.exchange(by); err != nil {
		l.close()
		a.verdict, a.trouble = unsure, trouble(err)
		return
	}
	l.classify(b, id, a)
	if l.response.ConnectionClose() || l.r.Buffered() > 0 {
		l.close()
		return
	}
	l.used = time.Now()
}

func (l *httpLine) write(b *ballot, id uuid.UUID) {
	l.body = append(append(l.body[:0], "vote="...), b.choice)
	l.body = append(l.body, "&vote_id="...)
	l.body = appendUUID(l.body, id)
	l.request.SetBodyRaw(l.body)
	l.request.Header.DelAllCookies()
	if b.browser != nil {
		l.request.Header.SetCookieBytesKV([]byte(client.CookieName), b.browser.cookie())
	}
}

// appendUUID does what id.String does, without an allocation.
func appendUUID(text []byte, id uuid.UUID) []byte {
	text = append(hex.AppendEncode(text, id[:4]), '-')
	text = append(hex.AppendEncode(text, id[4:6]), '-')
	text = append(hex.AppendEncode(text, id[6:8]), '-')
	text = append(hex.AppendEncode(text, id[8:10]), '-')
	return hex.AppendEncode(text, id[10:])
}

func (l *httpLine) exchange(by time.Time) error {
	if err := l.conn.SetDeadline(by); err != nil {
		return err
	}
	if err := l.request.Write(l.w); err != nil {
		return err
	}
	if err := l.w.Flush(); err != nil {
		return err
	}
	if err := l.checkStatusLine(); err != nil {
		return err
	}
	return l.response.ReadLimitBody(l.r, maxBody)
}

var errNoHTTP = errors.New("not an HTTP answer")

// checkStatusLine is needed because fasthttp takes a status line without a status for 200. An interim answer (1xx), which nobody asked
// for, is none either.
func (l *httpLine) checkStatusLine() error {
	const example = "HTTP/1.1 200"
	line, err := l.r.Peek(len(example))
	if err != nil {
		return err
	}
	digit := func(i int, lowest byte) bool { return line[i] >= lowest && line[i] <= '9' }
	if string(line[:7]) != example[:7] || line[8] != ' ' || !digit(7, '0') || !digit(9, '2') || !digit(10, '0') || !digit(11, '0') {
		return errNoHTTP
	}
	return nil
}

// classify reads the answer.
func (l *httpLine) classify(b *ballot, id uuid.UUID, a *answer) {
	status := l.response.StatusCode()
	if status != http.StatusOK {
		a.verdict, a.trouble = unsure, statusText(status)
		if client.IsRefusal(status) {
			a.verdict = rejected
		}
		if s, err := strconv.Atoi(string(l.response.Header.Peek(fasthttp.HeaderRetryAfter))); err == nil && s > 0 {
			a.pause = time.Duration(min(s, 3600)) * time.Second
		}
		return
	}
	a.verdict, a.trouble = unsure, "no receipt"
	l.receipt = client.Receipt{}
	if err := json.Unmarshal(l.response.Body(), &l.receipt); err != nil {
		return
	}
	r := &l.receipt
	if r.VoteID != id || len(r.Vote) != 1 || r.Vote[0] != b.choice || r.VoterID == uuid.Nil || len(r.ServedBy) > maxServedBy {
		a.trouble = "a receipt for another vote"
		return
	}
	a.verdict, a.trouble = taken, ""
	a.voterID, a.order, a.servedBy = r.VoterID, r.Order, []byte(r.ServedBy)
	if set := l.response.Header.PeekCookie(client.CookieName); len(set) > 0 && l.setCookie.ParseBytes(set) == nil {
		a.cookie = l.setCookie.Value()
	}
}

func statusText(status int) string {
	if status < 100 || status > 599 {
		return "a status that is none"
	}
	return "status " + strconv.Itoa(status)
}

// trouble names an error of the network.
func trouble(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return "connection closed"
	case errors.As(err, new(*net.OpError)):
		return "no connection"
	default:
		return "no HTTP"
	}
}
