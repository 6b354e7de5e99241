package lifecycle

import (
	"context"
	"fmt"
	"time"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/fleet"
)

// Queue reads a frontend's queue through its agent; it is a client.Queue.
type Queue struct{ Fleet *fleet.Fleet }

// Depth implements client.Queue.
func (q Queue) Depth(ctx context.Context, frontend string) (captured, queued float64, check time.Time, err error) {
	n, ok := look(ctx, q.Fleet).Node(frontend)
	switch {
	case !ok:
		return 0, 0, time.Time{}, fmt.Errorf("the vote was served by %q, which is no node of this lab", frontend)
	case n.Err != nil:
		return 0, 0, time.Time{}, n.Err
	}
	captured, haveCaptured := fleet.Measure(n, contract.MeasureCaptured)
	queued, haveQueued := fleet.Measure(n, contract.MeasureQueued)
	if !haveCaptured || !haveQueued {
		return 0, 0, time.Time{}, fmt.Errorf("%s does not say how long its queue is: %s", frontend, n.Snapshot.GetRole().GetMessage())
	}
	return captured, queued, n.Snapshot.GetRole().GetCheckedAt().AsTime(), nil
}
