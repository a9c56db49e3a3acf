package hook

import (
	"strconv"
	"strings"
)

// host says what may stand before the first slash of an address.
type host uint8

const (
	anyHost   host = iota
	hostPort       // name[:port]
	twoInHost      // a:b
)

// path says what must stand behind it.
type path uint8

const (
	anyPath   path = iota
	onePart        // a part that is not empty
	unescaped      // a part that is not empty and can be unescaped
	maybePart      // a part that can be unescaped, if there is one
	wholePath      // all of it is not empty and can be unescaped
)

// endpoint is what Tile38 asks of the addresses with one scheme.
type endpoint struct {
	host  host
	path  path
	query bool                // it must be well formed
	check func(q params) bool // of the query; nil: everything
}

// endpointOf returns the rules for a scheme.
func endpointOf(scheme string) (endpoint, bool) {
	switch scheme {
	case "http", "https", "local":
		return endpoint{}, true
	case "redis":
		return endpoint{host: hostPort, path: maybePart}, true
	case "grpc":
		return endpoint{host: hostPort}, true
	case "disque":
		return endpoint{host: hostPort, path: unescaped, query: true, check: validDisque}, true
	case "kafka":
		return endpoint{host: hostPort, path: unescaped, query: true}, true
	case "amqp", "amqps":
		return endpoint{path: wholePath, query: true}, true
	case "mqtt":
		return endpoint{host: hostPort, path: wholePath, query: true, check: validMQTT}, true
	case "nats":
		return endpoint{host: twoInHost, path: maybePart, query: true}, true
	case "sqs":
		return endpoint{host: twoInHost, path: unescaped, query: true}, true
	case "pubsub":
		return endpoint{host: twoInHost, query: true}, true
	case "cf-queue":
		return endpoint{path: onePart, query: true, check: func(q params) bool { return q["token"] != "" }}, true
	}
	return endpoint{}, false
}

// validEndpoint says whether Tile38 would take an address.
func validEndpoint(address string) bool {
	if strings.HasPrefix(address, "Endpoint=") {
		return validAzure(address)
	}
	scheme, rest, ok := strings.Cut(address, "://")
	e, known := endpointOf(scheme)
	if !ok || !known {
		return false
	}
	rest, query, _ := strings.Cut(rest, "?")
	hostPart, pathPart, _ := strings.Cut(rest, "/")
	if scheme == "https" && strings.HasPrefix(hostPart, "sqs.") && strings.HasSuffix(hostPart, ".amazonaws.com") {
		e.query = true
	}
	return e.validHost(hostPart) && e.validPath(pathPart) && e.validQuery(query)
}

func (e *endpoint) validHost(s string) bool {
	switch e.host {
	case hostPort:
		_, port, ok := strings.Cut(s, ":")
		if ok {
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return false
			}
		}
	case twoInHost:
		return strings.Count(s, ":") == 1
	}
	return s != ""
}

func (e *endpoint) validPath(s string) bool {
	part, _, _ := strings.Cut(s, "/")
	switch e.path {
	case onePart:
		return part != ""
	case unescaped:
		return part != "" && canUnescape(part)
	case maybePart:
		return canUnescape(part)
	case wholePath:
		return s != "" && canUnescape(s)
	}
	return true
}

func canUnescape(s string) bool {
	_, ok := unescape(s)
	return ok
}

// unescape replaces %xx; ok is false if something else is behind a percent sign.
func unescape(s string) (text string, ok bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), true
}

// params are the parameters of a query; of several with one name the first
// counts.
type params map[string]string

// parseQuery reads name=value&… as package net/url does, which is not for the
// engine.
func parseQuery(s string) (params, bool) {
	q := params{}
	for part := range strings.SplitSeq(s, "&") {
		name, value, _ := strings.Cut(part, "=")
		name, nameOK := unescape(name)
		value, valueOK := unescape(value)
		if !nameOK || !valueOK || strings.Contains(part, ";") {
			return nil, false
		}
		if _, ok := q[name]; !ok && part != "" {
			q[name] = value
		}
	}
	return q, true
}

func (e *endpoint) validQuery(s string) bool {
	if !e.query {
		return true
	}
	q, ok := parseQuery(s)
	return ok && (e.check == nil || e.check(q))
}

// small says whether a parameter, if it is there, is a number up to most.
func small(q params, name string, most uint64) bool {
	text, ok := q[name]
	if !ok {
		return true
	}
	n, err := strconv.ParseUint(text, 10, 8)
	return err == nil && n <= most
}

func validDisque(q params) bool { return small(q, "replicate", 255) }

func validMQTT(q params) bool { return small(q, "qos", 255) && small(q, "retained", 1) }

// validAzure says whether s is the connection string of an event hub.
func validAzure(s string) bool {
	parts := strings.Split(s, ";")
	names := [...]string{"Endpoint=", "SharedAccessKeyName=", "SharedAccessKey=", "EntityPath="}
	if len(parts) != len(names) {
		return false
	}
	for i, name := range names {
		if !strings.HasPrefix(parts[i], name) {
			return false
		}
	}
	return strings.Contains(parts[0], "://")
}
