package inject

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// prefix is that of all annotations and labels.
const prefix = "evenkeel.io/"

// Annotations and labels.
const (
	// AnnotationInject says whether: Enabled or Disabled. As a label, Enabled asks the
	// webhook; Disabled is understood as either.
	AnnotationInject = prefix + "inject"
	// AnnotationInjected is on what was injected; its value is for Restore.
	AnnotationInjected = prefix + "injected"
	// annotationMarked is on what Options.Mark has labelled.
	annotationMarked = prefix + "marked"

	Enabled  = "enabled"
	Disabled = "disabled"
)

// sidecarName is the name of the container and of the volume that are added.
const sidecarName = "evenkeel"

// Ports in an injected pod, beside those of Options.
const (
	adminPort  = 9849
	bridgePort = 9852
	besidePort = 9861 // clients', when the Tile38 keeps its own
)

// DefaultMaxBytes bounds what is read.
const DefaultMaxBytes = 32 << 20

// Settings are what a pod may decide for itself, with annotations.
type Settings struct {
	Container      string // that runs the Tile38; "": found by its image
	Follow         string // the leader's sidecar, HOST:PORT; "": this Tile38 leads
	LeadOnHost     string // with Follow: the pod of this name leads
	Password       string // Secret with the Tile38's password: NAME, or NAME/KEY
	LeaderPassword string // … with the leader's, when it is another
	EngineDir      string // the Tile38's data directory; "": as its command says
	EnginePort     int    // where it listens once injected; with KeepPorts: where it does
	ProbePort      int    // of /readyz and /metrics
	RunAsUser      *int64 // the sidecar's user; nil: the Tile38's, as far as it is known
	KeepPorts      bool   // leave the Tile38's port, command and probes alone
	Native         bool   // an init container that stays (Kubernetes 1.29), not one among others
	Image          string
	PullPolicy     string
	CPURequest     string
	MemoryRequest  string
	MemoryLimit    string   // 90 % of it become GOMEMLIMIT; "": none
	Args           []string // more flags of `sidecar run`
}

// Options say how to inject.
type Options struct {
	Settings
	// Mark only labels pods for the webhook.
	Mark bool
	// OptIn injects only what has the annotation or label AnnotationInject: Enabled.
	OptIn bool
	// MaxBytes of input. Default DefaultMaxBytes.
	MaxBytes int
}

// EnsureDefaults fills in what is zero. Native has no default here: its zero means
// something.
func (o *Options) EnsureDefaults() {
	str := func(p *string, value string) {
		if *p == "" {
			*p = value
		}
	}
	str(&o.PullPolicy, "IfNotPresent")
	str(&o.CPURequest, "50m")
	str(&o.MemoryRequest, "128Mi")
	str(&o.MemoryLimit, "1Gi")
	if o.ProbePort == 0 {
		o.ProbePort = 9850
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	faults := o.check()
	if o.Image == "" {
		faults = append(faults, errors.New(`image "": want the sidecar's image`))
	}
	if o.MaxBytes < 1 {
		faults = append(faults, fmt.Errorf("max-bytes %d: want 1 or more", o.MaxBytes))
	}
	return errors.Join(faults...)
}

var (
	nameRE     = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)
	secretRE   = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?(/[-._a-zA-Z0-9]+)?$`)
	hostPortRE = regexp.MustCompile(`^([-._a-zA-Z0-9]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$`)
	imageRE    = regexp.MustCompile(`^[-._a-zA-Z0-9/:@]+$`)
	quantityRE = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$`)
)

