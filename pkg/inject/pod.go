package inject

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pod is one that is being injected: parts of its manifest, and what is decided.
type pod struct {
	opt       *Options
	settings  Settings
	meta      *yaml.Node
	spec      *yaml.Node
	container *yaml.Node // that runs the Tile38
	start     *start
	dir       string // the Tile38's, as the sidecar sees it; "": it does not
	mount     *yaml.Node
	user      int64 // below 0: unknown
	record    record
	notes     []string
}

// skip is why nothing is to be done, which is no fault.
type skip string

func (s skip) Error() string { return string(s) }

// inject changes holder, which has metadata and spec of a pod.
func (o *Options) inject(holder *yaml.Node) (*pod, error) {
	p := &pod{opt: o, settings: o.Settings, spec: get(holder, "spec")}
	if p.spec == nil || p.spec.Kind != yaml.MappingNode {
		return nil, skip("no pod")
	}
	annotations, labels := pairs(get(holder, "metadata", "annotations")), pairs(get(holder, "metadata", "labels"))
	if why := o.out(annotations, labels); why != "" {
		return nil, skip(why)
	}
	if err := p.find(annotations[prefix+"container"]); err != nil {
		return nil, err
	}
	var madeMeta bool
	var err error
	if p.meta, madeMeta, err = mapping(holder, "metadata"); err != nil {
		return nil, err
	}
	p.record.MadeMeta = madeMeta
	if o.Mark {
		err := p.mark()
		return p, err
	}
	if err := errors.Join(p.settings.annotate(annotations)...); err != nil {
		return nil, err
	}
	if err := p.decide(); err != nil {
		return nil, err
	}
	err = p.change()
	return p, err
}

// out says why a pod is none of our business.
func (o *Options) out(annotations, labels map[string]string) string {
	said := annotations[AnnotationInject]
	if said == "" {
		said = labels[AnnotationInject]
	}
	switch {
	case annotations[AnnotationInjected] != "":
		return "it is injected already; uninject it first to change anything"
	case said == Disabled || labels[AnnotationInject] == Disabled:
		return AnnotationInject + ": " + Disabled
	case said != "" && said != Enabled:
		return fmt.Sprintf("%s: %q, which is neither %s nor %s", AnnotationInject, said, Enabled, Disabled)
	case o.OptIn && said != Enabled:
		return AnnotationInject + " is not " + Enabled
	case o.Mark && labels[AnnotationInject] == Enabled:
		return "it is labelled already"
	}
	return ""
}

// find looks for the container that runs the Tile38.
func (p *pod) find(annotated string) error {
	all := items(get(p.spec, "containers"))
	for _, c := range slices.Concat(all, items(get(p.spec, "initContainers"))) {
		args, _ := texts(get(c, "args"))
		command, _ := texts(get(c, "command"))
		words := slices.Concat(command, args)
		if slices.Contains(words, "--engine=tile38") || slices.Contains(words, "--engine") && slices.Contains(words, "tile38") {
			return skip("container " + str(get(c, "name")) + " is a sidecar already")
		}
	}
	want := annotated
	if want == "" {
		want = p.opt.Container
	}
	var found []*yaml.Node
	var names []string
	for _, c := range all {
		if name := str(get(c, "name")); name == want || want == "" && runsTile38(c) {
			found, names = append(found, c), append(names, name)
		}
	}
	switch {
	case len(found) == 1:
		p.container = found[0]
		return nil
	case len(found) > 1:
		return fmt.Errorf("containers %s: say which one with annotation %scontainer", strings.Join(names, ", "), prefix)
	case annotated != "":
		return fmt.Errorf("annotation %scontainer: there is no container %s", prefix, want)
	}
	return skip("no Tile38 in it")
}

func runsTile38(c *yaml.Node) bool {
	if path.Base(repository(str(get(c, "image")))) == "tile38" {
		return true
	}
	command, _ := texts(get(c, "command"))
	args, _ := texts(get(c, "args"))
	words := slices.Concat(command, args)
	return len(words) > 0 && path.Base(words[0]) == "tile38-server"
}

// mark labels a pod for the webhook.
func (p *pod) mark() error {
	labels, _, err := mapping(p.meta, "labels")
	if err != nil {
		return err
	}
	annotations, _, err := mapping(p.meta, "annotations")
	if err != nil {
		return err
	}
	set(labels, AnnotationInject, text(Enabled))
	set(annotations, annotationMarked, text("true"))
	return nil
}

