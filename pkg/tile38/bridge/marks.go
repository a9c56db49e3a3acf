package bridge

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"evenkeel/pkg/follower"
	"evenkeel/pkg/tile38"
)

// How far the follower is says a message that it is sent in the stream, PUBLISH,
// and that it hands on to who listens when it comes to it. It changes no data, and
// the follower does not log it.

// maxMark is the longest message of the channel, in bytes: anybody may publish there.
const maxMark = 1 << 20

// mark is the text of the message behind h.
func (b *Bridge) mark(gen, h int64) string { return fmt.Sprintf("%s:%d:%d", b.run, gen, h) }

// readMark takes a mark apart; ok: it is one of ours.
func (b *Bridge) readMark(text string) (gen, h int64, ok bool) {
	words := strings.Split(text, ":")
	if len(words) != 3 || words[0] != b.run {
		return 0, 0, false
	}
	gen, err1 := strconv.ParseInt(words[1], 10, 64)
	h, err2 := strconv.ParseInt(words[2], 10, 64)
	return gen, h, err1 == nil && err2 == nil
}

// listen hears marks until ctx ends, whose cause it returns.
func (b *Bridge) listen(ctx context.Context) error {
	return follower.Attempts(ctx, b.opt.BackoffMin, b.opt.BackoffMax, func() error {
		err := b.listenOnce(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.opt.Logger.Debug("bridge: listening to the follower ended", "error", err)
		return nil
	})
}

func (b *Bridge) listenOnce(ctx context.Context) error {
	o := b.engineOptions()
	o.Timeout = max(o.Timeout, time.Minute)
	c, err := tile38.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Do("SUBSCRIBE", b.opt.Channel); err != nil {
		return err
	}
	b.ring.nudged()
	for {
		// Somebody asks each PollInterval; a connection that is silent for long is not
		// worth keeping.
		a, err := c.Receive(maxMark)
		if err != nil {
			return err
		}
		if len(a.Items) != 3 {
			continue
		}
		if gen, h, ok := b.readMark(a.Items[2].Text); ok {
			b.reached(gen, h)
		}
	}
}

// reached takes note that the follower has carried out all before h.
func (b *Bridge) reached(gen, h int64) {
	if now, _, _, _ := b.ring.now(); now != gen {
		return
	}
	b.ring.done(h)
	b.applied(h)
}
