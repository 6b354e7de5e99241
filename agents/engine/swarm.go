package engine

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"

	"github.com/swarmlab/swarmlab/agents/common/contract"
)

// SwarmState is the engine's own view of its membership, in Docker's words.
type SwarmState string

// Docker's local node states.
const (
	SwarmInactive SwarmState = "inactive"
	SwarmPending  SwarmState = "pending"
	SwarmActive   SwarmState = "active"
	SwarmError    SwarmState = "error"
	SwarmLocked   SwarmState = "locked"
)

// States of a member.
const (
	MemberReady = "ready"
	// MemberDown is one whose engine the managers take for dead.
	MemberDown = "down"
)

// Swarm is the engine's membership in a swarm.
type Swarm struct {
	State   SwarmState
	NodeID  string
	Manager bool
	Error   string
	// ClusterID of the swarm that the engine belongs to; empty when it belongs to none or it cannot be told.
	ClusterID string
}

// SwarmInit is how a swarm is founded.
type SwarmInit struct {
	// Address of this node: advertised, listened on, and used for the data path.
	Address string
	// AddressPool for overlay networks in CIDR notation, and the prefix length of each network out of it.
	AddressPool string
	PrefixLen   uint32
	// Heartbeat is how often each member shows that it lives; one that missed three is taken for down. 0: Docker's own, 5 s.
	Heartbeat time.Duration
}

// SwarmJoin is how a node enters a swarm.
type SwarmJoin struct {
	Address string
	// Manager is host:port of a manager.
	Manager string
	Token   string
}

// Member is a node of the swarm as its managers see it.
type Member struct {
	ID       string
	Hostname string
	// State is MemberReady, MemberDown, "unknown" or "disconnected".
	State   string
	Address string
	// Abandoned: it was let in, and then never said who it is. A node whose joining took too long gave up and joined anew, as another member.
	Abandoned bool
}

// joinsWithin is how long a member may take from being let in to saying who it is. An engine gives up after 20 s.
const joinsWithin = 3 * time.Minute

var swarmPort = ":" + strconv.Itoa(contract.SwarmPort)

// InitSwarm founds a swarm with this engine as its manager.
func (e *Engine) InitSwarm(ctx context.Context, in SwarmInit) error {
	_, err := e.api.SwarmInit(ctx, swarm.InitRequest{
		ListenAddr:      in.Address + swarmPort,
		AdvertiseAddr:   in.Address + swarmPort,
		DataPathAddr:    in.Address,
		DefaultAddrPool: []string{in.AddressPool},
		SubnetSize:      in.PrefixLen,
		Availability:    swarm.NodeAvailabilityActive,
		Spec:            swarm.Spec{Dispatcher: swarm.DispatcherConfig{HeartbeatPeriod: in.Heartbeat}},
	})
	return failed("found a swarm on", in.Address, err)
}

// JoinSwarm enters a swarm. The engine may need longer than the request: then it goes on by itself, and the state tells.
func (e *Engine) JoinSwarm(ctx context.Context, in SwarmJoin) error {
	err := e.api.SwarmJoin(ctx, swarm.JoinRequest{
		ListenAddr:    in.Address + swarmPort,
		AdvertiseAddr: in.Address + swarmPort,
		DataPathAddr:  in.Address,
		RemoteAddrs:   []string{in.Manager},
		JoinToken:     in.Token,
		Availability:  swarm.NodeAvailabilityActive,
	})
	return failed("join the swarm of", in.Manager, err)
}

// leaveAttempts bounds how often a busy engine is asked to leave.
const leaveAttempts = 4

// LeaveSwarm leaves the swarm whatever hangs on it.
func (e *Engine) LeaveSwarm(ctx context.Context) error {
	// The engine gives its own parts 15 seconds to stop and then gives up ("context deadline exceeded"), on a busy host too
	// soon; asked again, it goes on where it was.
	var err error
	for range leaveAttempts {
		err = e.api.SwarmLeave(ctx, true)
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			break
		}
	}
	return failed("leave the swarm", "", err)
}

// WorkerToken returns what a worker must show to join. Only on a manager.
func (e *Engine) WorkerToken(ctx context.Context) (string, error) {
	s, err := e.api.SwarmInspect(ctx)
	if err != nil {
		return "", failed("ask for the join token", "", err)
	}
	return s.JoinTokens.Worker, nil
}

// Members returns the swarm's nodes. Only on a manager.
func (e *Engine) Members(ctx context.Context) ([]Member, error) {
	nodes, err := e.api.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return nil, failed("list the swarm's nodes", "", err)
	}
	return membersOf(nodes, time.Now()), nil
}

// membersOf reads the swarm's list. now is by the same node's clock as the times in the list.
func membersOf(nodes []swarm.Node, now time.Time) []Member {
	members := make([]Member, 0, len(nodes))
	for _, n := range nodes {
		nameless := n.Description.Hostname == "" && n.Status.State == swarm.NodeStateUnknown
		members = append(members, Member{
			ID: n.ID, Hostname: n.Description.Hostname, State: string(n.Status.State), Address: n.Status.Addr,
			Abandoned: nameless && now.Sub(n.CreatedAt) > joinsWithin,
		})
	}
	return members
}

// RemoveMember removes a node from the swarm, also one that did not leave by itself. Only on a manager.
func (e *Engine) RemoveMember(ctx context.Context, id string) error {
	return failed("remove swarm node", id, e.api.NodeRemove(ctx, id, swarm.NodeRemoveOptions{Force: true}))
}

func swarmOf(info system.Info) Swarm {
	s := Swarm{
		State:   SwarmState(info.Swarm.LocalNodeState),
		NodeID:  info.Swarm.NodeID,
		Manager: info.Swarm.ControlAvailable,
		Error:   info.Swarm.Error,
	}
	switch {
	case info.Swarm.Cluster != nil && info.Swarm.Cluster.ID != "":
		s.ClusterID = info.Swarm.Cluster.ID
	case s.State != SwarmInactive && s.State != "":
		s.ClusterID = clusterOfCertificate(info.DockerRootDir, s.NodeID)
	}
	return s
}

// clusterOfCertificate tells the swarm of a worker, which the API tells on managers only: swarmkit issues node
// certificates with the cluster's id as organization and the node's id as common name. Empty when there is none.
func clusterOfCertificate(root, nodeID string) string {
	content, err := os.ReadFile(filepath.Join(root, "swarm", "certificates", "swarm-node.crt"))
	if err != nil {
		return ""
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return ""
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil || certificate.Subject.CommonName != nodeID || len(certificate.Subject.Organization) == 0 {
		return ""
	}
	return certificate.Subject.Organization[0]
}
