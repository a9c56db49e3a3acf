package aof

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"evenkeel/internal/fsx"
)

// Names in a data directory.
const (
	manifestName = "MANIFEST"
	adoptedName  = "appendonly.aof"
	baseName     = "base-"
	segmentName  = "seg-"
	fileSuffix   = ".aof"
	cutInfix     = ".cut-"
)

const manifestVersion = 1

// Kinds of file.
const (
	kindBase    = "base"
	kindSegment = "segment"
	kindAdopted = "adopted"
)

// manifest is the content of MANIFEST.
type manifest struct {
	Version int    `json:"version"`
	Epoch   string `json:"epoch"`
	// Previous are the histories that this one continues, oldest first.
	Previous []Fork `json:"previous"`
	// Files are what the log consists of: the backlog's segments, the base, the
	// segments since. Segments that continue the last one may follow on disk.
	Files []manifestFile `json:"files"`
	// Obsolete are files that are no part of the log any more and are being
	// removed.
	Obsolete []string `json:"obsolete,omitempty"`
	// ClosedAt is where the log ended when it was closed in good order; absent
	// while it is open, and after a crash.
	ClosedAt *int64 `json:"closed_at,omitempty"`
	// Checksum is the CRC-32C of the manifest without it. A person who edits the
	// file takes the line out.
	Checksum string `json:"crc32c,omitempty"`
}

// manifestFile describes one file. End, Size and Checksum are there when the
// file is not written any more.
type manifestFile struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Start int64  `json:"start"`         // logical offset of its first byte
	End   *int64 `json:"end,omitempty"` // logical offset that it leads to
	// StartDigest is the state's digest at Start, where known.
	StartDigest string `json:"start_digest,omitempty"`
	Digest      string `json:"digest,omitempty"`  // of the state at End, where known
	Time        *int64 `json:"time,omitempty"`    // of End, Unix milliseconds
	Payload     *int64 `json:"payload,omitempty"` // of a base: bytes without annotations
	Size        *int64 `json:"size,omitempty"`    // bytes
	Checksum    string `json:"crc32c,omitempty"`  // CRC-32C of the whole file
}

func (m *manifest) encode() ([]byte, error) {
	m.Checksum = ""
	plain, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	m.Checksum = string(appendHex(nil, uint64(checksum(0, plain)), 8))
	b := bytes.TrimSuffix(plain, []byte("\n}")) // the checksum is its last member
	return fmt.Appendf(b, ",\n  %q: %q\n}\n", "crc32c", m.Checksum), nil
}

