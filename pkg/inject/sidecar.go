package inject

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ownDir is where the sidecar's own volume is mounted.
const ownDir = "/var/lib/evenkeel"

// sidecar is the container that is added.
func (p *pod) sidecar() *yaml.Node {
	s := &p.settings
	c := object("name", sidecarName, "image", s.Image, "imagePullPolicy", s.PullPolicy)
	if s.Native {
		// It is there before the Tile38, and until after it.
		set(c, "restartPolicy", text("Always"))
	}
	set(c, "args", list(p.args()...))
	if env := p.env(); len(env) > 0 {
		set(c, "env", list(env...))
	}
	ports := list(object("name", sidecarName, "containerPort", s.ProbePort))
	if s.KeepPorts {
		ports.Content = append(ports.Content, object("name", "clients", "containerPort", besidePort))
	}
	set(c, "ports", ports)
	look := func(path string, period, failures int) *yaml.Node {
		return object("httpGet", object("path", path, "port", s.ProbePort), "periodSeconds", period, "timeoutSeconds", 2, "failureThreshold", failures)
	}
	set(c, "startupProbe", look("/livez", 1, 60))
	set(c, "livenessProbe", look("/livez", 10, 6))
	set(c, "readinessProbe", look("/readyz", 2, 2))
	if r := resources(s); len(r.Content) > 0 {
		set(c, "resources", r)
	}
	set(c, "securityContext", p.security())
	set(c, "volumeMounts", p.mounts())
	return c
}

// args are those of `sidecar run`. What the pod says comes last, and instead.
func (p *pod) args() []*yaml.Node {
	s := &p.settings
	host := p.start.host
	if s.KeepPorts && !loopback(host) {
		host = ""
	}
	flags := []string{
		"--engine=tile38",
		"--engine-addr=" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.EnginePort)),
		"--listen=" + net.JoinHostPort(host, strconv.Itoa(p.clientPort())),
		"--probe-listen=:" + strconv.Itoa(s.ProbePort),
		"--data-dir=" + ownDir,
		"--log-format=json",
	}
	if p.dir != "" {
		flags = append(flags, "--engine-dir="+p.dir)
	}
	if s.Follow == "" {
		flags = append(flags, "--promote=false")
	} else {
		flags = append(flags, "--follow="+s.Follow)
		if p.dir != "" {
			// Tile38 keeps the address of its leader over restarts: the bridge is there again.
			flags = append(flags, "--bridge-listen="+net.JoinHostPort("127.0.0.1", strconv.Itoa(bridgePort)))
			flags[4] = "--data-dir=" + strings.TrimSuffix(p.dir, "/") + "/evenkeel"
		}
	}
	if s.LeadOnHost != "" {
		flags = append(flags, "--lead-on-host="+s.LeadOnHost)
	}
	if p.start.protected {
		flags = append(flags, "--protected-mode=yes")
	}
	words := []*yaml.Node{text("run")}
	given := func(flag string) bool {
		name, _, _ := strings.Cut(flag, "=")
		return slices.ContainsFunc(s.Args, func(a string) bool { return a == name || strings.HasPrefix(a, name+"=") })
	}
	for _, f := range flags {
		if !given(f) {
			words = append(words, text(f))
		}
	}
	for _, a := range s.Args {
		words = append(words, text(a))
	}
	return words
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// env has the memory limit, passwords, and what the directory's mount needs.
func (p *pod) env() []*yaml.Node {
	s := &p.settings
	var env []*yaml.Node
	if limit := goMemoryLimit(s.MemoryLimit); limit != "" {
		env = append(env, object("name", "GOMEMLIMIT", "value", limit))
	}
	for _, secret := range [][2]string{{"EVENKEEL_PASSWORD", s.Password}, {"EVENKEEL_LEADER_PASSWORD", s.LeaderPassword}} {
		if secret[1] == "" {
			continue
		}
		name, key, ok := strings.Cut(secret[1], "/")
		if !ok {
			key = "password"
		}
		env = append(env, object("name", secret[0], "valueFrom", object("secretKeyRef", object("name", name, "key", key))))
	}
	if p.dir == "" {
		return env
	}
	for _, ref := range referenceRE.FindAllStringSubmatch(str(get(p.mount, "subPathExpr")), -1) {
		if e := named(get(p.container, "env"), ref[1]); e != nil && ref[1] != "" {
			env = append(env, clone(e))
		}
	}
	return env
}

func resources(s *Settings) *yaml.Node {
	r, limits, requests := object(), object(), object()
	for _, q := range []struct {
		in          *yaml.Node
		name, value string
	}{{requests, "cpu", s.CPURequest}, {requests, "memory", s.MemoryRequest}, {limits, "memory", s.MemoryLimit}} {
		if q.value != "" && q.value != "0" {
			set(q.in, q.name, text(q.value))
		}
	}
	for _, part := range []struct {
		name string
		node *yaml.Node
	}{{"limits", limits}, {"requests", requests}} {
		if len(part.node.Content) > 0 {
			set(r, part.name, part.node)
		}
	}
	return r
}

// security is what the restricted Pod Security Standard asks, as the Tile38's user
// where its files are read.
func (p *pod) security() *yaml.Node {
	c := object(
		"allowPrivilegeEscalation", false, "readOnlyRootFilesystem", true,
		"capabilities", object("drop", []string{"ALL"}),
		"seccompProfile", object("type", "RuntimeDefault"),
		"runAsNonRoot", p.dir == "" || p.user != 0,
	)
	user, group := p.user, securityNumber(p.container, p.spec, "runAsGroup")
	if p.dir == "" { // then the image's own will do
		user, group = -1, -1
		if securityNumber(nil, p.spec, "runAsUser") == 0 {
			user, group = imageUser, imageUser
		}
	}
	// What the pod says for all containers need not be said again.
	if user >= 0 && user != securityNumber(nil, p.spec, "runAsUser") {
		set(c, "runAsUser", number(user))
	}
	if group >= 0 && group != securityNumber(nil, p.spec, "runAsGroup") {
		set(c, "runAsGroup", number(group))
	}
	return c
}

// imageUser is the user of the sidecar's image.
const imageUser = 65532

// mounts are the own volume and, where the sidecar may read it, the Tile38's.
func (p *pod) mounts() *yaml.Node {
	own := object("name", sidecarName, "mountPath", ownDir)
	if p.dir == "" {
		return list(own)
	}
	theirs := object("name", str(get(p.mount, "name")), "mountPath", str(get(p.mount, "mountPath")))
	for _, key := range []string{"subPath", "subPathExpr"} {
		if v := str(get(p.mount, key)); v != "" {
			set(theirs, key, text(v))
		}
	}
	if p.settings.Follow == "" {
		set(theirs, "readOnly", boolean(true)) // a leader's is only looked at
	}
	return list(own, theirs)
}

// String names what was done, for a report.
func (p *pod) String() string {
	s := &p.settings
	what := fmt.Sprintf("the sidecar takes port %d, the Tile38 listens on 127.0.0.1:%d", p.clientPort(), s.EnginePort)
	if s.KeepPorts {
		what = fmt.Sprintf("the Tile38 keeps its port %d, the sidecar listens on %d", s.EnginePort, p.clientPort())
	}
	role := "leader"
	if s.Follow != "" {
		role = "follows " + s.Follow
	}
	if s.LeadOnHost != "" {
		role += ", but leads on " + s.LeadOnHost
	}
	return what + "; " + role
}
