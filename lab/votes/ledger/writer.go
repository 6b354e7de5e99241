package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/swarmlab/swarmlab/lab/host/lock/flock"
)

// ErrClosed says that the ledger was closed.
var ErrClosed = errors.New("the ledger is closed")

// ErrRemoved says that the ledger's file was removed while it was written: what it holds nobody will read.
var ErrRemoved = errors.New("the ledger was removed while votes were cast: the lab was cleared or taken down, or .lab deleted")

// syncInterval is how often a ledger that is written to is synced to the disk: that much of it a power failure can take. A crash
// of the writer takes nothing of what was sent, and outcomes of the last interval at most.
const syncInterval = 100 * time.Millisecond

// Writer appends to a ledger. Many goroutines may do so at once. The first error is final: what comes after it is refused with the
// same error, so that the file never has a gap.
type Writer struct {
	file *os.File

	// mu guards what is to be written; io is held while some of it is. A goroutine that waits for io finds what it brought
	// written by the one before it: writes are as large as the callers are many.
	mu      sync.Mutex
	pending []byte
	queued  uint64 // bytes ever appended to pending
	closed  bool
	err     error

	io      sync.Mutex
	spare   []byte
	written uint64 // of queued

	stop chan struct{}
	done sync.WaitGroup
}

// Create makes the ledger of a new run in dir, which is made if need be. The file is locked as long as its writer lives: see [Reader.Live].
func Create(dir string, run Run) (*Writer, error) {
	header, err := encodeHeader(run)
	if err != nil {
		return nil, err
	}
	w := &Writer{stop: make(chan struct{})}
	if w.file, err = create(dir, run.ID, header); err != nil {
		return nil, fmt.Errorf("make a ledger: %w", err)
	}
	w.done.Go(w.sync)
	return w, nil
}

// create makes the file under another name first, so that no ledger is ever without its header.
func create(dir string, id RunID, header []byte) (_ *os.File, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	temporary := Path(dir, id) + ".new"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
			_ = f.Close()
		}
	}()
	if err := flock.TryLock(f); err != nil {
		return nil, fmt.Errorf("lock %s: %w", temporary, err)
	}
	if _, err := f.Write(header); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(Path(dir, id)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", Path(dir, id), errors.Join(err, fs.ErrExist))
	}
	if err := os.Rename(temporary, Path(dir, id)); err != nil {
		return nil, err
	}
	return f, syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sent writes down that a vote, 'a' or 'b', is about to be sent. When it returns nil, the kernel has it: it outlives this process, however that ends.
func (w *Writer) Sent(v Voter, s Seq, choice byte, at time.Duration) error {
	if choice == 0 {
		return errors.New("a vote without a choice")
	}
	ticket, err := w.enqueue(Record{Voter: v, Seq: s, Choice: choice, At: at})
	if err != nil {
		return err
	}
	return w.flush(ticket)
}

// Answered writes down the outcome of a vote that was sent. It leaves with the next vote that is sent, or within a tenth of a second:
// an outcome that is lost with the process leaves its vote as one of unknown outcome, which is always true.
func (w *Writer) Answered(v Voter, s Seq, o Outcome, at time.Duration) error {
	_, err := w.enqueue(Record{Voter: v, Seq: s, Outcome: o, At: at})
	return err
}

// enqueue returns the number of bytes up to the record's end.
func (w *Writer) enqueue(r Record) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return 0, ErrClosed
	case w.err != nil:
		return 0, w.err
	}
	before := len(w.pending)
	var err error
	if w.pending, err = appendRecord(w.pending, r); err != nil {
		return 0, fmt.Errorf("write to the ledger: %w", err)
	}
	w.queued += uint64(len(w.pending) - before)
	return w.queued, nil
}

// flush returns when the first ticket bytes are in the kernel.
func (w *Writer) flush(ticket uint64) error {
	w.io.Lock()
	defer w.io.Unlock()
	if w.written >= ticket {
		return nil
	}
	w.mu.Lock()
	batch, upTo, err := w.pending, w.queued, w.err
	if err == nil {
		w.pending = w.spare[:0]
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	w.spare = batch
	if _, err := w.file.Write(batch); err != nil {
		return w.fail(fmt.Errorf("write to the ledger: %w", err))
	}
	w.written = upTo
	return nil
}

func (w *Writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	return err
}

func (w *Writer) flushAll() error {
	w.mu.Lock()
	ticket, err := w.queued, w.err
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.flush(ticket)
}

func (w *Writer) sync() {
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	var synced uint64
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		if w.flushAll() != nil {
			return // The next caller is told.
		}
		if removed(w.file) {
			_ = w.fail(ErrRemoved)
			return
		}
		w.io.Lock()
		written := w.written
		w.io.Unlock()
		if written == synced {
			continue
		}
		if err := w.file.Sync(); err != nil {
			_ = w.fail(fmt.Errorf("sync the ledger: %w", err))
			return
		}
		synced = written
	}
}

// Close writes what is left, syncs and closes the file. It returns the first error that the ledger ever had.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.closed = true
	w.mu.Unlock()
	close(w.stop)
	w.done.Wait()
	return errors.Join(w.flushAll(), w.file.Sync(), w.file.Close())
}
