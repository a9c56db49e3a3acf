package settings

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tidwall/match"

	"evenkeel/internal/fsx"
)

// File is the name of the settings file in the data directory.
const File = "config"

// Members of the file that are no properties.
const (
	keyServerID   = "server_id"
	keyReadOnly   = "read_only"
	keyFollowHost = "follow_host"
	keyFollowPort = "follow_port"
)

// ownLetters is more than the names of Evenkeel's properties and of Tile38's
// have in common ("repl").
const ownLetters = 5

// ErrUnknown says that there is no property of that name.
var ErrUnknown = errors.New("unknown property")

// Settings are the properties and the identity of one server. Its methods may
// be called concurrently.
type Settings struct {
	fs   fsx.FS
	path string

	sets sync.Mutex // held while Set tells the watchers, so that the last value is the last they hear of; taken before mu

	mu      sync.Mutex
	running map[string]string // properties as they are in force
	saved   map[string]any    // what the file holds
	watch   map[string][]func(value string)
}

// Load reads the settings of a data directory; without a file it makes a new
// server id and writes one.
func Load(fsys fsx.FS, dir string) (*Settings, error) {
	s := &Settings{
		fs:      fsys,
		path:    filepath.Join(dir, File),
		running: map[string]string{},
		saved:   map[string]any{},
		watch:   map[string][]func(string){},
	}
	data, err := fsx.ReadFile(fsys, s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("settings: %w", err)
	default:
		if s.saved, err = parse(data); err != nil {
			return nil, s.damaged(err)
		}
	}
	if err := s.takeSaved(); err != nil {
		return nil, s.damaged(err)
	}
	if s.ServerID() == "" {
		if err := s.save(keyServerID, newID()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// damaged says what is wrong with the file, and what to do.
func (s *Settings) damaged(err error) error {
	return fmt.Errorf("settings: %s: %w; mend the file, or move it away to start with defaults and a new server id", s.path, err)
}

// parse reads the file. Numbers are kept as they are written.
func parse(data []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var saved map[string]any
	if err := dec.Decode(&saved); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the JSON object")
	}
	if saved == nil { // null
		return nil, errors.New("want a JSON object")
	}
	return saved, nil
}

// takeSaved makes the values of the file the running ones. The error lists
// every fault.
func (s *Settings) takeSaved() error {
	faults := s.checkMembers()
	for _, p := range properties {
		v, ok := s.saved[p.Name]
		if !ok {
			s.running[p.Name] = p.Default
			continue
		}
		var text string
		switch v := v.(type) {
		case string:
			text = v
		case json.Number: // Tile38 writes replica-priority as one
			text = v.String()
		case map[string]any: // and logconfig as an object
			b, err := json.Marshal(v)
			if err != nil || p.form != formObject {
				faults = append(faults, fmt.Errorf("%q must be a string", p.Name))
				continue
			}
			text = string(b)
		default:
			faults = append(faults, fmt.Errorf("%q must be a string", p.Name))
			continue
		}
		norm, err := p.check(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%q: %w", p.Name, err))
			continue
		}
		s.running[p.Name] = norm
	}
	return errors.Join(faults...)
}

// checkMembers lists the faults of what is no property.
func (s *Settings) checkMembers() (faults []error) {
	want := func(name, kind string, ok func(v any) bool) {
		if v, found := s.saved[name]; found && !ok(v) {
			faults = append(faults, fmt.Errorf("%q must be %s", name, kind))
		}
	}
	isText := func(v any) bool { _, ok := v.(string); return ok }
	want(keyServerID, "a string", isText)
	want(keyFollowHost, "a string", isText)
	want(keyReadOnly, "true or false", func(v any) bool { _, ok := v.(bool); return ok })
	want(keyFollowPort, "a number from 0 to 65535", func(v any) bool {
		n, ok := v.(json.Number)
		_, err := strconv.ParseUint(n.String(), 10, 16)
		return ok && err == nil
	})
	return faults
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Get returns the running value of a property, "" if there is no such
// property.
func (s *Settings) Get(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[name]
}

// Match returns the running values of the properties whose name fits the
// pattern. Clients of Tile38 count on CONFIG GET * to list its properties and
// no others, so Evenkeel's own are listed only for a pattern that means them: a
// name, or at least ownLetters of one before the first wildcard.
func (s *Settings) Match(pattern string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]string{}
	literal := len(pattern)
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		literal = i
	}
	for _, p := range properties {
		if p.own && literal < ownLetters && pattern != p.Name {
			continue
		}
		if match.Match(p.Name, pattern) {
			found[p.Name] = s.running[p.Name]
			if p.show != nil {
				found[p.Name] = p.show(s.running[p.Name])
			}
		}
	}
	return found
}

// Check says whether Set would take a value.
func Check(name, value string) error {
	p := find(name)
	if p == nil {
		return fmt.Errorf("%w %q", ErrUnknown, name)
	}
	_, err := p.check(value)
	return err
}

// Set changes the running value of a property and tells who watches it. The
// error is ErrUnknown, or says what is wrong with the value.
func (s *Settings) Set(name, value string) error {
	p := find(name)
	if p == nil {
		return fmt.Errorf("%w %q", ErrUnknown, name)
	}
	norm, err := p.check(value)
	if err != nil {
		return err
	}
	s.sets.Lock()
	defer s.sets.Unlock()
	s.mu.Lock()
	s.running[name] = norm
	watchers := slices.Clone(s.watch[name])
	s.mu.Unlock()
	for _, f := range watchers {
		f(norm)
	}
	return nil
}

// Watch calls f with the running value of a property, now and after each
// change, in the order of the changes. f must not call Set or Watch.
func (s *Settings) Watch(name string, f func(value string)) {
	s.sets.Lock()
	defer s.sets.Unlock()
	s.mu.Lock()
	s.watch[name] = append(s.watch[name], f)
	value := s.running[name]
	s.mu.Unlock()
	f(value)
}

// Rewrite writes the running values to the file; those at their default are
// left out.
func (s *Settings) Rewrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.saved)
	for _, p := range properties {
		switch value := s.running[p.Name]; {
		case value == p.Default:
			delete(next, p.Name)
		case p.form == formNumber, p.form == formObject && json.Valid([]byte(value)):
			next[p.Name] = json.RawMessage(value)
		default:
			next[p.Name] = value
		}
	}
	return s.write(next)
}

