package cli

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

// troubles are what keeps a fault from ending, one look after the other; after the last it is over.
type troubles struct {
	left []string
	over context.CancelFunc
}

func (r *troubles) List() ([]powerfault.Fault, error) {
	if len(r.left) == 0 {
		r.over()
		return nil, nil
	}
	f := powerfault.Fault{ID: "1", Kind: powerfault.PowerOff, Node: "frontend02", Trouble: r.left[0]}
	r.left = r.left[1:]
	return []powerfault.Fault{f}, nil
}

// A fault that does not end says why while it is tried again, once for each reason.
func TestTroubleIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := App{err: console.New(&out, nil)}
		ctx, cancel := context.WithCancel(t.Context())
		a.printTrouble(ctx, &troubles{[]string{"", "no engine", "no engine", "no agent"}, cancel})
		want := "power-off on frontend02 has not ended yet; trying again: no engine\npower-off on frontend02 has not ended yet; trying again: no agent\n"
		if out.String() != want {
			t.Errorf("%q", out.String())
		}
	})
}
