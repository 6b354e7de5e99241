package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// deaf is a connection to somebody who says the same whatever is asked, and hangs up.
type deaf struct {
	net.Conn
	says io.Reader
}

func (d deaf) Read(p []byte) (int, error) { return d.says.Read(p) }
func (deaf) Write(p []byte) (int, error)  { return len(p), nil }
func (deaf) Close() error                 { return nil }
func (deaf) SetDeadline(time.Time) error  { return nil }

const (
	someVote  = `{"vote_id":"01020304-0506-8000-8000-000000000007","voter_id":"0b7e1f9e-6c55-4c0a-9f0e-3a1d2c4b5e6f","vote":"a","order":1234567890123456,"served_by":"frontend01"}`
	someValue = "v1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

var someRun = ledger.RunID{1, 2, 3, 4, 5, 6}

func ok(headers, body string) string {
	return "HTTP/1.1 200 OK\r\n" + headers + "\r\n" + body
}

// hear is what a line makes of what the app says.
func hear(says []byte) answer {
	c := newClient("http://votingapp.local/", "")
	defer c.abort()
	c.connect = func(context.Context) (net.Conn, error) { return deaf{says: bytes.NewReader(says)}, nil }
	l := c.line()
	defer l.close()
	var a answer
	l.try(&ballot{voter: 0, seq: 7, choice: 'a'}, someRun.VoteID(0, 7), time.Now().Add(time.Minute), &a)
	return a
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	length := fmt.Sprintf("Content-Length: %d\r\n", len(someVote))
	cookie := "Set-Cookie: voter_id=" + someValue + "; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax\r\n"
	for name, tt := range map[string]struct {
		says    string
		verdict outcome
		trouble string
		cookie  string
		pause   time.Duration
	}{
		"receipt":              {says: ok(cookie+length, someVote), cookie: someValue},
		"as HAProxy writes it": {says: ok(strings.ToLower(cookie[:11])+cookie[11:]+strings.ToLower(length), someVote), cookie: someValue},
		"until the end":        {says: ok(cookie, someVote), cookie: someValue},
		"chunked":              {says: ok("Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n", len(someVote))+someVote+"\r\n0\r\n\r\n")},
		"after a 100":          {says: "HTTP/1.1 100 Continue\r\n\r\n" + ok("", someVote), verdict: unsure, trouble: "no HTTP"},
		"no status":            {says: "HTTP/1.1  \r\n\r\n" + someVote, verdict: unsure, trouble: "no HTTP"},
		"status nought":        {says: "HTTP/1.1 000 OK\r\n\r\n" + someVote, verdict: unsure, trouble: "no HTTP"},
		"another cookie":       {says: ok("Set-Cookie: theme=dark\r\n", someVote)},
		"nothing":              {says: "", verdict: unsure, trouble: "connection closed"},
		"half a line":          {says: "HTTP/1.1 20", verdict: unsure, trouble: "connection closed"},
		"half a receipt":       {says: ok(length, someVote[:100]), verdict: unsure, trouble: "connection closed"},
		"half until the end":   {says: ok("", someVote[:100]), verdict: unsure, trouble: "no receipt"},
		"another protocol":     {says: "SSH-2.0-OpenSSH_9.2\r\n\r\n", verdict: unsure, trouble: "no HTTP"},
		"endless header":       {says: ok("X: "+strings.Repeat("x", maxHeader)+"\r\n", someVote), verdict: unsure, trouble: "no HTTP"},
		"endless body":         {says: ok("", strings.Repeat(" ", maxBody)+someVote), verdict: unsure, trouble: "no HTTP"},
		"page":                 {says: ok("", "<html>"), verdict: unsure, trouble: "no receipt"},
		"another vote":         {says: ok("", strings.Replace(someVote, `"vote":"a"`, `"vote":"b"`, 1)), verdict: unsure, trouble: "a receipt for another vote"},
		"no voter":             {says: ok("", strings.Replace(someVote, "voter_id", "voter", 1)), verdict: unsure, trouble: "a receipt for another vote"},
		"a long name":          {says: ok("", strings.Replace(someVote, "frontend01", strings.Repeat("f", 256), 1)), verdict: unsure, trouble: "a receipt for another vote"},
		"503":                  {says: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", verdict: unsure, trouble: "status 503", pause: time.Second},
		"503 until a date":     {says: "HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n", verdict: unsure, trouble: "status 503"},
		"503 for ever":         {says: "HTTP/1.1 503 No\r\nRetry-After: 99999999\r\n\r\n", verdict: unsure, trouble: "status 503", pause: time.Hour},
		"400":                  {says: "HTTP/1.1 400 Bad Request\r\n\r\n", verdict: rejected, trouble: "status 400"},
		"408":                  {says: "HTTP/1.1 408 Request Timeout\r\n\r\n", verdict: unsure, trouble: "status 408"},
		"429":                  {says: "HTTP/1.1 429 Too Many Requests\r\n\r\n", verdict: unsure, trouble: "status 429"},
		"201":                  {says: "HTTP/1.1 201 Created\r\n\r\n" + someVote, verdict: unsure, trouble: "status 201"},
		"777":                  {says: "HTTP/1.1 777 Lucky\r\n\r\n", verdict: unsure, trouble: "a status that is none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := hear([]byte(tt.says))
			if a.verdict != tt.verdict || a.trouble != tt.trouble || string(a.cookie) != tt.cookie || a.pause != tt.pause {
				t.Errorf("%+v, cookie %q", a, a.cookie)
			}
			if a.verdict == taken && (a.voterID == uuid.Nil || a.order != 1234567890123456 || string(a.servedBy) != "frontend01") {
				t.Errorf("%+v", a)
			}
		})
	}
}

// FuzzAnswer: whatever comes back, it is a receipt for this very vote or it is none.
func FuzzAnswer(f *testing.F) {
	f.Fuzz(func(t *testing.T, says []byte) {
		a := hear(says)
		switch {
		case (a.verdict == taken) != (a.trouble == ""):
			t.Errorf("%+v", a)
		case a.verdict == unsent:
			t.Error("it was sent")
		case a.verdict == taken && (a.voterID == uuid.Nil || len(a.servedBy) > maxServedBy || !bytes.Contains(says, []byte("200"))):
			t.Errorf("%+v", a)
		case a.pause < 0 || a.pause > time.Hour:
			t.Errorf("pause of %s", a.pause)
		}
	})
}