// check lists what is wrong, each by the name of its annotation and flag.
func (s *Settings) check() (faults []error) {
	for _, f := range []struct {
		name, value, want string
		re                *regexp.Regexp
	}{
		{"container", s.Container, "the name of a container", nameRE},
		{"follow", s.Follow, "HOST:PORT", hostPortRE},
		{"lead-on-host", s.LeadOnHost, "the name of a pod", nameRE},
		{"password-secret", s.Password, "NAME or NAME/KEY of a Secret", secretRE},
		{"leader-password-secret", s.LeaderPassword, "NAME or NAME/KEY of a Secret", secretRE},
		{"image", s.Image, "an image", imageRE},
		{"cpu-request", s.CPURequest, "a quantity such as 50m", quantityRE},
		{"memory-request", s.MemoryRequest, "a quantity such as 128Mi", quantityRE},
		{"memory-limit", s.MemoryLimit, "a quantity such as 1Gi", quantityRE},
	} {
		if f.value != "" && !f.re.MatchString(f.value) {
			faults = append(faults, fmt.Errorf("%s %q: want %s", f.name, f.value, f.want))
		}
	}
	if s.LeadOnHost != "" && s.Follow == "" {
		faults = append(faults, errors.New("lead-on-host: the other pods need a leader: give follow as well"))
	}
	if s.EngineDir != "" && !strings.HasPrefix(s.EngineDir, "/") {
		faults = append(faults, fmt.Errorf("engine-dir %q: want a path that begins with /", s.EngineDir))
	}
	for _, p := range []struct {
		name string
		port int
	}{{"engine-port", s.EnginePort}, {"probe-port", s.ProbePort}} {
		if p.port < 0 || p.port > 65535 {
			faults = append(faults, fmt.Errorf("%s %d: want 1 to 65535", p.name, p.port))
		}
	}
	if s.RunAsUser != nil && *s.RunAsUser < 0 {
		faults = append(faults, fmt.Errorf("run-as-user %d: want the number of a user", *s.RunAsUser))
	}
	switch s.PullPolicy {
	case "", "Always", "IfNotPresent", "Never":
	default:
		faults = append(faults, fmt.Errorf("image-pull-policy %q: want Always, IfNotPresent or Never", s.PullPolicy))
	}
	for _, a := range s.Args {
		if !strings.HasPrefix(a, "--") {
			faults = append(faults, fmt.Errorf("args %q: want flags of `sidecar run`, --NAME=VALUE, with blanks between them", a))
		}
	}
	return faults
}

// annotate overrides settings by a pod's annotations, and lists what is wrong with
// them: a word that is misspelt must not be one that does nothing.
func (s *Settings) annotate(annotations map[string]string) (faults []error) {
	texts := map[string]*string{
		"container": &s.Container, "follow": &s.Follow, "lead-on-host": &s.LeadOnHost,
		"password-secret": &s.Password, "leader-password-secret": &s.LeaderPassword, "engine-dir": &s.EngineDir,
		"image": &s.Image, "image-pull-policy": &s.PullPolicy,
		"cpu-request": &s.CPURequest, "memory-request": &s.MemoryRequest, "memory-limit": &s.MemoryLimit,
	}
	ports := map[string]*int{"engine-port": &s.EnginePort, "probe-port": &s.ProbePort}
	flags := map[string]*bool{"keep-ports": &s.KeepPorts, "native-sidecar": &s.Native}
	for _, key := range sorted(annotations) {
		name, ours := strings.CutPrefix(key, prefix)
		value := annotations[key]
		var err error
		switch {
		case !ours, key == AnnotationInject, key == AnnotationInjected, key == annotationMarked:
		case texts[name] != nil:
			*texts[name] = value
		case ports[name] != nil:
			if *ports[name], err = strconv.Atoi(value); err != nil || *ports[name] < 1 {
				faults = append(faults, fmt.Errorf("annotation %s %q: want a port", key, value))
			}
		case flags[name] != nil:
			if *flags[name], err = strconv.ParseBool(value); err != nil {
				faults = append(faults, fmt.Errorf("annotation %s %q: want true or false", key, value))
			}
		case name == "run-as-user":
			n, err := strconv.ParseInt(value, 10, 32)
			s.RunAsUser = &n
			if err != nil || n < 0 {
				faults = append(faults, fmt.Errorf("annotation %s %q: want a number of a user", key, value))
			}
		case name == "args":
			s.Args = strings.Fields(value)
		default:
			faults = append(faults, fmt.Errorf("annotation %s: there is none of this name", key))
		}
	}
	for _, err := range s.check() {
		faults = append(faults, fmt.Errorf("annotation %s%w", prefix, err))
	}
	return faults
}

// goMemoryLimit is 90 % of a memory limit, in bytes.
func goMemoryLimit(quantity string) string {
	m := quantityRE.FindStringSubmatch(quantity)
	if m == nil {
		return ""
	}
	n, ok := new(big.Rat).SetString(m[1])
	if !ok {
		return ""
	}
	units := map[string]int64{
		"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
	}
	unit, ok := units[m[2]]
	if !ok {
		return ""
	}
	n.Mul(n, big.NewRat(9*unit, 10))
	return new(big.Int).Quo(n.Num(), n.Denom()).String()
}