func decodeManifest(b []byte) (*manifest, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, err
	}
	if version.Version != manifestVersion {
		return nil, fmt.Errorf("version %d is not known; this program reads version %d", version.Version, manifestVersion)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	m := new(manifest)
	if err := d.Decode(m); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("text after the end")
	}
	if sum := m.Checksum; sum != "" {
		if _, err := m.encode(); err != nil {
			return nil, err
		}
		if m.Checksum != sum {
			return nil, fmt.Errorf("checksum is %s, want %s (take the line out if the file was edited on purpose)", m.Checksum, sum)
		}
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// check lists what is wrong with m as a whole.
func (m *manifest) check() error {
	var errs []error
	if !validEpoch(m.Epoch) {
		errs = append(errs, fmt.Errorf("epoch %q: want 40 hexadecimal digits", m.Epoch))
	}
	errs = append(errs, checkForks(m.Previous))
	bases := 0
	for i := range m.Files {
		f := &m.Files[i]
		if f.Kind != kindSegment {
			bases++
		}
		if err := f.check(i == len(m.Files)-1); err != nil {
			errs = append(errs, fmt.Errorf("file %q: %w", f.Name, err))
		}
	}
	if bases > 1 {
		errs = append(errs, fmt.Errorf("%d bases, want at most one", bases))
	}
	for _, name := range m.Obsolete {
		if _, ok := parseName(name); !ok {
			errs = append(errs, fmt.Errorf("obsolete file %q: not a file of a log", name))
		}
	}
	return errors.Join(errs...)
}

func (f *manifestFile) check(last bool) error {
	n, ok := parseName(f.Name)
	if !ok || n.kind != f.Kind {
		return fmt.Errorf("not the name of a file of kind %q", f.Kind)
	}
	if f.Start < 0 || (f.Kind != kindAdopted && f.Start != n.offset) {
		return fmt.Errorf("start %d does not agree with the name", f.Start)
	}
	if f.End == nil {
		if f.Kind != kindSegment || !last {
			return errors.New("no end: only the last segment may be open")
		}
		return nil
	}
	if f.Size == nil || f.Checksum == "" || f.Time == nil {
		return errors.New("end without size, time or checksum")
	}
	if f.Kind != kindSegment && f.Payload == nil {
		return errors.New("no payload size")
	}
	if *f.End < f.Start {
		return fmt.Errorf("end %d is before start %d", *f.End, f.Start)
	}
	return nil
}

// fileName is a parsed name of a file of a log.
type fileName struct {
	kind   string
	offset int64
}

// formatName returns the name of a file at offset. Two files at one offset (a
// base written again, a file of a history that was replaced) differ by n > 1.
func formatName(kind string, offset int64, n int) string {
	prefix := segmentName
	if kind == kindBase {
		prefix = baseName
	}
	if n > 1 {
		return fmt.Sprintf("%s%020d-%d%s", prefix, offset, n, fileSuffix)
	}
	return fmt.Sprintf("%s%020d%s", prefix, offset, fileSuffix)
}

// parseName reads what formatName writes, and the name of an adopted file.
func parseName(name string) (fileName, bool) {
	if name == adoptedName {
		return fileName{kind: kindAdopted}, true
	}
	rest, ok := strings.CutSuffix(name, fileSuffix)
	if !ok {
		return fileName{}, false
	}
	kind := kindSegment
	digits, ok := strings.CutPrefix(rest, segmentName)
	if !ok {
		kind = kindBase
		if digits, ok = strings.CutPrefix(rest, baseName); !ok {
			return fileName{}, false
		}
	}
	n := 1
	if at := strings.IndexByte(digits, '-'); at >= 0 {
		v, err := strconv.Atoi(digits[at+1:])
		if err != nil {
			return fileName{}, false
		}
		n, digits = v, digits[:at]
	}
	offset, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || formatName(kind, offset, n) != name {
		return fileName{}, false
	}
	return fileName{kind: kind, offset: offset}, true
}

// logFile is what the log knows of one of its files. The log's mu guards all of
// it but name, kind and start, which never change.
type logFile struct {
	name  string
	kind  string
	start int64

	startDigest Digest
	startKnown  bool // startDigest is known

	// Facts of a file that is complete: a base, an adopted file, a segment that
	// is not written any more.
	sealed      bool
	end         Mark
	digestKnown bool   // end.Digest is known
	payload     int64  // of a base
	size        int64  // bytes
	crc         uint32 // of the whole file

	synced   bool  // a sealed file's content is durable
	visible  int64 // bytes that readers may see; ends after a whole batch
	dropping bool  // about to be removed: not for new readers
	index    []indexEntry
}

// indexEntry says that a batch with the logical start off begins at pos; in a
// base off counts the base's own payload.
type indexEntry struct{ off, pos int64 }

// indexBytes is the distance between entries of an index.
const indexBytes = 1 << 20

// indexAt adds an entry for a batch unless the last one is near.
func indexAt(index []indexEntry, off, pos int64) []indexEntry {
	if len(index) > 0 && pos-index[len(index)-1].pos < indexBytes {
		return index
	}
	return append(index, indexEntry{off, pos})
}

// seek returns the last indexed batch that begins at or before off.
func seek(index []indexEntry, start, off int64) indexEntry {
	e := indexEntry{off: start}
	for _, x := range index {
		if x.off > off {
			break
		}
		e = x
	}
	return e
}

func (f *logFile) describe() manifestFile {
	m := manifestFile{Name: f.name, Kind: f.kind, Start: f.start}
	if f.startKnown && f.kind == kindSegment {
		m.StartDigest = f.startDigest.String()
	}
	if !f.sealed || !f.synced {
		return m
	}
	end, time, size := f.end.Offset, f.end.Time, f.size
	m.End, m.Time, m.Size = &end, &time, &size
	m.Checksum = string(appendHex(nil, uint64(f.crc), 8))
	if f.digestKnown {
		m.Digest = f.end.Digest.String()
	}
	if f.kind != kindSegment {
		payload := f.payload
		m.Payload = &payload
	}
	return m
}

// fileOf is the reverse of describe.
func fileOf(m manifestFile) (*logFile, error) {
	f := &logFile{name: m.Name, kind: m.Kind, start: m.Start}
	var err error
	if m.StartDigest != "" {
		if f.startDigest, err = ParseDigest(m.StartDigest); err != nil {
			return nil, fmt.Errorf("file %q: start %w", m.Name, err)
		}
		f.startKnown = true
	}
	if m.End == nil {
		return f, nil
	}
	f.sealed, f.synced = true, true
	f.end.Offset, f.end.Time, f.size, f.visible = *m.End, *m.Time, *m.Size, *m.Size
	crc, ok := parseHex([]byte(m.Checksum))
	if !ok || len(m.Checksum) != 8 {
		return nil, fmt.Errorf("file %q: checksum %q: want 8 hexadecimal digits", m.Name, m.Checksum)
	}
	f.crc = uint32(crc) // #nosec G115 -- eight digits
	if m.Digest != "" {
		if f.end.Digest, err = ParseDigest(m.Digest); err != nil {
			return nil, fmt.Errorf("file %q: %w", m.Name, err)
		}
		f.digestKnown = true
	}
	if m.Payload != nil {
		f.payload = *m.Payload
	}
	return f, nil
}

func (l *Log) path(name string) string { return filepath.Join(l.o.Dir, name) }

// writeManifest replaces MANIFEST. When it returns an error the old or the new
// one may be in place. l.manifestMu is held.
func (l *Log) writeManifest(m *manifest) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	if err := fsx.WriteFileAtomic(l.fs, l.path(manifestName), b); err != nil {
		return fmt.Errorf("replace the manifest: %w", err)
	}
	return nil
}
