package tile38

import (
	"bufio"
	"context"
	"crypto/md5" //nolint:gosec // AOFMD5 is a checksum by definition of the protocol, no protection
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/redcon"
)

const (
	// readBuffer of a connection, in bytes.
	readBuffer = 64 << 10
	// maxAnswer is the longest answer to a question, in bytes.
	maxAnswer = 64 << 10
)

// AnswerError is an error that the server answered with, as it stands.
type AnswerError string

func (e AnswerError) Error() string { return string(e) }

// LocalName is the name of connections whose commands a sidecar carries out on its
// own Tile38, whoever that follows.
const LocalName = "evenkeel:local"

// Options say how to reach a server.
type Options struct {
	Addr string // host:port
	Auth string // password; empty: none
	// Dial connects. Default: TCP with Timeout.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Timeout is for connecting and for each answer. Default 5 s.
	Timeout time.Duration
	// Local lets a sidecar that is asked in the place of its Tile38 pass nothing on to
	// the leader: the connection is called LocalName.
	Local bool
}

// Conn is a connection to a Tile38 server. One goroutine at a time may use it.
type Conn struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration
	unhook  func() bool
	broken  error // why no answer can be told from that to an earlier question any more
}

// Dial connects and, if there is a password, says it. The end of ctx closes the
// connection, whatever it is used for then.
func Dial(ctx context.Context, opt Options) (*Conn, error) {
	if opt.Timeout == 0 {
		opt.Timeout = 5 * time.Second
	}
	if opt.Dial == nil {
		d := net.Dialer{Timeout: opt.Timeout}
		opt.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	conn, err := opt.Dial(ctx, opt.Addr)
	if err != nil {
		return nil, err // names the address
	}
	c := &Conn{conn: conn, r: bufio.NewReaderSize(conn, readBuffer), timeout: opt.Timeout}
	c.unhook = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := c.introduce(opt); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// introduce says the password, and the name if there is to be one. A server that
// takes no names is no sidecar.
func (c *Conn) introduce(opt Options) error {
	if opt.Auth != "" {
		if _, err := c.Do("auth", opt.Auth); err != nil {
			return err
		}
	}
	if !opt.Local {
		return nil
	}
	_, err := c.Do("client", "setname", LocalName)
	if _, answered := errors.AsType[AnswerError](err); answered {
		return nil
	}
	return err
}

// Close ends the connection. One that was closed already is no error.
func (c *Conn) Close() error {
	c.unhook()
	if err := c.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Take hands the connection to the caller, who closes it: the end of Dial's context
// does not any more. r has what was read ahead.
func (c *Conn) Take() (conn net.Conn, r *bufio.Reader, err error) {
	if !c.unhook() {
		return nil, nil, net.ErrClosed
	}
	return c.conn, c.r, c.conn.SetDeadline(time.Time{})
}

// AppendCommand appends a command as it is on the wire, and in the file.
func AppendCommand(b []byte, args ...string) []byte {
	b = redcon.AppendArray(b, len(args))
	for _, a := range args {
		b = redcon.AppendBulkString(b, a)
	}
	return b
}

// Do sends a command and returns its answer. An answer that is an error comes as
// an AnswerError. After any other error the connection is of no use: an answer that comes too
// late would be taken for that to the next command.
func (c *Conn) Do(args ...string) (redcon.RESP, error) {
	if c.broken != nil {
		return redcon.RESP{}, fmt.Errorf("the connection is of no use any more: %w", c.broken)
	}
	v, err := c.do(args)
	if _, answered := errors.AsType[AnswerError](err); err != nil && !answered {
		c.broken = err
	}
	return v, err
}

func (c *Conn) do(args []string) (redcon.RESP, error) {
	none := redcon.RESP{}
	b := AppendCommand(nil, args...)
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return none, err
	}
	if _, err := c.conn.Write(b); err != nil {
		return none, err
	}
	var answer []byte
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return none, fmt.Errorf("reading the answer to %s: %w", args[0], err)
		}
		answer = append(answer, line...)
		if len(answer) > maxAnswer {
			return none, fmt.Errorf("the answer to %s has no end", args[0])
		}
		n, v := redcon.ReadNextRESP(answer)
		switch {
		case n == 0:
			continue
		case v.Type == redcon.Error:
			return none, AnswerError(v.Data)
		}
		return v, nil
	}
}

// Server is what SERVER says, as far as it matters here.
type Server struct {
	ID        string `json:"id"`
	Following string `json:"following"` // the leader's address; empty: it has none
	Version   string `json:"version"`   // empty: it did not say
	AOFSize   int64  `json:"aof_size"`  // bytes of the append-only file
	Counts    Counts `json:"counts"`
}

// Counts are the sizes of a server's data.
type Counts struct {
	Collections int64 `json:"collections"`
	Objects     int64 `json:"objects"`
	Points      int64 `json:"points"`
	Strings     int64 `json:"strings"`
	Hooks       int64 `json:"hooks"`
}

// Server asks with SERVER.
func (c *Conn) Server() (Server, error) {
	v, err := c.Do("server")
	if err != nil {
		return Server{}, err
	}
	m := v.Map()
	s := Server{ID: m["id"].String(), Following: m["following"].String(), Version: m["version"].String()}
	for name, to := range map[string]*int64{
		"aof_size": &s.AOFSize, "num_collections": &s.Counts.Collections, "num_objects": &s.Counts.Objects,
		"num_points": &s.Counts.Points, "num_strings": &s.Counts.Strings, "num_hooks": &s.Counts.Hooks,
	} {
		text, ok := m[name]
		if !ok {
			continue
		}
		if *to, err = strconv.ParseInt(text.String(), 10, 64); err != nil || *to < 0 {
			return s, fmt.Errorf("answer to server: %s is %.64q", name, text.String())
		}
	}
	return s, nil
}

// Replicates says whether the server is an Evenkeel, which knows REPLICATE. The
// command is sent without words, so that it does nothing but be known or not.
func (c *Conn) Replicates() (bool, error) {
	_, err := c.Do("replicate")
	if answer, ok := errors.AsType[AnswerError](err); ok {
		return !strings.Contains(strings.ToLower(string(answer)), "unknown command"), nil
	}
	return err == nil, err
}

// Equal says whether the leader's file holds b at pos.
func (c *Conn) Equal(pos int64, b []byte) (bool, error) {
	v, err := c.Do("aofmd5", strconv.FormatInt(pos, 10), strconv.Itoa(len(b)))
	if _, ok := errors.AsType[AnswerError](err); ok { // it has no such piece
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sum := md5.Sum(b) //nolint:gosec // see above
	return v.String() == hex.EncodeToString(sum[:]), nil
}

// LocalHost is this side's address of the connection: where the server can reach us,
// if no proxy is between.
func (c *Conn) LocalHost() string {
	host, _, err := net.SplitHostPort(c.conn.LocalAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// Announce tells the leader where clients reach this server. ip "" leaves it to
// the connection's address.
func (c *Conn) Announce(port int, ip string) error {
	if _, err := c.Do("replconf", "listening-port", strconv.Itoa(port)); err != nil {
		return err
	}
	if ip == "" {
		return nil
	}
	_, err := c.Do("replconf", "ip-address", ip)
	return err
}

// Follow asks for the leader's file from pos on. The connection is the stream
// from then on.
func (c *Conn) Follow(pos int64) (*Stream, error) {
	if _, err := c.Do("aof", strconv.FormatInt(pos, 10)); err != nil {
		return nil, err
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return newStream(c, pos), nil
}
