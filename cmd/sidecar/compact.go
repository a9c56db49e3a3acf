package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

// compaction is what `sidecar compact` is asked for.
type compaction struct {
	addr    string
	wait    bool
	timeout time.Duration
	json    bool
}

// compactedPod is what it says of one pod.
type compactedPod struct {
	Pod    string `json:"pod"` // server id and, of a follower, address
	Offset int64  `json:"offset"`
}

func compactCommand() *cobra.Command {
	c := compaction{addr: "127.0.0.1:9851"}
	cmd := &cobra.Command{
		Use:   "compact [HOST:PORT]",
		Short: "Compact the log of a running pod, and with --wait of its followers",
		Long: `compact sends AOFSHRINK to a running sidecar (default 127.0.0.1:9851). Without
--wait it ends when the compaction has begun. With --wait it ends when the pod
and all of its followers have compacted and have the same state, and says where
the new base of each stands; exit status 1 means that one of them has not.

The password, if one is wanted, is taken from the environment variable
EVENKEEL_PASSWORD.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				c.addr = args[0]
			}
			return c.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&c.wait, "wait", false, "wait until this pod and all its followers have compacted")
	f.DurationVar(&c.timeout, "timeout", 30*time.Minute, "how long to wait")
	f.BoolVar(&c.json, "json", false, "answer as JSON")
	return cmd
}

func (c *compaction) run(ctx context.Context, out io.Writer) error {
	if _, _, err := splitHostPort(c.addr); err != nil {
		return fmt.Errorf("address %q: want HOST:PORT: %w", c.addr, err)
	}
	if c.timeout < time.Millisecond {
		return fmt.Errorf("--timeout %s: want 1ms or more", c.timeout)
	}
	// The server answers when its own time is over.
	const grace = 5 * time.Second
	rdb := redis.NewClient(&redis.Options{
		Addr: c.addr, Password: os.Getenv("EVENKEEL_PASSWORD"), Protocol: 2, DisableIdentity: true, MaxRetries: -1,
		ReadTimeout: c.timeout + grace,
	})
	defer func() { _ = rdb.Close() }()
	if !c.wait {
		if err := rdb.Do(ctx, "AOFSHRINK").Err(); err != nil {
			return fmt.Errorf("compact %s: %w", c.addr, err)
		}
		return c.print(out, nil, "the compaction has begun")
	}
	rows, err := rdb.Do(ctx, "AOFSHRINK", "WAIT", c.timeout.Milliseconds()).Slice()
	if err != nil {
		return fmt.Errorf("compact %s: %w", c.addr, err)
	}
	pods := make([]compactedPod, 0, len(rows))
	for _, row := range rows {
		pair, ok := row.([]any)
		if !ok || len(pair) != 2 {
			return fmt.Errorf("compact %s: the answer %v is not that of a sidecar", c.addr, row)
		}
		name, _ := pair[0].(string)
		offset, _ := pair[1].(int64)
		pods = append(pods, compactedPod{Pod: name, Offset: offset})
	}
	return c.print(out, pods, fmt.Sprintf("%d compacted, with the same state", len(pods)))
}

func (c *compaction) print(out io.Writer, pods []compactedPod, summary string) error {
	if c.json {
		return json.NewEncoder(out).Encode(struct {
			OK   bool           `json:"ok"`
			Pods []compactedPod `json:"pods,omitempty"`
		}{true, pods})
	}
	for _, p := range pods {
		if _, err := fmt.Fprintf(out, "%-60s base at offset %d\n", p.Pod, p.Offset); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out, summary)
	return err
}
