//go:build integration

package integration

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Votes cast through the balancer are counted exactly: one per voter, the last one, whoever served it.
func TestEveryVoteIsCounted(t *testing.T) {
	l := open(t)
	number := min(500, int64(20*l.rate))
	votes := l.tryOut(t, newSeed(t), number)
	votes.over(t)
	votes.pass(t, l)
	if s := votes.summary; s.Acknowledged != number || s.Strangers != 0 || len(s.ServedBy) != l.Frontends {
		t.Errorf("%d votes were acknowledged by %v, to %d voters in the place of others", s.Acknowledged, s.ServedBy, s.Strangers)
	}
}

// A retry with the same vote_id is the same vote.
func TestARetryIsOneVote(t *testing.T) {
	l := open(t)
	before := l.mustTally(t)
	form := url.Values{"vote": {"a"}, "vote_id": {"0b0e1f0a-6f0a-4a4e-9d53-0d5f3a1f7b11"}}
	jar := l.newVoter(t).client
	for range 3 {
		resp, err := jar.PostForm(l.votingURL()+"/", form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("retry: %s", resp.Status)
		}
	}
	l.expectTally(t, tally{A: before.A + 1, B: before.B, Total: before.Total + 1})
}

// What is not a vote gets a clear answer and changes nothing.
func TestBadVotesChangeNothing(t *testing.T) {
	l := open(t)
	before := l.mustTally(t)
	tests := []struct {
		name   string
		body   string
		status int
		says   string
	}{
		{name: "another option", body: "vote=c", status: http.StatusBadRequest, says: "vote"},
		{name: "no vote", body: "", status: http.StatusBadRequest, says: "vote"},
		{name: "ten megabytes", body: "vote=" + strings.Repeat("a", 10<<20), status: http.StatusRequestEntityTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.votingURL()+"/", strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				// A server may answer and close before it was sent everything.
				if tt.status == http.StatusRequestEntityTooLarge && strings.Contains(err.Error(), "reset by peer") {
					return
				}
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var body bytes.Buffer
			if _, err := body.ReadFrom(resp.Body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || !strings.Contains(body.String(), tt.says) {
				t.Errorf("got %s %q, want %d naming %q", resp.Status, body.String(), tt.status, tt.says)
			}
		})
	}
	t.Run("a damaged cookie makes a new voter", func(t *testing.T) {
		v := l.newVoter(t)
		if _, err := v.cast(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		home, err := url.Parse(v.url)
		if err != nil {
			t.Fatal(err)
		}
		cookies := v.client.Jar.Cookies(home)
		if len(cookies) == 0 {
			t.Fatal("no cookie after a vote")
		}
		for _, c := range cookies {
			c.Value = c.Value[:len(c.Value)/2] + "x"
		}
		v.client.Jar.SetCookies(home, cookies)
		if _, err := v.cast(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
	})
	l.expectTally(t, tally{A: before.A + 1, B: before.B + 1, Total: before.Total + 2})
}