// decide settles everything before anything is changed.
func (p *pod) decide() error {
	s := &p.settings
	if str(get(p.spec, "hostNetwork")) == "true" {
		return errors.New("hostNetwork: its loopback address is the node's, and so are its ports; injection is for pods with an address of their own")
	}
	if str(get(p.spec, "os", "name")) == "windows" {
		return errors.New("os windows: the sidecar is a Linux program")
	}
	if s.Follow == "" && saysFollow(p.container) {
		return fmt.Errorf("its postStart hook tells the Tile38 to FOLLOW; take that out, and say annotation %sfollow: HOST:PORT", prefix)
	}
	for _, where := range []string{"containers", "initContainers"} {
		if named(get(p.spec, where), sidecarName) != nil {
			return fmt.Errorf("it has a container %s, which is the name of the sidecar", sidecarName)
		}
	}
	if named(get(p.spec, "volumes"), sidecarName) != nil {
		return fmt.Errorf("it has a volume %s, which is the name of the sidecar's", sidecarName)
	}
	if err := p.understand(); err != nil {
		return err
	}
	if err := p.ports(); err != nil {
		return err
	}
	return p.data()
}

// understand reads the command; one that keeps its port may be beyond understanding.
func (p *pod) understand() (err error) {
	s := &p.settings
	p.start, err = understand(p.container)
	if err != nil && (!s.KeepPorts || s.EnginePort == 0) {
		return fmt.Errorf("container %s: %w", str(get(p.container, "name")), err)
	}
	if err != nil {
		p.start = &start{}
	}
	if p.start.noLog {
		return errors.New("--appendonly no: without a log there is nothing that a sidecar could do")
	}
	if s.EngineDir != "" {
		p.start.dir = path.Clean(s.EngineDir)
	}
	if s.EnginePort == 0 {
		s.EnginePort = 9853
		if s.KeepPorts {
			s.EnginePort = p.start.port
		}
	}
	return nil
}

// clientPort is where the sidecar listens for clients.
func (p *pod) clientPort() int {
	if p.settings.KeepPorts {
		return besidePort
	}
	return p.start.port
}

// ports makes sure that nobody else in the pod has one that is needed.
func (p *pod) ports() error {
	taken := map[int]string{}
	take := func(port int, who string) error {
		if other, ok := taken[port]; ok {
			return fmt.Errorf("port %d is wanted by %s and by %s; choose others with annotations %sengine-port and %sprobe-port", port, other, who, prefix, prefix)
		}
		taken[port] = who
		return nil
	}
	s := &p.settings
	err := errors.Join(take(p.clientPort(), "the sidecar's clients"), take(s.EnginePort, "the Tile38"), take(s.ProbePort, "the sidecar's probes"),
		take(adminPort, "the sidecar's admin address"), take(bridgePort, "the bridge"))
	if err != nil {
		return err
	}
	for _, where := range []string{"containers", "initContainers"} {
		for _, c := range items(get(p.spec, where)) {
			if where == "initContainers" && str(get(c, "restartPolicy")) != "Always" {
				continue // it is over by then
			}
			for _, port := range items(get(c, "ports")) {
				n, err := strconv.Atoi(str(get(port, "containerPort")))
				if err != nil || c == p.container && n == p.start.port || p.settings.KeepPorts && c == p.container && n == s.EnginePort {
					continue
				}
				if who, ok := taken[n]; ok {
					return fmt.Errorf("port %d is wanted by container %s and by %s; choose others with annotations %sengine-port and %sprobe-port",
						n, str(get(c, "name")), who, prefix, prefix)
				}
			}
		}
	}
	return nil
}

// data finds the volume of the Tile38's directory, and a user who may read it.
func (p *pod) data() error {
	s := &p.settings
	p.user = securityNumber(p.container, p.spec, "runAsUser")
	if s.RunAsUser != nil {
		p.user = *s.RunAsUser
	}
	if p.start.dir != "" {
		p.mount = holds(get(p.container, "volumeMounts"), p.start.dir)
	}
	bridge := s.Follow != "" && !slices.Contains(s.Args, "--bridge=false")
	if !bridge {
		if p.mount != nil && p.user >= 0 {
			p.dir = p.start.dir
		} else {
			p.notes = append(p.notes, "the sidecar does not see the Tile38's directory, so it does not look at the disk's free space before a compaction: "+p.blind())
		}
		return nil
	}
	if p.mount == nil {
		return fmt.Errorf("a follower's sidecar needs the Tile38's directory, and %s; or say annotation %sargs: --bridge=false", p.blind(), prefix)
	}
	if p.user < 0 {
		if securityText(p.container, p.spec, "runAsNonRoot") == "true" {
			return fmt.Errorf("a follower's sidecar must be the Tile38's user to read its files: write securityContext.runAsUser, or annotation %srun-as-user", prefix)
		}
		p.user = 0
		p.notes = append(p.notes, "nothing says whom the Tile38 runs as, so the sidecar runs as root, as the Tile38's own image does; write securityContext.runAsUser")
	}
	p.dir = p.start.dir
	return nil
}

