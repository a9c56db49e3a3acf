package inject

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// enginePaths are the paths that the sidecar asks a Tile38 on behalf of a probe.
var enginePaths = map[string]string{"/ping": "/enginez/ping", "/server": "/enginez/server", "/healthz": "/enginez/healthz"}

// moveProbes points the probes of a container's port at the sidecar. Those that run
// a command stay: they reach the sidecar at the old port, and the Tile38 through it.
func moveProbes(c *yaml.Node, port, probePort int) error {
	for _, kind := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		probe := get(c, kind)
		if probe == nil || probe.Kind != yaml.MappingNode {
			continue
		}
		var how, path string
		switch {
		case asks(c, get(probe, "tcpSocket"), port):
			how, path = "tcpSocket", "/enginez"
		case asks(c, get(probe, "httpGet"), port):
			how = "httpGet"
			asked := str(get(probe, "httpGet", "path"))
			if path = enginePaths[asked]; path == "" && kind != "readinessProbe" {
				return fmt.Errorf("its %s asks for %q, which the sidecar does not pass on; take /ping, /server or /healthz", kind, asked)
			}
		default:
			continue
		}
		if kind == "readinessProbe" {
			path = "/readyz"
		}
		next := clone(probe)
		drop(next, how)
		next.Content = append([]*yaml.Node{text("httpGet"), object("path", path, "port", probePort)}, next.Content...)
		next.Style &^= yaml.FlowStyle
		set(c, kind, next)
	}
	return nil
}

// asks: an action of a probe or hook goes to the container's port, on the pod's
// address.
func asks(c, action *yaml.Node, port int) bool {
	if action == nil || action.Kind != yaml.MappingNode || str(get(action, "host")) != "" {
		return false
	}
	at := str(get(action, "port"))
	if at == strconv.Itoa(port) {
		return true
	}
	p := named(get(c, "ports"), at)
	return p != nil && str(get(p, "containerPort")) == strconv.Itoa(port)
}
