package cli

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/console"
	"github.com/swarmlab/swarmlab/lab/powerfault"
)

type records []powerfault.Fault

func (r *records) List() ([]powerfault.Fault, error) { return *r, nil }

// A fault that does not end says why while it is tried again, once for each reason.
func TestTroubleIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := App{err: console.New(&out, nil)}
		faults := records{{ID: "1", Kind: powerfault.PowerOff, Node: "frontend02"}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go a.printTrouble(ctx, &faults)
		time.Sleep(2 * troubleEvery)
		synctest.Wait()
		if out.Len() > 0 {
			t.Errorf("it has no trouble: %s", &out)
		}
		for _, trouble := range []string{"no engine", "no engine", "no agent"} {
			faults = records{{ID: "1", Kind: powerfault.PowerOff, Node: "frontend02", Trouble: trouble}}
			time.Sleep(2 * troubleEvery)
			synctest.Wait()
		}
		want := "power-off on frontend02 has not ended yet; trying again: no engine\npower-off on frontend02 has not ended yet; trying again: no agent\n"
		if out.String() != want {
			t.Errorf("%q", out.String())
		}
	})
}
