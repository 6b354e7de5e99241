package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/swarmlab/swarmlab/lab/host/lock/flock"
)

// DamagedError says that a ledger is damaged in its middle: what follows Offset cannot be relied on, although there is more.
type DamagedError struct {
	Path string
	// Offset of the damaged record, in bytes from the beginning of the file.
	Offset int64
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: what it says of votes from there on is lost, so nothing can be judged by it", e.Path, e.Offset)
}

// Reader streams the records of a ledger.
type Reader struct {
	path  string
	file  *os.File
	run   Run
	names names

	header     int64 // its length
	buf        []byte
	start, end int   // of what was read and not yet delivered, in buf
	offset     int64 // of buf[start] in the file
	torn       int64
}

// Open opens a ledger. Close it.
func Open(path string) (*Reader, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("open a ledger: %w", err)
	}
	run, size, err := readHeader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &Reader{path: path, file: f, run: run, names: names{}, header: size, buf: make([]byte, 1<<20), offset: size}, nil
}

// Run is what the ledger says of the run.
func (r *Reader) Run() Run { return r.run }

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Torn is the number of bytes at the end of the file that are no whole record. It holds after Next has returned io.EOF.
func (r *Reader) Torn() int64 { return r.torn }

// Next returns the next record. The error is io.EOF at the end of the file or at its torn tail; Next may be called again when more
// has been written. It is a *DamagedError when whole records follow one that is not.
func (r *Reader) Next() (Record, error) {
	for {
		record, n, err := parseRecord(r.buf[r.start:r.end], r.names)
		if err == nil {
			r.start += n
			r.offset += int64(n)
			return record, nil
		}
		if errors.Is(err, errShort) || r.end-r.start < maxRecord {
			more, err := r.fill()
			if err != nil {
				return Record{}, fmt.Errorf("read %s: %w", r.path, err)
			}
			if more {
				continue
			}
		}
		return Record{}, r.tail()
	}
}

// All gives all records from the first one. After an error there are no more.
func (r *Reader) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r.seek(r.header)
		for {
			record, err := r.Next()
			if errors.Is(err, io.EOF) || !yield(record, err) || err != nil {
				return
			}
		}
	}
}

// fill reads more behind what is in the buffer; false at the end of the file.
func (r *Reader) fill() (bool, error) {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.end -= r.start
		r.start = 0
	}
	n, err := r.file.ReadAt(r.buf[r.end:], r.offset+int64(r.end))
	r.end += n
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n > 0, nil
}

// tail finds out what it means that there is no record at offset.
func (r *Reader) tail() error {
	at := r.offset
	defer func() { r.seek(at) }()
	for {
		for r.start < r.end {
			if r.start > 0 || r.offset > at {
				if _, _, err := parseRecord(r.buf[r.start:r.end], r.names); err == nil {
					return &DamagedError{Path: r.path, Offset: at}
				} else if errors.Is(err, errShort) && r.end-r.start < maxRecord {
					break
				}
			}
			r.start++
			r.offset++
		}
		more, err := r.fill()
		if err != nil {
			return fmt.Errorf("read %s: %w", r.path, err)
		}
		if more {
			continue
		}
		if r.start == r.end {
			r.torn = r.offset - at
			return io.EOF
		}
		// What may be a record that is cut short may also hide a whole one.
		r.start++
		r.offset++
	}
}

// seek forgets the buffer.
func (r *Reader) seek(offset int64) { r.start, r.end, r.offset = 0, 0, offset }

// Live tells whether the ledger's writer is still at work.
func (r *Reader) Live() (bool, error) {
	err := flock.TryRLock(r.file)
	if errors.Is(err, flock.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether %s is still written: %w", r.path, err)
	}
	if err := flock.Unlock(r.file); err != nil {
		return false, fmt.Errorf("look whether %s is still written: %w", r.path, err)
	}
	return false, nil
}

// Find returns the paths of all ledgers in dir, in the order of their names; none if there is no dir.
func Find(dir string) ([]string, error) {
	// Only the name is a pattern: the folder's may hold any character.
	names, err := fs.Glob(os.DirFS(dir), "*"+Suffix)
	if err != nil {
		return nil, fmt.Errorf("look for ledgers in %s: %w", dir, err)
	}
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(dir, name)
	}
	return paths, nil
}