// ServerID returns the server's 32 hexadecimal digits.
func (s *Settings) ServerID() string { return s.savedText(keyServerID) }

// ReadOnly says whether READONLY yes is in force.
func (s *Settings) ReadOnly() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := s.saved[keyReadOnly].(bool)
	return b
}

// SetReadOnly remembers READONLY over restarts.
func (s *Settings) SetReadOnly(on bool) error {
	if !on {
		return s.save(keyReadOnly, nil)
	}
	return s.save(keyReadOnly, true)
}

// Follow returns the leader that FOLLOW named, "" and 0 for none.
func (s *Settings) Follow() (host string, port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	host, _ = s.saved[keyFollowHost].(string)
	n, _ := s.saved[keyFollowPort].(json.Number)
	port, _ = strconv.Atoi(n.String()) // 0 when there is none; Load has checked it
	return host, port
}

// SetFollow remembers whom to follow over restarts; host "" is nobody.
func (s *Settings) SetFollow(host string, port int) error {
	if host == "" {
		return s.save(keyFollowHost, nil, keyFollowPort, nil)
	}
	return s.save(keyFollowHost, host, keyFollowPort, json.Number(strconv.Itoa(port)))
}

func (s *Settings) savedText(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, _ := s.saved[key].(string)
	return text
}

// save changes members of the file: name, value, name, value …; nil removes.
func (s *Settings) save(pairs ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.saved)
	for i := 0; i < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		if pairs[i+1] == nil {
			delete(next, name)
		} else {
			next[name] = pairs[i+1]
		}
	}
	return s.write(next)
}

// write replaces the file; mu is held.
func (s *Settings) write(next map[string]any) error {
	data, err := json.MarshalIndent(next, "", "\t")
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := fsx.WriteFileAtomic(s.fs, s.path, append(data, '\n')); err != nil {
		return fmt.Errorf("settings: write %s: %w", s.path, err)
	}
	s.saved = next
	return nil
}
