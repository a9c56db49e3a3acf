package inject

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// defaultPort is Tile38's.
const defaultPort = 9851

// start is how a container starts its Tile38.
type start struct {
	host      string // where it listens; "": everywhere
	port      int
	dir       string // absolute; "": unknown
	protected bool   // --protected-mode yes
	noLog     bool   // --appendonly no

	// move makes the container's Tile38 listen elsewhere.
	move func(container *yaml.Node, host string, port int)
}

// advice ends the refusal of a command.
const advice = `; write command: ["tile38-server", "-d", "/data"] with its flags as separate words, or leave its port alone with keep-ports and say engine-port`

// valued are flags of tile38-server that a value follows.
var valued = []string{
	"h", "p", "d", "s", "l", "o", "pidfile", "appendonly", "appendfilename", "queuefilename", "http-transport", "protected-mode",
	"webhook-http-consumer-port", "webhook-grpc-consumer-port",
}

// understand reads a container's command.
func understand(container *yaml.Node) (*start, error) {
	command, ok1 := texts(get(container, "command"))
	args, ok2 := texts(get(container, "args"))
	if !ok1 || !ok2 {
		return nil, errors.New("command or args is no list of words" + advice)
	}
	s := &start{port: defaultPort}
	all := slices.Concat(command, args)
	if len(all) == 0 {
		if !stock(str(get(container, "image"))) {
			return nil, fmt.Errorf("how image %s starts its Tile38 cannot be seen%s", str(get(container, "image")), advice)
		}
		s.dir = "/data" // so the image's own command says
		s.move = func(c *yaml.Node, host string, port int) {
			set(c, "command", object("", []string{"tile38-server"}).Content[1])
			set(c, "args", object("", []string{"-h", host, "-p", strconv.Itoa(port), "-d", "/data"}).Content[1])
		}
		return s, nil
	}
	first, err := program(all, len(command) == 0)
	if err != nil {
		return nil, err
	}
	if script, at := shellScript(all, first); at >= 0 {
		err := s.throughShell(container, script, at, len(command))
		return s, err
	}
	gone, err := s.flags(container, all[first:])
	if err != nil {
		return nil, err
	}
	for i := range gone {
		gone[i] += first
	}
	s.move = func(c *yaml.Node, host string, port int) { moveWords(c, gone, len(command), host, port) }
	return s, nil
}

// program says where the flags of tile38-server begin, or the shell stands.
func program(all []string, argsOnly bool) (int, error) {
	if argsOnly && strings.HasPrefix(all[0], "-") {
		return 0, nil // the image's entrypoint is tile38-server
	}
	at := 0
	for at < len(all) && slices.Contains([]string{"tini", "dumb-init", "catatonit"}, path.Base(all[at])) {
		for at++; at < len(all) && strings.HasPrefix(all[at], "-"); at++ {
		}
	}
	switch {
	case at < len(all) && path.Base(all[at]) == "tile38-server":
		return at + 1, nil
	case at < len(all) && isShell(all[at]):
		return at, nil
	}
	return 0, fmt.Errorf("what its command %q does to the Tile38 is not known%s", strings.Join(all, " "), advice)
}

// flags reads the words behind tile38-server; gone are those about its address.
func (s *start) flags(container *yaml.Node, words []string) (gone []int, err error) {
	env := literals(container)
	for i := 0; i < len(words); i++ {
		word := words[i]
		if !strings.HasPrefix(word, "-") {
			return nil, fmt.Errorf("its flags have a word %q that is none%s", word, advice)
		}
		name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
		at := []int{i}
		takes := slices.Contains(valued, name)
		// An unknown flag: what does not look like a flag is its value.
		if !given && (takes || !boolFlag(name)) && i+1 < len(words) && (takes || !strings.HasPrefix(words[i+1], "-")) {
			i++
			value, at = words[i], append(at, i)
		} else if !given && takes {
			return nil, fmt.Errorf("flag %s has no value", word)
		}
		address, err := s.flag(name, value, env)
		if err != nil {
			return nil, err
		}
		if address {
			gone = append(gone, at...)
		}
	}
	s.dir = absolute(s.dir, str(get(container, "workingDir")))
	return gone, nil
}

