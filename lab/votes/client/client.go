// Package client casts votes in the voting app: it is a client of the voting app from outside, as a browser is one: it casts a vote through the load
// balancer and reads the tally from the results page. It trusts what the app answers and keeps a voter's cookie; it
// knows nothing of queues or nodes.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// CookieName is the cookie in which the app keeps who a voter is.
const CookieName = "voter_id"

// Client talks to one lab's voting app.
type Client struct {
	voting, results string
	http            *http.Client
}

// New returns a client for the app whose two pages have these URLs, which end in a slash.
func New(votingURL, resultsURL string) *Client {
	// Neither a proxy of the environment nor a kept connection, which would hide that the balancer went away.
	transport := &http.Transport{DisableKeepAlives: true}
	return &Client{
		voting:  votingURL,
		results: resultsURL,
		http: &http.Client{
			Transport: transport, Timeout: timescale.VoterTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Receipt is the app's answer to a vote: it is on a frontend's disk.
type Receipt struct {
	VoteID  uuid.UUID `json:"vote_id"`
	VoterID uuid.UUID `json:"voter_id"`
	Vote    string    `json:"vote"`
	// Order is the app's clock reading of the vote: of a voter's votes, the highest counts.
	Order    int64  `json:"order"`
	ServedBy string `json:"served_by"`
}

// Tally is what has been counted.
type Tally struct {
	A     int64 `json:"a"`
	B     int64 `json:"b"`
	Total int64 `json:"total"`
}

// Of returns the count of one choice.
func (t Tally) Of(vote string) int64 {
	if vote == "b" {
		return t.B
	}
	return t.A
}

// Refused is an answer that will not be another one when asked again.
type Refused struct {
	Status int
	Text   string
}

func (e *Refused) Error() string {
	return fmt.Sprintf("the voting app refused the vote with status %d: %s", e.Status, e.Text)
}

// IsRefusal tells the statuses that will not be others when asked again: the app does not take the vote, and never will.
func IsRefusal(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status < 500
}

// Cast casts a vote, "a" or "b", with the voter's cookie ("" for a new voter), and returns the cookie that came back.
// It tries again, under one vote id so that it stays one vote, until it is acknowledged, refused, or ctx ends.
func (c *Client) Cast(ctx context.Context, vote, cookie string) (Receipt, string, error) {
	id := uuid.NewString()
	var kept string
	receipt, err := retry(ctx, pause(), func() (Receipt, error) {
		receipt, got, err := c.cast(ctx, vote, id, cookie)
		kept = got
		var refused *Refused
		if errors.As(err, &refused) {
			return receipt, backoff.Permanent(err)
		}
		return receipt, err
	})
	if err != nil {
		return Receipt{}, cookie, fmt.Errorf("cast a vote at %s: %w", c.voting, err)
	}
	if kept == "" {
		kept = cookie
	}
	return receipt, kept, nil
}

// retry tries until it works, the error is a permanent one, or ctx ends; then the error tells what went wrong last.
func retry[T any](ctx context.Context, pause backoff.BackOff, try func() (T, error)) (T, error) {
	var last error
	result, err := backoff.Retry(ctx, func() (T, error) {
		result, err := try()
		if err != nil && ctx.Err() == nil {
			last = err
		}
		return result, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))
	if err != nil && ctx.Err() != nil && last != nil {
		err = fmt.Errorf("%w; at last: %w", err, last)
	}
	return result, err
}

func pause() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 200*time.Millisecond, time.Second
	return b
}

func (c *Client) cast(ctx context.Context, vote, id, cookie string) (Receipt, string, error) {
	form := url.Values{"vote": {vote}, "vote_id": {id}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.voting, strings.NewReader(form.Encode()))
	if err != nil {
		return Receipt{}, "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if cookie != "" {
		request.AddCookie(&http.Cookie{Name: CookieName, Value: cookie})
	}
	response, body, err := c.do(request)
	if err != nil {
		return Receipt{}, "", err
	}
	switch {
	case IsRefusal(response.StatusCode):
		return Receipt{}, "", &Refused{Status: response.StatusCode, Text: short(body)}
	case response.StatusCode != http.StatusOK:
		return Receipt{}, "", fmt.Errorf("status %d: %s", response.StatusCode, short(body))
	}
	var receipt Receipt
	if err := json.Unmarshal(body, &receipt); err != nil {
		return Receipt{}, "", fmt.Errorf("the answer is no receipt (%w): %s", err, short(body))
	}
	if receipt.Vote != vote {
		return Receipt{}, "", &Refused{Status: response.StatusCode, Text: fmt.Sprintf("asked for %q, it answered for %q", vote, receipt.Vote)}
	}
	for _, k := range response.Cookies() {
		if k.Name == CookieName {
			return receipt, k.Value, nil
		}
	}
	return receipt, "", nil
}

// Tally reads what has been counted.
func (c *Client) Tally(ctx context.Context) (Tally, error) {
	var tally Tally
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.results+"api/tally", nil)
	if err != nil {
		return tally, err
	}
	response, body, err := c.do(request)
	if err != nil {
		return tally, fmt.Errorf("read the tally: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return tally, fmt.Errorf("read the tally at %sapi/tally: status %d: %s", c.results, response.StatusCode, short(body))
	}
	if err := json.Unmarshal(body, &tally); err != nil {
		return tally, fmt.Errorf("the tally at %sapi/tally makes no sense: %w", c.results, err)
	}
	return tally, nil
}

// AwaitTally reads the tally until it satisfies, or ctx ends.
func (c *Client) AwaitTally(ctx context.Context, until func(Tally) bool) (Tally, error) {
	return retry(ctx, backoff.NewConstantBackOff(100*time.Millisecond), func() (Tally, error) {
		tally, err := c.Tally(ctx)
		if err == nil && !until(tally) {
			err = fmt.Errorf("not yet: the tally is %d to %d", tally.A, tally.B)
		}
		return tally, err
	})
}

// Answers says whether the voting page is served.
func (c *Client) Answers(ctx context.Context) error {
	_, err := retry(ctx, pause(), func() (struct{}, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.voting, nil)
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		response, body, err := c.do(request)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %s", response.StatusCode, short(body))
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("the voting page at %s: %w", c.voting, err)
	}
	return nil
}

func (c *Client) do(request *http.Request) (*http.Response, []byte, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return response, body, nil
}

func short(body []byte) string {
	text := strings.Join(strings.Fields(string(bytes.TrimSpace(body))), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// LoadCookie reads a voter's cookie from a file; "" when there is none yet.
func LoadCookie(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the voter's cookie: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// SaveCookie keeps a voter's cookie in a file that only its owner can read.
func SaveCookie(path, cookie string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the voter's cookie: %w", err)
	}
	if err := os.WriteFile(path, []byte(cookie+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the voter's cookie: %w", err)
	}
	return nil
}

// Statuses asks once for the voting page and for the tally, and returns the HTTP statuses of their answers; 0 for none.
func (c *Client) Statuses(ctx context.Context) (page, results int) {
	var both sync.WaitGroup
	both.Go(func() { page = c.status(ctx, c.voting) })
	both.Go(func() { results = c.status(ctx, c.results+"api/tally") })
	both.Wait()
	return page, results
}

func (c *Client) status(ctx context.Context, url string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	response, _, err := c.do(request)
	if err != nil {
		return 0
	}
	return response.StatusCode
}
