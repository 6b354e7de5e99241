// Package discovery is the node agent's side of Consul: it keeps this node's services in the catalogue, and follows those of other nodes.
//
// Consul is a help, not a foundation: it may be away, come back empty, half filled or with checks that expired meanwhile, and none of that
// may take a working server from anybody. So registrations are repeated until they stand and made anew when they vanish, and
// what is known of others is kept on disk and given up for good reasons only; policy.go says which.
//
// All services are registered with the lab's one Consul agent, on the manager's node; which node offers a service stands in its
// metadata. Besides, each node registers its own agent as service "labagent", so that the catalogue lists every node.
//
// The package must not know containers, roles or the reconcile loop: callers say what the node offers and what they want to follow.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
)

// Times of a client, see the working of TTL checks in Consul's documentation.
var (
	// TTL is how long a registration counts as passing without being confirmed.
	TTL = timescale.Scale(15 * time.Second)
	// Interval between two confirmations.
	Interval = timescale.Scale(5 * time.Second)
)

// times are how long a client waits for what.
type times struct {
	// ttl and interval are TTL and Interval.
	ttl, interval time.Duration
	// retryFirst and retryMost bound the pause before another try when Consul did not do what it was asked for.
	retryFirst, retryMost time.Duration
	// call bounds one round of registration and each other call; blocking queries have their own.
	call time.Duration
	// block is how long a blocking query waits for news, and grace what the answer may take beyond that; Consul itself adds up to a sixteenth.
	block, grace time.Duration
	hold
}

func defaultTimes() times {
	return times{
		ttl: TTL, interval: Interval,
		retryFirst: timescale.Scale(500 * time.Millisecond), retryMost: timescale.Scale(2 * time.Second),
		call:  timescale.Scale(4 * time.Second),
		block: 30 * time.Second, grace: timescale.Scale(6 * time.Second),
		hold: hold{deregistered: 2 * Interval, lost: timescale.Scale(time.Minute)},
	}
}

// AgentService is the name of the service that every node registers for itself.
const AgentService = "labagent"

// Keys of the services' metadata.
const (
	metaNode = "node"
	metaLab  = "lab"
)

// Config of a Client. Fields without another word must be set.
type Config struct {
	Lab string
	// Node and Address are this node's.
	Node, Address string
	// AgentPort is where this node's agent listens.
	AgentPort int
	// Consul is host:port of its HTTP interface.
	Consul string
	// Token returns the token that all nodes share (secret consul-node-token).
	Token func() (string, error)
	// Management returns the management token; nil on every node but the manager's, which makes the nodes' token with it.
	Management func() (string, error)
	// StateFile keeps what is known over a restart of the agent.
	StateFile string
	// Alive is asked about an instance that Consul has ceased to list before it is given up; nil: [Healthz].
	Alive func(context.Context, *rolev1.Instance) bool
	// Logger; nil: slog.Default().
	Logger *slog.Logger

	// Set by tests only; zero means defaultTimes.
	times times
}

// Client talks to Consul for one node. It is safe for concurrent use. Nothing happens before Run.
type Client struct {
	cfg      Config
	log      *slog.Logger
	wake     chan struct{} // the offer has changed
	refollow chan struct{} // the followed names have changed
	changed  chan struct{}

	saving sync.Mutex

	mu       sync.Mutex
	offered  []*rolev1.Service
	said     bool // Offer has been called
	status   Status
	book     cache
	api      *api.Client
	apiToken string
	idle     *http.Transport // api's
}

// Status is how the client gets along with Consul.
type Status struct {
	// Reachable: the last round of registration succeeded.
	Reachable bool
	// Err says why it did not; nil if it did.
	Err error
	// Registered are the ids of this node's services that stand in the catalogue, sorted.
	Registered []string
	// Since is the time of the last change of Reachable.
	Since time.Time
}

// New makes a client and reads what was known before the agent stopped.
func New(cfg Config) *Client {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Alive == nil {
		cfg.Alive = Healthz
	}
	if cfg.times == (times{}) {
		cfg.times = defaultTimes()
	}
	c := &Client{
		cfg:      cfg,
		log:      cfg.Logger.With("consul", cfg.Consul),
		wake:     make(chan struct{}, 1),
		refollow: make(chan struct{}, 1),
		changed:  make(chan struct{}, 1),
		status:   Status{Since: time.Now(), Err: errors.New("consul has not been asked yet")},
	}
	var err error
	if c.book, err = readCache(cfg.StateFile); err != nil {
		// Better to begin with nothing than not to begin.
		c.log.Error("what was known of services is lost", "error", err)
	}
	return c
}

