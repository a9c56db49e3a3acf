package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// handover is what `sidecar promote` and `sidecar handover` ask a pod for.
type handover struct {
	admin   string
	pod     string
	force   bool
	timeout time.Duration
	json    bool
}

// handedOver is the answer.
type handedOver struct {
	Leader string  `json:"leader"`         // the pod that leads now
	Took   float64 `json:"took_seconds"`   // until it did
	Note   string  `json:"note,omitempty"` // why nothing was done
}

func promoteCommand() *cobra.Command {
	var h handover
	cmd := &cobra.Command{
		Use:   "promote --pod NAME",
		Short: "Make another pod the leader, without a failed write",
		Long: `promote asks a pod of a cluster whose leader is elected (sidecar run --elect) to have
leadership handed over to the pod NAME: writes wait until NAME has everything, then go on
there. Any pod of the cluster can be asked, by its admin address:

  kubectl exec evenkeel-0 -c sidecar -- sidecar promote --pod evenkeel-1

--force is for when there is no leader and none can be elected, because the pods that were
further are lost for good. Ask the pod itself; what only the others had is given up:

  kubectl exec evenkeel-1 -c sidecar -- sidecar promote --pod evenkeel-1 --force`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if h.pod == "" {
				return errors.New("--pod: want the name of the pod that is to lead")
			}
			return h.run(cmd.Context(), "promote", cmd.OutOrStdout())
		},
	}
	h.flags(cmd)
	cmd.Flags().StringVar(&h.pod, "pod", "", "name of the pod that is to lead")
	cmd.Flags().BoolVar(&h.force, "force", false, "lead although other pods may have more, or this one is not fit")
	return cmd
}

func handoverCommand() *cobra.Command {
	var h handover
	cmd := &cobra.Command{
		Use:   "handover",
		Short: "Give leadership up to the best other pod, if this one leads: for a preStop hook",
		Long: `handover asks a pod to give its leadership to the one of the others that is furthest, without
a failed write. A pod that does not lead, or whose role is not elected, has nothing to do: that is no
error. Exit status 1 means that this pod leads on, for instance because no other one could.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.run(cmd.Context(), "handover", cmd.OutOrStdout())
		},
	}
	h.flags(cmd)
	return cmd
}

func (h *handover) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&h.admin, "admin", "127.0.0.1:9849", "admin address of the pod that is asked")
	f.DurationVar(&h.timeout, "timeout", 20*time.Second, "how long to wait")
	f.BoolVar(&h.json, "json", false, "answer as JSON")
}

func (h *handover) run(ctx context.Context, action string, out io.Writer) error {
	if _, _, err := splitHostPort(h.admin); err != nil {
		return fmt.Errorf("--admin %q: want HOST:PORT: %w", h.admin, err)
	}
	if h.timeout <= 0 {
		return fmt.Errorf("--timeout %s: want more than 0", h.timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	done, err := h.post(ctx, action)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s", h.timeout)
		}
		return fmt.Errorf("%s: %s: %w", action, h.admin, err)
	}
	switch {
	case h.json:
		return json.NewEncoder(out).Encode(done)
	case done.Note != "":
		_, err = fmt.Fprintf(out, "nothing to do: %s\n", done.Note)
	default:
		_, err = fmt.Fprintf(out, "%s leads, after %.2f s\n", done.Leader, done.Took)
	}
	return err
}

// post sends the action to the admin listener.
func (h *handover) post(ctx context.Context, action string) (*handedOver, error) {
	form := url.Values{}
	if h.pod != "" {
		form.Set("pod", h.pod)
	}
	if h.force {
		form.Set("force", "yes")
	}
	target := url.URL{Scheme: "http", Host: h.admin, Path: "/" + action, RawQuery: form.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var answer struct {
		handedOver
		Error string `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%s: %.200q is no answer of a sidecar", resp.Status, body)
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return &answer.handedOver, nil
}
