package hooks

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// scheme is a way to deliver.
type scheme uint8

const (
	schemeHTTP scheme = iota
	schemeHTTPS
	schemeLocal
	schemeRedis
	schemeDisque
	schemeKafka
	schemeAMQP
	schemeMQTT
	schemeNATS
	schemeSQS
	schemeGRPC
	schemePubSub
	schemeEventHub
	schemeCFQueue
	schemeUnknown
	schemes
)

func (s scheme) String() string {
	return [schemes]string{"http", "https", "local", "redis", "disque", "kafka", "amqp", "mqtt", "nats", "sqs",
		"grpc", "pubsub", "eventhub", "cf-queue", "unknown"}[s]
}

// sendable says whether messages can be delivered this way.
func (s scheme) sendable() bool { return s <= schemeDisque }

var errUnsupported = errors.New("delivery to endpoints of this kind is not supported")

// endpoint is where messages go.
type endpoint struct {
	text      string
	scheme    scheme
	addr      string // host:port, of redis and disque
	channel   string // of local, redis, disque
	replicate string // of disque; empty: not asked for
	err       error  // why nothing can be sent there
}

// parseEndpoint never fails: what SETHOOK has accepted is kept, and an endpoint
// that cannot be used fails whenever it is tried.
func parseEndpoint(text string) endpoint {
	e := endpoint{text: text, scheme: schemeOf(text)}
	switch e.scheme {
	case schemeHTTP, schemeHTTPS:
		if u, err := url.Parse(text); err != nil || u.Host == "" {
			e.err = errors.New("the address is malformed") // it may hold a secret
		}
	case schemeLocal:
		rest := strings.TrimPrefix(text, "local://")
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			rest = rest[:i]
		}
		e.channel = rest
	case schemeRedis:
		e.parseRESP(strings.TrimPrefix(text, "redis://"), "6379")
	case schemeDisque:
		e.parseRESP(strings.TrimPrefix(text, "disque://"), "7711")
	default:
		e.err = fmt.Errorf("%s: %w", e.scheme, errUnsupported)
	}
	return e
}

func schemeOf(text string) scheme {
	name, rest, ok := strings.Cut(text, "://")
	if strings.HasPrefix(text, "Endpoint=sb://") {
		return schemeEventHub
	}
	if !ok {
		return schemeUnknown
	}
	switch name {
	case "https":
		host, _, _ := strings.Cut(rest, "/")
		if strings.HasPrefix(host, "sqs.") && strings.HasSuffix(host, ".amazonaws.com") {
			return schemeSQS
		}
		return schemeHTTPS
	case "amqps":
		return schemeAMQP
	case "mqtts":
		return schemeMQTT
	case "eventhub":
		return schemeUnknown
	}
	for s := range schemeUnknown {
		if s.String() == name {
			return s
		}
	}
	return schemeUnknown
}

// parseRESP reads host[:port][/channel…][?options]; the channel is the first
// part of the path.
func (e *endpoint) parseRESP(rest, port string) {
	rest, query, _ := strings.Cut(rest, "?")
	host, path, _ := strings.Cut(rest, "/")
	channel, _, _ := strings.Cut(path, "/")
	if !strings.Contains(host, ":") {
		host += ":" + port
	}
	e.addr = host
	e.channel, e.err = url.QueryUnescape(channel)
	if e.scheme != schemeDisque || e.err != nil {
		return
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		e.err = err
		return
	}
	if r := values.Get("replicate"); r != "" {
		n, err := strconv.ParseUint(r, 10, 16)
		if e.err = err; n > 0 {
			e.replicate = r
		}
	}
}

// transports deliver messages.
type transports struct {
	local Local
	http  *webClient
	resp  *respPool
}

func newTransports(o *Options) transports {
	return transports{local: o.Local, http: newWebClient(o), resp: newRESPPool(o)}
}

// deliver sends msg to e. A nil error says that e has taken it.
func (t *transports) deliver(ctx context.Context, e *endpoint, msg []byte) error {
	err := e.err
	if err == nil {
		switch e.scheme {
		case schemeHTTP, schemeHTTPS:
			err = t.http.post(ctx, e.text, msg)
		case schemeLocal:
			err = t.publish(e.channel, msg)
		case schemeRedis:
			err = t.resp.publish(ctx, e, msg)
		case schemeDisque:
			err = t.resp.addJob(ctx, e, msg)
		default:
			err = errUnsupported
		}
	}
	if err != nil {
		return fmt.Errorf("deliver to an endpoint of kind %s: %w", e.scheme, err)
	}
	return nil
}

func (t *transports) publish(channel string, msg []byte) error {
	if t.local == nil {
		return errUnsupported
	}
	t.local.Publish(channel, msg)
	return nil
}

func (t *transports) close() {
	t.http.close()
	t.resp.closeAll()
}
