package shrink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// resetWait is how long a follower without objects may take to have an empty log.
const resetWait = 10 * time.Second

// reset lets a follower begin anew: without objects, with an empty log. Whatever
// happens it is told to follow again.
func (h *healing) reset(ctx context.Context, addr string) (err error) {
	leader := h.look.last[addr].Following
	host, port, err := net.SplitHostPort(leader)
	if err != nil {
		return fmt.Errorf("its leader: %w", err)
	}
	f := h.look.follower(addr)
	if err := h.remember(ctx, addr, leader); err != nil {
		return fmt.Errorf("note on the leader what is about to be done: %w", err)
	}
	defer func() {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.opt.Look.Timeout)
		defer cancel()
		if _, ferr := f.do(back, "FOLLOW", host, port); ferr != nil {
			err = errors.Join(err, fmt.Errorf("it follows nobody now, send it FOLLOW %s %s: %w", host, port, ferr))
			return
		}
		h.forget(back, addr)
	}()
	for _, args := range [][]string{{"FOLLOW", "no", "one"}, {"FLUSHDB"}, {"AOFSHRINK"}} {
		if _, err := f.do(ctx, args...); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
	}
	for deadline := time.Now().Add(resetWait); time.Now().Before(deadline); {
		m, err := f.server(ctx)
		if err != nil {
			return err
		}
		if number(m, "aof_size") == 0 {
			return nil
		}
		if !pause(ctx, h.opt.Target.opt.Poll) {
			return context.Cause(ctx)
		}
	}
	return errors.New("its log does not become empty")
}

// A reset that is cut off, as by the end of the sidecar, would leave a follower
// without a leader. So what is about to be done stands on the leader, in the reserved
// collection, until it is done.
const (
	resetPrefix = "reset:"
	resetTTL    = 24 * time.Hour
)

// remember notes a reset.
func (h *healing) remember(ctx context.Context, addr, leader string) error {
	_, err := h.look.lead.do(ctx, "SET", h.opt.Key, resetPrefix+addr, "EX", strconv.Itoa(int(resetTTL/time.Second)), "STRING", leader)
	return err
}

// forget deletes the note; one that stays does no harm.
func (h *healing) forget(ctx context.Context, addr string) {
	if _, err := h.look.lead.do(ctx, "DEL", h.opt.Key, resetPrefix+addr); err != nil {
		h.opt.Target.opt.OnError(fmt.Errorf("delete the note of a reset: %w", err))
	}
}

// recover lets followers follow again whose reset was cut off.
func (h *healing) recover(ctx context.Context) {
	texts, err := h.look.lead.texts(ctx, h.opt.Key)
	if err != nil {
		return // who has no leader is reported as such
	}
	for id, leader := range texts {
		addr, ok := strings.CutPrefix(id, resetPrefix)
		if !ok {
			continue
		}
		host, port, err := net.SplitHostPort(leader)
		if err != nil {
			continue
		}
		f := h.look.follower(addr)
		m, err := f.server(ctx)
		if err != nil {
			continue
		}
		if m["following"] == "" {
			if _, err := f.do(ctx, "FOLLOW", host, port); err != nil {
				h.note("%s was left without a leader by a reset, and does not take it back: %v", addr, err)
				continue
			}
			h.known = append(h.known, addr)
		}
		h.forget(ctx, addr)
	}
}
