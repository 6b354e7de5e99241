package watch

import (
	"context"
	"time"

	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// outagesEvery is how often the host's own records are read.
const outagesEvery = 500 * time.Millisecond

// PowerFaults tells of the faults of nodes' power, which the host keeps on record, until ctx ends. Records that cannot be read are left for the
// next look: whoever wrote them tells of it.
func PowerFaults(ctx context.Context, records interface {
	List() ([]powerfault.Fault, error)
}, tell func([]powerfault.Fault),
) {
	every(ctx, outagesEvery, func(context.Context) func() {
		faults, err := records.List()
		return func() {
			if err == nil {
				tell(faults)
			}
		}
	})
}