// blind says why the directory is not seen.
func (p *pod) blind() string {
	switch {
	case p.start.dir == "":
		return "nothing says where it is (annotation " + prefix + "engine-dir)"
	case p.mount == nil:
		return p.start.dir + " is in no volume of the pod"
	}
	return "nothing says whom the Tile38 runs as (securityContext.runAsUser)"
}

// holds is the mount that a directory is in.
func holds(mounts *yaml.Node, dir string) (best *yaml.Node) {
	longest := -1
	for _, m := range items(mounts) {
		at := path.Clean(str(get(m, "mountPath")))
		if in := at == "/" || dir == at || strings.HasPrefix(dir, at+"/"); in && len(at) > longest {
			best, longest = m, len(at)
		}
	}
	return best
}

func securityText(container, spec *yaml.Node, key string) string {
	if v := str(get(container, "securityContext", key)); v != "" {
		return v
	}
	return str(get(spec, "securityContext", key))
}

func securityNumber(container, spec *yaml.Node, key string) int64 {
	n, err := strconv.ParseInt(securityText(container, spec, key), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// saysFollow: its postStart hook has the word FOLLOW.
func saysFollow(container *yaml.Node) bool {
	command, _ := texts(get(container, "lifecycle", "postStart", "exec", "command"))
	return slices.ContainsFunc(command, func(w string) bool { return strings.Contains(strings.ToLower(w), "follow") })
}

// change does it.
func (p *pod) change() error {
	before := clone(p.container)
	sidecar := p.sidecar()
	if !p.settings.KeepPorts {
		if err := p.take(sidecar); err != nil {
			return err
		}
	}
	p.record.Container = str(get(p.container, "name"))
	if err := p.record.remember(before, p.container); err != nil {
		return err
	}
	where := "containers"
	if p.settings.Native {
		where = "initContainers"
	}
	containers, made, err := sequence(p.spec, where)
	if err != nil {
		return err
	}
	p.record.Where, p.record.MadeList = where, made
	containers.Style &^= yaml.FlowStyle
	containers.Content = append(containers.Content, sidecar)
	volumes, made, err := sequence(p.spec, "volumes")
	if err != nil {
		return err
	}
	p.record.MadeVolumes = made
	volumes.Style &^= yaml.FlowStyle
	volumes.Content = append(volumes.Content, object("name", sidecarName, "emptyDir", &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}))
	return p.annotate()
}

// take moves the Tile38 to the loopback address, and gives its port to the sidecar.
func (p *pod) take(sidecar *yaml.Node) error {
	c := p.container
	for _, hook := range []string{"postStart", "preStop"} {
		for _, how := range []string{"httpGet", "tcpSocket"} {
			if asks(c, get(c, "lifecycle", hook, how), p.start.port) {
				return fmt.Errorf("its %s hook asks its port; take a command (exec) instead", hook)
			}
		}
	}
	if err := moveProbes(c, p.start.port, p.settings.ProbePort); err != nil {
		return err
	}
	ports := get(sidecar, "ports")
	var theirs []*yaml.Node
	if old := get(c, "ports"); old != nil && old.Kind == yaml.SequenceNode {
		kept := clone(old)
		kept.Content = nil
		for _, port := range old.Content {
			if str(get(port, "containerPort")) == strconv.Itoa(p.start.port) {
				theirs = append(theirs, clone(port))
			} else {
				kept.Content = append(kept.Content, port)
			}
		}
		if len(theirs) > 0 {
			set(c, "ports", kept)
		}
		if len(kept.Content) == 0 {
			drop(c, "ports")
		}
	}
	if len(theirs) == 0 {
		theirs = []*yaml.Node{object("containerPort", p.start.port)}
	}
	ports.Content = append(theirs, ports.Content...)
	p.start.move(c, "127.0.0.1", p.settings.EnginePort)
	return nil
}

// annotate adds what Prometheus looks for, unless somebody has said that already,
// and the record.
func (p *pod) annotate() error {
	annotations, made, err := mapping(p.meta, "annotations")
	if err != nil {
		return err
	}
	p.record.MadeAnnotations = made
	scraped := slices.ContainsFunc(sorted(pairs(annotations)), func(k string) bool { return strings.HasPrefix(k, "prometheus.io/") })
	if !scraped {
		for _, a := range [][2]string{{"scrape", "true"}, {"port", strconv.Itoa(p.settings.ProbePort)}, {"path", "/metrics"}} {
			set(annotations, "prometheus.io/"+a[0], text(a[1]))
			p.record.Annotations = append(p.record.Annotations, "prometheus.io/"+a[0])
		}
	}
	value, err := p.record.text()
	if err != nil {
		return err
	}
	set(annotations, AnnotationInjected, text(value))
	return nil
}
