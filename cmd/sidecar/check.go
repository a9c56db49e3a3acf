package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"evenkeel/pkg/tlsfile"
)

// check is what `sidecar check` is asked for.
type check struct {
	leader       string
	reads        []string
	key          string
	passwordFile string
	tls          bool
	files        tlsfile.Files
	name         string
	timeout      time.Duration
	json         bool

	password string
	dial     func(ctx context.Context, addr string) (net.Conn, error)
}

// checkPause is how long check rests before it asks again.
const checkPause = 200 * time.Millisecond

// Where the object of check is.
const (
	checkLat = "33.5123"
	checkLon = "-112.2693"
)

// checked is what it says of one server.
type checked struct {
	Server string  `json:"server"`
	Role   string  `json:"role"` // leader, read
	Millis float64 `json:"milliseconds"`
}

func checkCommand() *cobra.Command {
	c := check{}
	cmd := &cobra.Command{
		Use:   "check --leader HOST:PORT [--read HOST:PORT]...",
		Short: "Write an object through one address, read and find it through others",
		Long: `check writes a point into a collection of its own, reads it back (GET) and finds
it (NEARBY), then does the same through each --read address, where it may take a
moment to arrive, and deletes it. What fails is tried again until --timeout. Exit
status 0 means that all of it worked.

The password, if one is wanted, is in --password-file or in the environment
variable EVENKEEL_PASSWORD.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			return c.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.leader, "leader", "", "address that takes writes, HOST:PORT")
	f.StringArrayVar(&c.reads, "read", nil, "address that answers reads, HOST:PORT; may be given several times")
	f.StringVar(&c.key, "key", "~evenkeel:check", "collection for the object")
	f.StringVar(&c.passwordFile, "password-file", "", "file with the password")
	f.BoolVar(&c.tls, "tls", false, "the servers speak TLS")
	f.StringVar(&c.files.CA, "tls-ca", "", "file with the certificates of those who sign the servers'; without, those that the system trusts")
	f.StringVar(&c.name, "tls-name", "", "what the servers' certificate must name; without, the host of the address")
	f.StringVar(&c.files.Cert, "tls-cert", "", "file with a certificate to show to the servers")
	f.StringVar(&c.files.Key, "tls-key", "", "file with its key")
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "how long all of it may take")
	f.BoolVar(&c.json, "json", false, "answer as JSON")
	return cmd
}

// validate lists every fault of the flags, and reads the files that they name.
func (c *check) validate() error {
	var faults []error
	if c.leader == "" {
		faults = append(faults, errors.New("--leader is missing: want HOST:PORT"))
	} else if _, _, err := splitHostPort(c.leader); err != nil {
		faults = append(faults, fmt.Errorf("--leader %q: want HOST:PORT: %w", c.leader, err))
	}
	for _, r := range c.reads {
		if _, _, err := splitHostPort(r); err != nil {
			faults = append(faults, fmt.Errorf("--read %q: want HOST:PORT: %w", r, err))
		}
	}
	if c.key == "" {
		faults = append(faults, errors.New(`--key "": want a name`))
	}
	if c.timeout <= 0 {
		faults = append(faults, fmt.Errorf("--timeout %s: want more than 0", c.timeout))
	}
	var err error
	if c.password, err = secret(c.passwordFile, "EVENKEEL_PASSWORD"); err != nil {
		faults = append(faults, fmt.Errorf("--password-file: %w", err))
	}
	return errors.Join(append(faults, c.secure()...)...)
}

// secure says how servers are connected to.
func (c *check) secure() []error {
	if !c.tls {
		if c.name != "" || c.files != (tlsfile.Files{}) {
			return []error{errors.New("--tls-ca, --tls-name, --tls-cert, --tls-key: give --tls as well")}
		}
		c.dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
		return nil
	}
	if err := c.files.Validate(); err != nil {
		return []error{fmt.Errorf("--tls-cert, --tls-key: %w", err)}
	}
	client, err := tlsfile.NewClient(c.files, c.name, func(error) {})
	if err != nil {
		return []error{fmt.Errorf("--tls: %w", err)}
	}
	c.dial = client.Dial
	return nil
}

// run writes, reads everywhere, and deletes.
func (c *check) run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	id := "check-" + rand.Text()
	began := time.Now()
	if err := c.insist(ctx, c.leader, func(rdb *redis.Client) error {
		// It goes by itself, should nobody be left to delete it.
		if err := rdb.Do(ctx, "SET", c.key, id, "EX", "600", "POINT", checkLat, checkLon).Err(); err != nil {
			return fmt.Errorf("SET: %w", err)
		}
		return c.find(ctx, rdb, id)
	}); err != nil {
		return err
	}
	report := []checked{{c.leader, "leader", millis(began)}}
	for _, addr := range c.reads {
		began := time.Now()
		if err := c.insist(ctx, addr, func(rdb *redis.Client) error { return c.find(ctx, rdb, id) }); err != nil {
			return err
		}
		report = append(report, checked{addr, "read", millis(began)})
	}
	if err := c.insist(ctx, c.leader, func(rdb *redis.Client) error {
		if err := rdb.Do(ctx, "DEL", c.key, id).Err(); err != nil {
			return fmt.Errorf("DEL: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	return c.print(out, report)
}

func millis(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

// insist does f over a new connection to addr until it works or ctx ends. The
// error is that of the last attempt which ctx did not cut short.
func (c *check) insist(ctx context.Context, addr string, f func(*redis.Client) error) error {
	var last error
	for {
		err := c.once(ctx, addr, f)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", addr, last)
		case <-time.After(checkPause):
		}
	}
}

func (c *check) once(ctx context.Context, addr string, f func(*redis.Client) error) error {
	conn, err := c.dial(ctx, addr)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{
		Addr: addr, Password: c.password, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	})
	// The client closes the connection if it has used it, conn.Close if not.
	defer func() { _, _ = rdb.Close(), conn.Close() }()
	return f(rdb)
}

// find reads the object, and finds it by its place.
func (c *check) find(ctx context.Context, rdb *redis.Client, id string) error {
	point, err := rdb.Do(ctx, "GET", c.key, id, "POINT").StringSlice()
	if err != nil {
		return fmt.Errorf("GET: %w", err)
	}
	if want := []string{checkLat, checkLon}; !slices.Equal(point, want) {
		return fmt.Errorf("GET: answered %v, want %v", point, want)
	}
	near, err := rdb.Do(ctx, "NEARBY", c.key, "MATCH", id, "IDS", "POINT", checkLat, checkLon, "1000").Slice()
	if err != nil {
		return fmt.Errorf("NEARBY: %w", err)
	}
	if len(near) == 2 {
		if ids, ok := near[1].([]any); ok && slices.Equal(ids, []any{id}) {
			return nil
		}
	}
	return fmt.Errorf("NEARBY: answered %v, want %s", near, id)
}

func (c *check) print(out io.Writer, report []checked) error {
	if c.json {
		return json.NewEncoder(out).Encode(struct {
			OK      bool      `json:"ok"`
			Servers []checked `json:"servers"`
		}{true, report})
	}
	var b strings.Builder
	for _, r := range report {
		done := "SET, GET, NEARBY"
		if r.Role == "read" {
			done = "GET, NEARBY"
		}
		fmt.Fprintf(&b, "%-60s %s: ok, %.1f ms\n", r.Server, done, r.Millis)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
