package aof

import (
	"errors"
	"fmt"
	"io/fs"
)

// ioError is a failed operation on a file.
type ioError struct {
	path string
	err  error
}

func (e *ioError) Error() string { return e.path + ": " + bareError(e.err).Error() }
func (e *ioError) Unwrap() error { return e.err }

// syncError is a failed sync of a segment.
type syncError struct {
	path string
	err  error
	full bool // the disk is full: it may be tried again
}

func (e *syncError) Error() string { return e.path + ": sync: " + bareError(e.err).Error() }
func (e *syncError) Unwrap() error { return e.err }

// bareError takes the path out of an error that names it.
func bareError(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, pe) {
		return pe.Err
	}
	return err
}

// failed notes that writing failed with cause and returns the error for those
// whose commands are concerned. The worker tries again, unless it is a failed
// sync: after it the system may hold as clean, and forget, what never reached
// the disk, so nothing that is appended later could be trusted.
func (l *Log) failed(cause error) error {
	se, isSync := errors.AsType[*syncError](cause)
	fatal := isSync && !se.full
	hint := ""
	switch {
	case fatal:
		hint = "; the disk lost data that was handed to it: restart the process to go on from what is on the disk"
	case isFull(cause):
		hint = "; free space or enlarge the volume"
	}
	err := fmt.Errorf("%w: %w%s", ErrUnwritable, cause, hint)
	l.mu.Lock()
	first := l.failure == nil
	if l.fatal {
		err = l.failure
	} else {
		l.failure, l.fatal = err, fatal
	}
	l.mu.Unlock()
	if first {
		l.logger.Error("the log cannot be written", "error", cause, "until_restart", fatal)
		l.wakeWorker()
	}
	return err
}