// Offer says which services this node offers now: the whole set each time. What was offered and no longer is gets deregistered; before the
// first call nothing is, so that a restart of the agent changes nothing in the catalogue.
func (c *Client) Offer(services []*rolev1.Service) {
	c.mu.Lock()
	same := c.said && slices.EqualFunc(c.offered, services, func(a, b *rolev1.Service) bool { return proto.Equal(a, b) })
	c.offered, c.said = services, true
	c.mu.Unlock()
	if !same {
		notify(c.wake)
	}
}

// Follow says which services' instances are wanted: the whole set each time. It is remembered over a restart of the agent.
func (c *Client) Follow(names []string) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	c.mu.Lock()
	same := slices.Equal(names, c.book.Follow)
	c.book.Follow = names
	c.mu.Unlock()
	if !same {
		c.save()
		notify(c.refollow)
		notify(c.changed)
	}
}

// Instances returns the known instances of the followed services, sorted by service and id. Right after New it returns what was known and
// followed before: a first plan made with it does not forget servers.
func (c *Client) Instances() []*rolev1.Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.book.instances()
}

// Status returns how the client gets along with Consul.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Registered = slices.Clone(s.Registered)
	return s
}

// Changed receives after each change of Instances or Status; changes nobody took yet are one. It is for one receiver.
func (c *Client) Changed() <-chan struct{} { return c.changed }

// Run registers and follows until ctx ends, and returns its error. It deregisters nothing at the end.
func (c *Client) Run(ctx context.Context) error {
	defer c.closeIdle()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.keepRegistered(ctx) })
	g.Go(func() error { return c.followAll(ctx) })
	return g.Wait()
}

// Forget takes every service of a node out of the catalogue: of one that is gone for good, or that is about to be. A node whose agent
// still runs and offers them registers them again within Interval. It returns the ids.
func (c *Client) Forget(ctx context.Context, node string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.times.call)
	defer cancel()
	consul, err := c.client()
	if err != nil {
		return nil, err
	}
	there, err := c.registered(ctx, consul, node)
	if err != nil {
		return nil, fmt.Errorf("forget node %s: %w", node, c.wording(err))
	}
	var ids []string
	for id := range there {
		if err := c.deregister(ctx, consul, id); err != nil {
			return ids, fmt.Errorf("forget node %s: %w", node, err)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Healthz is the default probe of an instance: its /healthz answers 200.
func Healthz(ctx context.Context, i *rolev1.Instance) bool {
	ctx, cancel := context.WithTimeout(ctx, timescale.Scale(2*time.Second))
	defer cancel()
	url := fmt.Sprintf("http://%s/healthz", net.JoinHostPort(i.GetAddress(), fmt.Sprint(i.GetPort())))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// client returns Consul's client with the nodes' token of now.
func (c *Client) client() (*api.Client, error) {
	token, err := c.cfg.Token()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api == nil || c.apiToken != token {
		if c.api, c.idle, err = newAPI(c.cfg.Consul, token); err != nil {
			return nil, err
		}
		c.apiToken = token
	}
	return c.api, nil
}

// closeIdle gives back the connections.
func (c *Client) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle != nil {
		c.idle.CloseIdleConnections()
	}
}

// newAPI also returns what holds the connections.
func newAPI(address, token string) (*api.Client, *http.Transport, error) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: timescale.Scale(2 * time.Second), KeepAlive: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
	}
	consul, err := api.NewClient(&api.Config{Address: address, Scheme: "http", Token: token, Transport: transport})
	if err != nil {
		return nil, nil, fmt.Errorf("consul at %s: %w", address, err)
	}
	return consul, transport, nil
}

// wording says Consul's errors for people.
func (c *Client) wording(err error) error {
	var status api.StatusError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusForbidden && strings.Contains(status.Body, "ACL not found"):
		return fmt.Errorf("consul at %s does not know the nodes' token yet (the manager's agent makes it)", c.cfg.Consul)
	case errors.As(err, &status) && strings.Contains(status.Body, "No cluster leader"):
		return fmt.Errorf("consul at %s has no leader yet", c.cfg.Consul)
	case errors.As(err, &status):
		return fmt.Errorf("consul at %s answers %d: %s", c.cfg.Consul, status.Code, strings.TrimSpace(status.Body))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("consul does not run: nothing listens on %s", c.cfg.Consul)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("consul's node is away: no route to %s", c.cfg.Consul)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return fmt.Errorf("consul at %s does not answer", c.cfg.Consul)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("consul at %s hangs up: is it starting or stopping?", c.cfg.Consul)
	}
	return fmt.Errorf("consul at %s: %w", c.cfg.Consul, err)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
