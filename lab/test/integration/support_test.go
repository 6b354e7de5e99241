//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/fleet"
	"github.com/swarmlab/swarmlab/lab/host/power"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// lab is the running lab under test.
type lab struct {
	*settings.Lab
	fleet *fleet.Fleet
	machines
	power power.Switch
	// patience bounds how long anything on the lab may take to come right again.
	patience time.Duration
	// rate is how many votes a second a load casts. It is to be felt, and to leave something for who mends.
	rate float64
	// emulated: its machines may be, and take seconds for what others do at once.
	emulated bool
}

const (
	// patience is generous: it only costs something when a test is red. The slowest that was seen, on an idle machine, took a minute and a half.
	patience = 10 * time.Minute
	// answerWithin bounds one question to the nodes' agents; who asks asks again.
	answerWithin = 30 * time.Second
)

// open connects to the lab of this clone and waits until it is ready, so that no test starts on another's ruins. A test that fails has its lab
// repaired for those that follow.
func open(t *testing.T) *lab {
	t.Helper()
	l := connect(t)
	t.Cleanup(func() {
		if t.Failed() {
			l.repair(t)
		}
	})
	l.waitReady(t)
	return l
}

func connect(t *testing.T) *lab {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := settings.FindDir(wd)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := settings.Open(dir, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Saved == nil {
		t.Fatal("no lab is up: run make up first")
	}
	agents, err := fleet.Connect(opened, fleet.Operate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agents.Close(); err != nil {
			t.Error(err)
		}
	})
	plug := power.NewSwitch(opened, t.Output())
	if opened.Provider == settings.ProviderDocker {
		return &lab{Lab: opened, fleet: agents, machines: containers{opened}, power: plug, patience: patience, rate: 150}
	}
	// Its processors may be emulated, and are to do something else besides: engines that get no time to gossip take each other for dead.
	return &lab{
		Lab: opened, fleet: agents, machines: &virtual{lab: opened, dir: t.TempDir(), configs: map[string]string{}},
		power: plug, patience: patience, rate: 5, emulated: true,
	}
}

// snapshot returns what the agent of a node says.
func (l *lab) snapshot(ctx context.Context, node string) (*agentv1.NodeSnapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	view, ok := l.fleet.Snapshot(ctx).Node(node)
	switch {
	case !ok:
		return nil, fmt.Errorf("the topology has no node %s", node)
	case view.Err != nil:
		return nil, view.Err
	}
	return view.Snapshot, nil
}

// heal starts whatever was stopped manually.
func (l *lab) heal(t *testing.T) {
	t.Helper()
	if _, err := l.fleet.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// waitFor polls a condition until it holds; it fails the test with the condition's last complaint.
func waitFor(t *testing.T, within time.Duration, what string, condition func(context.Context) error) time.Duration {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var complaint error
	for {
		err := condition(ctx)
		if err == nil {
			return time.Since(start)
		}
		// What was cut off by the deadline complains of just that.
		if complaint == nil || ctx.Err() == nil {
			complaint = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, within, complaint)
		case <-tick.C:
		}
	}
}

// waitReady waits until every node says that it is ready.
func (l *lab) waitReady(t *testing.T) time.Duration {
	t.Helper()
	return waitFor(t, l.patience, "the lab is ready", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		var errs []error
		for _, view := range l.fleet.Snapshot(ctx).Nodes {
			switch {
			case view.Err != nil:
				errs = append(errs, view.Err)
			case !view.Snapshot.GetReady():
				errs = append(errs, fmt.Errorf("%s is not ready: %s", view.Node.Name, pending(view.Snapshot)))
			}
		}
		return errors.Join(errs...)
	})
}

func pending(snap *agentv1.NodeSnapshot) string {
	var parts []string
	for _, p := range snap.GetPending() {
		parts = append(parts, fmt.Sprintf("%s (%s)", p.GetStep(), p.GetReason()))
	}
	if role := snap.GetRole(); role.GetChecked() && !role.GetHealthy() {
		parts = append(parts, "role: "+role.GetMessage())
	}
	return strings.Join(parts, "; ")
}

// container returns the state of a container as the node's agent reports it.
func (l *lab) container(ctx context.Context, node, name string) (*agentv1.ContainerStatus, error) {
	snap, err := l.snapshot(ctx, node)
	if err != nil {
		return nil, err
	}
	for _, c := range snap.GetContainers() {
		if c.GetName() == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%s knows no container %s", node, name)
}

// host runs a command on the host and returns its output.
func host(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

func (l *lab) mustOnNode(t *testing.T, node string, args ...string) string {
	t.Helper()
	out, err := l.onNode(t.Context(), node, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// kill ends a node without a goodbye.
func (l *lab) kill(t *testing.T, node string) {
	t.Helper()
	if err := l.power.Off(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

// start gives a killed node its power back.
func (l *lab) start(t *testing.T, node string) {
	t.Helper()
	if err := l.power.On(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

// vagrant runs vagrant in the clone.
func (l *lab) vagrant(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "vagrant", args...)
	cmd.Dir = l.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("vagrant %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// votingURL and resultsURL are what a learner opens.
func (l *lab) votingURL() string  { return fmt.Sprintf("http://127.0.0.1:%d", l.VotingPort()) }
func (l *lab) resultsURL() string { return fmt.Sprintf("http://127.0.0.1:%d", l.ResultsPort()) }

// ballot is the voting application's answer to a vote.
type ballot struct {
	VoteID   string `json:"vote_id"`
	VoterID  string `json:"voter_id"`
	Vote     string `json:"vote"`
	ServedBy string `json:"served_by"`
}

// voter is a client with a cookie jar of its own, so a voter of its own.
type voter struct {
	client *http.Client
	url    string
}

func (l *lab) newVoter(t *testing.T) *voter {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &voter{client: &http.Client{Jar: jar, Timeout: 10 * time.Second}, url: l.votingURL() + "/"}
}

// cast votes once; any answer but 200 is an error.
func (v *voter) cast(ctx context.Context, vote string) (ballot, error) {
	form := strings.NewReader(url.Values{"vote": {vote}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url, form)
	if err != nil {
		return ballot{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := v.client.Do(req)
	if err != nil {
		return ballot{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ballot{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return ballot{}, fmt.Errorf("vote %s: %s: %s", vote, resp.Status, body)
	}
	var b ballot
	return b, json.Unmarshal(body, &b)
}

// tally is what the results application has counted.
type tally struct{ A, B, Total int }

// tally reads what the results page says.
func (l *lab) tally(ctx context.Context) (v tally, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.resultsURL()+"/api/tally", nil)
	if err != nil {
		return v, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("tally: %s", resp.Status)
	}
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// expectTally waits until exactly the given votes are counted.
func (l *lab) expectTally(t *testing.T, want tally) {
	t.Helper()
	waitFor(t, l.patience, fmt.Sprintf("the tally is %+v", want), func(ctx context.Context) error {
		got, err := l.tally(ctx)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("it is %+v", got)
		}
		return nil
	})
}
