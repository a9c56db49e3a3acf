package node

import (
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/pubsub"
	"evenkeel/pkg/resp"
)

var errSubscriber = reply.Plain("only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT allowed in this context")

// publish is PUBLISH channel message.
func (c *call) publish() error {
	if len(c.args) != 3 {
		return reply.ErrNumArgs
	}
	// The words are pieces of what the client sent: the listeners must not keep
	// all of it.
	n, offset, err := c.node.opt.Store.Publish(strings.Clone(c.args[1]), []byte(c.args[2]))
	if err != nil {
		return err
	}
	c.wrote = offset > 0
	c.batch.offset = max(c.batch.offset, offset)
	c.out.Int(n)
	if c.out.JSON {
		c.out.Member("published")
		c.out.Decimal(n)
	}
	return nil
}

// subscribe is SUBSCRIBE channel … and PSUBSCRIBE pattern …: from now on the
// connection is a subscriber's.
func (c *call) subscribe() error {
	if len(c.args) < 2 {
		return reply.ErrNumArgs
	}
	s := &subscriber{listener: c.node.opt.Hub.NewListener(), kind: c.kind, json: c.out.JSON, resp3: c.out.RESP3}
	if err := s.change(c.out, c.name, c.args[1:]); err != nil {
		s.listener.Close()
		return err
	}
	c.finished = true
	s.live = &live{
		session: c.session, listener: s.listener, what: "subscriber",
		format: s.format, command: s.command,
	}
	c.batch.verdict.Hijack = s.hijack
	return nil
}

// subscriber is a connection that listens to channels.
type subscriber struct {
	*live
	listener    *pubsub.Listener
	kind        resp.Kind // of the command that made it one: the envelope of everything
	json, resp3 bool
}

// change carries out a subscription, or the end of one, and answers for each
// channel.
func (s *subscriber) change(out *reply.Reply, name string, channels []string) error {
	started := time.Now()
	for _, ch := range channels {
		ch = strings.Clone(ch)
		var n int
		var err error
		switch name {
		case "subscribe":
			n, err = s.listener.Subscribe(ch)
		case "psubscribe":
			n, err = s.listener.PSubscribe(ch)
		case "unsubscribe":
			n = s.listener.Unsubscribe(ch)
		case "punsubscribe":
			n = s.listener.PUnsubscribe(ch)
		}
		if err != nil {
			return reply.Plain(err.Error())
		}
		start := len(out.Buf)
		if out.JSON {
			out.OK()
			out.Member("command")
			out.String(name)
			out.Member("channel")
			out.String(ch)
			out.Member("num")
			out.Decimal(n)
		} else {
			out.Push(3)
			out.Bulk(name)
			out.Bulk(ch)
			out.Int(n)
		}
		out.Finish(start, time.Since(started))
		out.Buf = s.kind.WrapPush(out.Buf, start)
	}
	return nil
}

// command carries out what a subscriber may ask for.
func (s *subscriber) command(args []string) bool {
	out := &reply.Reply{JSON: s.json, RESP3: s.resp3, Bare: s.kind > resp.Inline}
	started := time.Now()
	name := strings.ToLower(args[0])
	var err error
	switch name {
	case "subscribe", "psubscribe", "unsubscribe", "punsubscribe":
		if len(args) < 2 {
			err = reply.ErrNumArgs
		} else {
			err = s.change(out, name, args[1:])
		}
	case "ping":
		s.ping(out, args)
	case "quit":
		out.OK()
	default:
		err = errSubscriber
	}
	start := 0
	if err != nil {
		start = len(out.Buf)
		out.Fail(name, err)
	}
	if err != nil || name == "ping" || name == "quit" {
		out.Finish(start, time.Since(started))
		out.Buf = s.kind.WrapPush(out.Buf, start)
	}
	s.say(out.Buf)
	return name != "quit"
}

func (s *subscriber) ping(out *reply.Reply, args []string) {
	text := ""
	if len(args) > 1 {
		text = args[1]
	}
	switch {
	case s.json:
		if len(args) < 2 {
			text = "pong"
		}
		out.OK()
		out.Member("ping")
		out.String(text)
	case s.resp3 && len(args) > 1: // pushes are told from answers there
		out.Bulk(text)
	case s.resp3:
		out.Simple("PONG")
	default:
		out.Array(2)
		out.Bulk("PONG")
		out.Bulk(text)
	}
}

// format appends a message of a channel; answers go out as they are.
func (s *subscriber) format(dst []byte, m pubsub.Message) []byte {
	if m.Kind == pubsub.KindDirect {
		return append(dst, m.Payload...)
	}
	if s.json {
		return s.kind.AppendMessage(dst, asJSON(m.Payload))
	}
	r := reply.Reply{RESP3: s.resp3, Buf: dst}
	if m.Kind == pubsub.KindPattern {
		r.Push(4)
		r.Bulk("pmessage")
		r.Bulk(m.Pattern)
	} else {
		r.Push(3)
		r.Bulk("message")
	}
	r.Bulk(m.Channel)
	return s.kind.WrapPush(redcon.AppendBulk(r.Buf, m.Payload), len(dst))
}

// asJSON returns a message as it is if it is JSON, and as a JSON string
// otherwise.
func asJSON(msg []byte) []byte {
	if gjson.ValidBytes(msg) {
		return msg
	}
	return reply.AppendString(nil, string(msg))
}
