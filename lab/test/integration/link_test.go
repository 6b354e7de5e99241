//go:build integration

package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/swarmlab/swarmlab/agents/api/agent/v1"
	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// inNet runs a command in the network of a container, as its node's root.
func (l *lab) inNet(ctx context.Context, node, container string, command ...string) (string, error) {
	pid, err := l.onNode(ctx, node, "docker", "inspect", "-f", "{{.State.Pid}}", container)
	if err != nil {
		return "", err
	}
	return l.onNode(ctx, node, append([]string{"nsenter", "--net=/proc/" + strings.TrimSpace(pid) + "/ns/net", "--"}, command...)...)
}

func (l *lab) mustInNet(t *testing.T, node, container string, command ...string) string {
	t.Helper()
	out, err := l.inNet(t.Context(), node, container, command...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// cleanLinks looks into a container's network for what a fault leaves.
func (l *lab) cleanLinks(ctx context.Context, node, container string) error {
	queues, err := l.inNet(ctx, node, container, "tc", "qdisc", "show")
	if err != nil {
		return err
	}
	tables, err := l.inNet(ctx, node, container, "nft", "list", "tables")
	if err != nil {
		return err
	}
	if strings.Contains(queues, "tbf") || strings.Contains(queues, "netem") || strings.Contains(tables, "swarmlab_fault") {
		return fmt.Errorf("the links of %s are not as they were: %s%s", container, queues, tables)
	}
	return nil
}

// A container that crashes while its links are bad has good ones when it is back, and the fault ends all the same.
func TestALinkFaultEndsWithItsContainer(t *testing.T) {
	l := open(t)
	votes := l.tryOut(t, newSeed(t), 0)
	l.inject(t, "worker01", &agentv1.InjectRequest{Kind: "loss", Container: "worker01", Loss: 0.5}, 8*time.Second)
	before, err := l.container(t.Context(), "worker01", "worker01")
	if err != nil {
		t.Fatal(err)
	}
	l.mustOnNode(t, "worker01", "kill", "-KILL", strconv.Itoa(int(before.GetPid())))
	waitFor(t, l.patience, "worker01 is back", func(ctx context.Context) error {
		now, err := l.container(ctx, "worker01", "worker01")
		if err == nil && (now.GetPid() == before.GetPid() || now.GetState() != "running") {
			err = fmt.Errorf("process %d is %s", now.GetPid(), now.GetState())
		}
		return err
	})
	if err := l.cleanLinks(t.Context(), "worker01", "worker01"); err != nil {
		t.Error(err)
	}
	l.noFault(t, "worker01")
	l.waitReady(t)
	votes.pass(t, l)
}

// The disk under a queue is full, under votes: the other frontend takes them, and none is lost. On container nodes, whose disk is their
// host's, it is refused, and nothing is written.
func TestFillUnderVotes(t *testing.T) {
	l := open(t)
	const node, container = "frontend01", "redis01"
	left := func() (files string, free int) {
		t.Helper()
		folder := l.mustOnNode(t, node, "docker", "volume", "inspect", "-f", "{{.Mountpoint}}", container+"-data")
		fields := strings.Fields(l.mustOnNode(t, node, "df", "--output=avail", folder))
		free, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			t.Fatal(err)
		}
		return l.mustOnNode(t, node, "ls", "-A", folder), free
	}
	if l.Provider == settings.ProviderDocker {
		_, err := l.fleet.Inject(t.Context(), node, &agentv1.InjectRequest{
			Kind: "fill", Container: container, Lease: durationpb.New(time.Minute), Holder: holder(t),
		})
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "disk of this node's host") {
			t.Errorf("the host's disk: %v", err)
		}
		t.Logf("fill: %v", err)
		if files, free := left(); strings.Contains(files, "swarmlab_fault") || free == 0 {
			t.Errorf("%d KiB are free; there are %s", free, files)
		}
		return
	}
	votes := l.tryOut(t, newSeed(t), 0)
	votes.more(t, l, int64(l.rate))
	_, before := left()
	l.inject(t, node, &agentv1.InjectRequest{Kind: "fill", Container: container}, 10*time.Minute)
	if files, free := left(); !strings.Contains(files, "swarmlab_fault") || free > 1<<10 {
		t.Errorf("%d KiB are free; there are %s", free, files)
	}
	votes.more(t, l, int64(l.rate))
	l.heal(t)
	if files, free := left(); strings.Contains(files, "swarmlab_fault") || free < before/2 {
		t.Errorf("%d KiB are free, %d before; there are %s", free, before, files)
	}
	l.waitReady(t)
	votes.pass(t, l)
}
