package engine

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// LogOptions says which lines of a container's output are wanted.
type LogOptions struct {
	// Tail: so many lines from the end.
	Tail   int
	Follow bool
}

// maxLine bounds a line of output; longer ones come in pieces.
const maxLine = 64 << 10

// Logs calls line for every line of a container's output, from both streams in the order in which the engine got them.
// It ends with the output, with the context, or with the error of line.
func (e *Engine) Logs(ctx context.Context, id string, options LogOptions, line func(text string, stderr bool) error) error {
	inspected, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return failed("inspect container", id, err)
	}
	body, err := e.api.ContainerLogs(ctx, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: options.Follow, Tail: strconv.Itoa(options.Tail),
	})
	if err != nil {
		return failed("read the logs of container", id, err)
	}
	defer func() { _ = body.Close() }()
	if inspected.Config != nil && inspected.Config.Tty {
		scan := bufio.NewScanner(body)
		scan.Buffer(nil, maxLine)
		for scan.Scan() {
			if err := line(scan.Text(), false); err != nil {
				return err
			}
		}
		return failed("read the logs of container", id, scan.Err())
	}
	stdout, stderr := &lineWriter{line: line}, &lineWriter{line: line, stderr: true}
	_, err = stdcopy.StdCopy(stdout, stderr, body)
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.Join(stdout.flush(), stderr.flush())
	}
	if stop := errors.Join(stdout.err, stderr.err); stop != nil {
		return stop
	}
	return failed("read the logs of container", id, err)
}

// lineWriter cuts what is written to it into lines.
type lineWriter struct {
	line   func(text string, stderr bool) error
	stderr bool
	rest   []byte
	err    error
}

func (w *lineWriter) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i++ {
		if p[i] != '\n' && len(w.rest) < maxLine {
			w.rest = append(w.rest, p[i])
			continue
		}
		if p[i] != '\n' {
			i-- // the piece is full: give it out and look at this byte again
		}
		if err := w.give(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (w *lineWriter) flush() error {
	if len(w.rest) == 0 {
		return nil
	}
	return w.give()
}

func (w *lineWriter) give() error {
	w.err = w.line(string(w.rest), w.stderr)
	w.rest = w.rest[:0]
	return w.err
}
