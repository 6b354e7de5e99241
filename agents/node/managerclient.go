package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/agents/common/timescale"
	"github.com/swarmlab/swarmlab/agents/engine"
	"github.com/swarmlab/swarmlab/agents/reconcile"
	"github.com/swarmlab/swarmlab/agents/server"
)

const (
	// share bounds the time that the agent spends on asking: one part of so many.
	share = 4
	// exclusions is in how many looks in a row this node must be missing from the manager's list to count as excluded: a node
	// that has just joined may be missing in one that was taken before.
	exclusions = 3
)

var (
	// linkEager and linkCalm are how often the manager's agent is asked: while something is wanted of it, and otherwise.
	linkEager   = timescale.Scale(400 * time.Millisecond)
	linkCalm    = timescale.Scale(5 * time.Second)
	linkTimeout = timescale.Scale(4 * time.Second)
	// memberInterval is how often the manager's list of members is looked at.
	memberInterval = timescale.Scale(15 * time.Second)
	// dialTimeout bounds the making of a connection, which is the kernels' business; connectTimeout what follows, TLS, which takes an emulated
	// processor seconds. Cut off too early it would be begun anew, for ever.
	dialTimeout    = timescale.Scale(700 * time.Millisecond)
	connectTimeout = timescale.Scale(15 * time.Second)
	// downPatience is for how long the manager may call this node down, while both say that they reach each other, before the
	// node counts as excluded. An engine that lost its session has another within 10 s (swarmkit's heartbeat and backoff). But
	// when the former session expires in the very moment in which the new one is registered, swarmkit's dispatcher calls the node
	// down and keeps the session: both sides are content, and no attachment is ever assigned to the node again.
	downPatience = timescale.Scale(15 * time.Second)
	// freshPatience is downPatience for a node that the manager has not called ready since its engine came into the swarm: the engine
	// says that it is in only after the manager noted it as ready, and the manager's list is seldom older than a second.
	freshPatience = timescale.Scale(5 * time.Second)
)

// managerClient asks the manager's agent how to join the swarm, what networks there are and whether this node belongs to it, and the
// manager's engine whether it is there at all. It is safe for concurrent use.
type managerClient struct {
	manager, self *rolev1.Node
	log           *slog.Logger
	// news is called when what cluster returns has changed.
	news func()
	wake chan struct{}

	mu      sync.Mutex
	known   reconcile.Cluster
	token   string
	address string
	swarm   engine.Swarm
	missing int
	// down is since when the manager calls this node down; zero: it does not.
	down time.Time
	// ready: the manager has called this node ready since its engine came into the swarm.
	ready bool
	// listed is when the manager's list was looked at last.
	listed time.Time
	// out: the node stays out of the swarm, and nothing needs to be asked.
	out bool
	// took is how long the last round took in which the manager answered.
	took time.Duration
}

func newManagerClient(manager, self *rolev1.Node, log *slog.Logger, news func()) *managerClient {
	return &managerClient{
		manager: manager, self: self, log: log, news: news, wake: make(chan struct{}, 1),
		known: reconcile.Cluster{Away: "the manager's agent was not reached yet"},
	}
}

func (l *managerClient) cluster() reconcile.Cluster {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known
}

// observed tells the link of this node's own membership, and whether it is to stay out of the swarm.
func (l *managerClient) observed(s engine.Swarm, out bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out && !out {
		poke(l.wake)
	}
	l.out = out
	switch {
	case s.NodeID != l.swarm.NodeID:
		l.trusted()
		l.ready = false
		l.listed = time.Now() // the list is as old as its last change
	case s.State != l.swarm.State:
		l.ready = false
		l.listed = time.Time{}
	}
	if s.State != l.swarm.State {
		poke(l.wake)
	}
	l.swarm = s
}

// Join returns what JoinInfo told last.
func (l *managerClient) Join(context.Context) (engine.SwarmJoin, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == "" {
		return engine.SwarmJoin{}, fmt.Errorf("join the swarm: %s", l.known.Away)
	}
	return engine.SwarmJoin{Address: l.self.GetAddress(), Manager: l.address, Token: l.token}, nil
}

// probe asks whether the swarm's manager listens, right before something that would hang without it.
func (l *managerClient) probe(ctx context.Context) error {
	err := l.dial(ctx)
	if err != nil {
		poke(l.wake)
	}
	return err
}

func (l *managerClient) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	address := net.JoinHostPort(l.manager.GetAddress(), strconv.Itoa(contract.SwarmPort))
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("the swarm's manager is away: %w", err)
	}
	return conn.Close()
}

// dialManager prepares the connection to the manager's agent; it is made when it is first used, and again whenever it is lost.
func dialManager(manager *rolev1.Node, identity server.Identity) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(manager.GetAddress(), strconv.Itoa(contract.AgentPort)),
		grpc.WithTransportCredentials(credentials.NewTLS(identity.Client(manager.GetName()))),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: timescale.Scale(200 * time.Millisecond), Multiplier: 1.5, MaxDelay: timescale.Scale(time.Second)},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: timescale.Scale(10 * time.Second), Timeout: timescale.Scale(3 * time.Second)}),
		grpc.WithNoProxy(), // of the environment: the manager is a node of the same lab
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
	)
	if err != nil {
		return nil, fmt.Errorf("reach the manager's agent: %w", err)
	}
	return conn, nil
}