func boolFlag(name string) bool {
	return slices.Contains([]string{"q", "v", "vv", "nohup", "spinlock", "dev", "version", "help"}, name)
}

// flag takes one; address says whether it is about where the Tile38 listens.
func (s *start) flag(name, value string, env map[string]string) (address bool, err error) {
	switch name {
	case "h", "p", "d", "appendonly", "appendfilename", "protected-mode":
		if value, err = substitute(value, env); err != nil {
			return false, fmt.Errorf("flag -%s: %w", name, err)
		}
	}
	switch name {
	case "h":
		if s.host = value; value == "0.0.0.0" || value == "::" {
			s.host = ""
		}
		if !hostRE.MatchString(s.host) {
			return false, fmt.Errorf("flag -h %q is no host%s", value, advice)
		}
	case "p":
		if s.port, err = strconv.Atoi(value); err != nil || s.port < 1 || s.port > 65535 {
			return false, fmt.Errorf("flag -p %q is no port", value)
		}
	case "d":
		s.dir = value
	case "appendonly":
		s.noLog = value == "no"
	case "appendfilename":
		if path.Base(value) != "appendonly.aof" {
			return false, errors.New("flag --appendfilename: the sidecar looks for appendonly.aof in the data directory; leave the flag out")
		}
		s.dir = path.Dir(value)
	case "protected-mode":
		s.protected = value == "yes"
	}
	return name == "h" || name == "p", nil
}

var hostRE = regexp.MustCompile(`^[-._a-zA-Z0-9:]*$`)

// absolute is a directory's path from the root, "" if that is unknown.
func absolute(dir, workingDir string) string {
	switch {
	case dir == "" && workingDir != "":
		dir = "data" // where a Tile38 without -d has it
	case dir == "":
		return ""
	}
	if !strings.HasPrefix(dir, "/") {
		if !strings.HasPrefix(workingDir, "/") {
			return ""
		}
		dir = path.Join(workingDir, dir)
	}
	return path.Clean(dir)
}

// moveWords takes words out of command and args, and appends the new address.
func moveWords(c *yaml.Node, gone []int, commandWords int, host string, port int) {
	command, args := get(c, "command"), get(c, "args")
	cut := func(list *yaml.Node, from int) {
		if absent(list) {
			return
		}
		kept := list.Content[:0:0]
		for i, n := range list.Content {
			if !slices.Contains(gone, from+i) {
				kept = append(kept, n)
			}
		}
		list.Content = kept
	}
	cut(command, 0)
	cut(args, commandWords)
	last := args
	if absent(args) || len(args.Content) == 0 && !absent(command) {
		last = command
	}
	last.Content = append(last.Content, text("-h"), text(host), text("-p"), text(strconv.Itoa(port)))
}

// literals are the container's environment variables that have a value there.
func literals(container *yaml.Node) map[string]string {
	env := map[string]string{}
	for _, e := range items(get(container, "env")) {
		if name := str(get(e, "name")); get(e, "valueFrom") == nil && name != "" {
			env[name] = str(get(e, "value"))
		}
	}
	return env
}

var referenceRE = regexp.MustCompile(`\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)`)

// substitute does what a kubelet does to $(NAME) in a command.
func substitute(word string, env map[string]string) (string, error) {
	var unknown string
	out := referenceRE.ReplaceAllStringFunc(word, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		name := ref[2 : len(ref)-1]
		value, ok := env[name]
		if !ok || strings.Contains(value, "$") {
			unknown = name
		}
		return value
	})
	if unknown != "" {
		return "", fmt.Errorf("the value of %s is not in the manifest; write it there", unknown)
	}
	return out, nil
}

// repository is an image without registry's port, tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}

// stock: Tile38's own image, wherever it is kept.
func stock(image string) bool {
	r := repository(image)
	return r == "tile38/tile38" || strings.HasSuffix(r, "/tile38/tile38")
}
