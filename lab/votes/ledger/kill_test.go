package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/lab/votes/ledger"
)

// childDir is set for the process that is to be killed.
const childDir = "LEDGER_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

var killedRun = ledger.RunID{1, 2, 3, 4, 5, 6}

// writeForEver says on the standard output each vote whose Sent returned.
func writeForEver(dir string) error {
	w, err := ledger.Create(dir, ledger.Run{ID: killedRun})
	if err != nil {
		return err
	}
	failed := make(chan error)
	var mu sync.Mutex
	for v := range ledger.Voter(8) {
		go func() {
			begun := time.Now()
			for s := ledger.Seq(0); ; s++ {
				if err := w.Sent(v, s, 'a', time.Since(begun)); err != nil {
					failed <- err
				}
				mu.Lock()
				fmt.Println(v, s)
				mu.Unlock()
				o := ledger.Outcome{Kind: ledger.Acknowledged, VoterID: uuid.New(), Order: int64(s), ServedBy: "frontend01"}
				if err := w.Answered(v, s, o, time.Since(begun)); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// TestKilled: what Sent returned for survives SIGKILL, whenever that comes.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, after := range []int{1, 50, 5000, 20000} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			child := exec.CommandContext(context.Background(), os.Args[0])
			child.Env = append(os.Environ(), childDir+"="+dir)
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			type vote struct {
				voter ledger.Voter
				seq   ledger.Seq
			}
			said := map[vote]bool{}
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				var v vote
				// The last line may be cut short by the kill.
				if n, _ := fmt.Sscanf(lines.Text()+"\n", "%d %d\n", &v.voter, &v.seq); n == 2 && len(said) < after {
					said[v] = true
				}
				if len(said) == after {
					if err := child.Process.Signal(syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			_, _ = io.Copy(io.Discard, out)
			_ = child.Wait()
			if len(said) != after {
				t.Fatalf("the child said %d votes only", len(said))
			}

			r, err := ledger.Open(ledger.Path(dir, killedRun))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close() //nolint:errcheck // only read
			if live, err := r.Live(); live || err != nil {
				t.Errorf("its writer was killed: %v %v", live, err)
			}
			for {
				record, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if record.IsSent() {
					delete(said, vote{record.Voter, record.Seq})
				}
			}
			if len(said) > 0 {
				t.Errorf("%d votes were sent and are not in the ledger", len(said))
			}
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	for _, voters := range []int{1, 64} {
		b.Run(fmt.Sprintf("%dvoters", voters), func(b *testing.B) {
			w, err := ledger.Create(b.TempDir(), ledger.Run{ID: killedRun})
			if err != nil {
				b.Fatal(err)
			}
			o := ledger.Outcome{Kind: ledger.Acknowledged, VoterID: uuid.New(), ServedBy: "frontend01"}
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for v := range voters {
				all.Go(func() {
					for i := range b.N / voters {
						if err := errors.Join(w.Sent(ledger.Voter(v), ledger.Seq(i)&ledger.MaxSeq, 'a', 0),
							w.Answered(ledger.Voter(v), ledger.Seq(i)&ledger.MaxSeq, o, 0)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			if err := w.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	dir := b.TempDir()
	w, err := ledger.Create(dir, ledger.Run{ID: killedRun})
	if err != nil {
		b.Fatal(err)
	}
	o := ledger.Outcome{Kind: ledger.Acknowledged, VoterID: uuid.New(), ServedBy: "frontend01"}
	for i := range b.N {
		if err := errors.Join(w.Sent(ledger.Voter(i), 0, 'a', 0), w.Answered(ledger.Voter(i), 0, o, 0)); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	r, err := ledger.Open(ledger.Path(dir, killedRun))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // only read
	n := 0
	for ; err == nil; n++ {
		_, err = r.Next()
	}
	if n-1 != 2*b.N || !errors.Is(err, io.EOF) {
		b.Fatal(n, err)
	}
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