func (l *managerClient) run(ctx context.Context, client agentv1.AgentServiceClient) error {
	for ctx.Err() == nil {
		if !l.idle() {
			l.ask(ctx, client)
		}
		select {
		case <-time.After(l.interval()):
		case <-l.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

// wantsMembers reports whether the manager's list is to be looked at: rarely, unless this node seems to be missing.
func (l *managerClient) wantsMembers() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.suspicious() && time.Since(l.listed) < memberInterval {
		return false
	}
	l.listed = time.Now()
	return true
}

func (l *managerClient) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out
}

func (l *managerClient) interval() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out {
		return linkCalm
	}
	if l.known.Away != "" || !l.known.Known || len(l.known.NetworkIDs) == 0 || l.swarm.State != engine.SwarmActive || l.suspicious() {
		return min(max(linkEager, share*l.took), linkCalm)
	}
	return linkCalm
}

// ask brings what is known up to date.
func (l *managerClient) ask(ctx context.Context, client agentv1.AgentServiceClient) {
	began := time.Now()
	once, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	info, err := client.JoinInfo(once, &agentv1.JoinInfoRequest{})
	var shown *agentv1.SnapshotResponse
	if err == nil && l.wantsMembers() {
		shown, err = client.Snapshot(once, &agentv1.SnapshotRequest{})
	}
	listens := l.dial(ctx)
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	// Who waits for one that is away is not to wait longer for it.
	l.took = 0
	if err == nil {
		l.took = time.Since(began)
	}
	before := l.known
	l.learn(info, shown, err, listens)
	changed := !sameCluster(before, l.known)
	now := l.known
	l.mu.Unlock()
	if changed {
		l.log.Info("swarm manager", "cluster", now.ID, "networks", now.NetworkIDs, "away", now.Away, "excluded", now.Excluded)
		l.news()
	}
}

// learn takes in one round of answers. The mutex is held.
func (l *managerClient) learn(info *agentv1.JoinInfoResponse, shown *agentv1.SnapshotResponse, err, listens error) {
	// The agent's word is not needed once the way is known: its engine's is.
	l.known.Away = ""
	switch {
	case listens != nil:
		l.known.Away = listens.Error()
	case err != nil && !l.known.Known:
		l.known.Away = managerTrouble(l.manager.GetName(), err)
	}
	if err != nil {
		if status.Code(err) == codes.FailedPrecondition {
			// There is no swarm now; what was known of a former one is void.
			l.known = reconcile.Cluster{Away: managerTrouble(l.manager.GetName(), err)}
			l.token = ""
		}
		return
	}
	l.known.Known, l.known.ID = true, info.GetClusterId()
	l.token, l.address = info.GetWorkerToken(), info.GetManagerAddress()
	l.known.NetworkIDs = nil
	if info.GetNetworkReady() {
		l.known.NetworkIDs = map[string]string{contract.Network: info.GetNetworkId()}
	}
	if shown != nil {
		l.evaluate(shown.GetNode().GetSwarm().GetMembers(), time.Now())
	}
}

// trusted takes note that the manager counts on this node.
func (l *managerClient) trusted() {
	l.missing, l.down, l.known.Excluded = 0, time.Time{}, ""
}

// suspicious reports whether this node may be excluded, which more looks tell.
func (l *managerClient) suspicious() bool { return l.missing > 0 || !l.down.IsZero() }

// evaluate finds out whether the manager has struck this node from its list, or given it up.
func (l *managerClient) evaluate(members []*agentv1.SwarmMember, now time.Time) {
	if len(members) == 0 || l.swarm.NodeID == "" || l.swarm.State == engine.SwarmInactive {
		l.trusted()
		return
	}
	i := slices.IndexFunc(members, func(m *agentv1.SwarmMember) bool { return m.GetId() == l.swarm.NodeID })
	switch {
	case i < 0:
		l.down = time.Time{}
		l.missing++
		if l.missing >= exclusions {
			l.known.Excluded = "the manager has removed this node from its swarm"
		}
	case members[i].GetState() != engine.MemberDown || l.swarm.State != engine.SwarmActive || l.known.Away != "":
		l.trusted()
		l.ready = l.ready || members[i].GetState() == engine.MemberReady && l.swarm.State == engine.SwarmActive
	default:
		l.missing = 0
		if l.down.IsZero() {
			l.down = now
		}
		patience := freshPatience
		if l.ready {
			patience = downPatience
		}
		if now.Sub(l.down) >= patience {
			l.known.Excluded = "the manager calls this node down, though they reach each other"
		}
	}
}

func managerTrouble(manager string, err error) string {
	return fmt.Sprintf("the agent of %s says how to join, but: %s", manager, status.Convert(err).Message())
}

func sameCluster(a, b reconcile.Cluster) bool {
	return a.Known == b.Known && a.ID == b.ID && a.Away == b.Away && a.Excluded == b.Excluded &&
		a.NetworkIDs[contract.Network] == b.NetworkIDs[contract.Network]
}
