package tile38

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// ErrTooLarge says that an answer is larger than it may be. The connection has
// read past it and can be used on, unless it is closed.
var ErrTooLarge = errors.New("the answer is too large")

const (
	// maxNesting is how deep arrays of an answer may be nested.
	maxNesting = 32
	// chunk is how much of a long text is read at a time, in bytes: each has the
	// whole timeout.
	chunk = 1 << 20
	// itemCost is what an item of an array counts beside its text, in bytes.
	itemCost = 64
)

// Answer is an answer, of any size and shape.
type Answer struct {
	Kind  byte // + : $ * or, inside an array, -
	Null  bool
	Text  string   // all but arrays
	Items []Answer // of an array
}

// Send sends commands and does not wait for their answers, which Receive returns
// one by one. What is sent must be little enough for the buffers on the way, or
// be read by another goroutine.
func (c *Conn) Send(commands ...[]string) error {
	var b []byte
	for _, args := range commands {
		b = AppendCommand(b, args...)
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// Receive returns the next answer. One that is an error comes as an AnswerError,
// one of more than limit bytes as ErrTooLarge.
func (c *Conn) Receive(limit int) (Answer, error) {
	more := func() error { return c.conn.SetDeadline(time.Now().Add(c.timeout)) }
	a, err := ReadAnswer(c.r, limit, more)
	if err == nil && a.Kind == '-' {
		return a, AnswerError(a.Text)
	}
	return a, err
}

// ReadAnswer reads one answer of limit bytes at most; more is called before each
// piece of it, to put off a deadline.
func ReadAnswer(r *bufio.Reader, limit int, more func() error) (Answer, error) {
	p := answerReader{r: r, left: limit, more: more}
	return p.read(0)
}

type answerReader struct {
	r    *bufio.Reader
	left int
	more func() error
}

// take counts n bytes.
func (p *answerReader) take(n int) error {
	if p.left -= n; p.left < 0 {
		return ErrTooLarge
	}
	return nil
}

func (p *answerReader) read(depth int) (Answer, error) {
	line, err := p.line()
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Kind: line[0], Text: line[1:]}
	switch a.Kind {
	case '+', '-', ':':
		return a, nil
	case '$', '*':
	default:
		return a, fmt.Errorf("not an answer: %.32q", line)
	}
	n, err := strconv.Atoi(a.Text)
	a.Text = ""
	switch {
	case err != nil || n < -1:
		return a, fmt.Errorf("not an answer: %.32q", line)
	case n == -1:
		a.Null = true
		return a, nil
	case a.Kind == '$':
		a.Text, err = p.text(n, depth)
		return a, err
	case depth == maxNesting:
		return a, errors.New("an answer is nested too deep")
	}
	for range n {
		if err := p.take(itemCost); err != nil {
			return a, p.lost(err)
		}
		item, err := p.read(depth + 1)
		if err != nil {
			return a, err
		}
		a.Items = append(a.Items, item)
	}
	return a, nil
}

// line reads up to the end of a line, which it does not return.
func (p *answerReader) line() (string, error) {
	if err := p.more(); err != nil {
		return "", err
	}
	var line []byte
	for {
		part, err := p.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return "", ended(err, len(line)+len(part))
		}
		if tooLarge := p.take(len(part)); tooLarge != nil {
			return "", p.lost(tooLarge)
		}
		line = append(line, part...)
		if err == nil {
			break
		}
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return "", fmt.Errorf("not an answer: %.32q", line)
	}
	return string(line[:len(line)-2]), nil
}

// ended makes of an end in the middle of an answer what it is.
func ended(err error, read int) error {
	if errors.Is(err, io.EOF) && read > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// lost says that the rest of the answer is still to come: the connection is of no
// use.
func (p *answerReader) lost(err error) error {
	return fmt.Errorf("%w, and has no end", err)
}

// text reads n bytes and the end of the line.
func (p *answerReader) text(n, depth int) (string, error) {
	if err := p.take(n); err != nil {
		if depth > 0 {
			return "", p.lost(err)
		}
		return "", errors.Join(err, p.skip(n+2))
	}
	b := make([]byte, 0, min(n+2, chunk))
	for len(b) < n+2 {
		if err := p.more(); err != nil {
			return "", err
		}
		at := len(b)
		part := min(n+2-at, chunk)
		b = append(b, make([]byte, part)...)
		if _, err := io.ReadFull(p.r, b[at:]); err != nil {
			return "", ended(err, 1)
		}
	}
	if b[n] != '\r' || b[n+1] != '\n' {
		return "", fmt.Errorf("a text of an answer does not end where it should: %.32q", b[n:])
	}
	return string(b[:n]), nil
}

// skip reads n bytes and forgets them.
func (p *answerReader) skip(n int) error {
	for n > 0 {
		if err := p.more(); err != nil {
			return err
		}
		part, err := p.r.Discard(min(n, chunk))
		if err != nil {
			return ended(err, 1)
		}
		n -= part
	}
	return nil
}
