package terminal

import (
	"errors"
	"io"
	"os"
	"time"
)

// Input is what Windows has no need of.
type Input struct{ io.Reader }

// Open fails: the console is bubbletea's.
func Open(*os.File, io.Writer) (*Input, error) { return nil, errors.ErrUnsupported }

// Background is not known.
func (*Input) Background(time.Duration) (dark, ok bool) { return false, false }

// Close does nothing.
func (*Input) Close() error { return nil }
