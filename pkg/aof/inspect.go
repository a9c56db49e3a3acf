package aof

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"evenkeel/internal/fsx"
)

// Damage is something that is not what was written.
type Damage struct {
	File   string `json:"file"`            // name in the directory
	At     int64  `json:"byte"`            // where in the file it begins; -1: the file as a whole
	Bytes  int64  `json:"bytes,omitempty"` // from At on, in which nothing can be read
	Reason string `json:"reason"`
}

func (d Damage) String() string {
	switch {
	case d.At < 0:
		return fmt.Sprintf("%s: %s", d.File, d.Reason)
	case d.Bytes == 0:
		return fmt.Sprintf("%s, byte %d: %s", d.File, d.At, d.Reason)
	}
	return fmt.Sprintf("%s, bytes %d to %d: %s", d.File, d.At, d.At+d.Bytes, d.Reason)
}

// AdoptedName is the name of a plain Tile38 append-only file in a directory.
const AdoptedName = adoptedName

// Kinds of file, as MANIFEST spells them.
const (
	KindBase    = kindBase
	KindSegment = kindSegment
	KindAdopted = kindAdopted // a plain Tile38 append-only file
)

// What a file is to its log.
const (
	RoleBacklog = "backlog" // before the base, for followers
	RoleBase    = "base"
	RoleLog     = "log"   // replayed, behind the base
	RoleFound   = "found" // without a manifest nobody can tell yet
)

// FileInfo is a file of a log. What Scan finds is zero before it.
type FileInfo struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"` // base, segment, adopted
	Role   string `json:"role"`
	Listed bool   `json:"listed"` // in MANIFEST
	Sealed bool   `json:"sealed"` // MANIFEST has its end and checksum
	Size   int64  `json:"bytes"`
	Start  int64  `json:"start"` // logical offset

	// As found, damaged stretches passed over.
	End       int64 `json:"end"`           // logical offset
	Payload   int64 `json:"payload_bytes"` // commands without annotations
	Batches   int64 `json:"batches"`
	Commands  int64 `json:"commands"`
	FirstTime int64 `json:"first_time,omitempty"` // of its batches, Unix milliseconds
	LastTime  int64 `json:"last_time,omitempty"`
	ZeroBytes int64 `json:"zero_bytes,omitempty"` // between commands of an adopted file

	// A torn tail: the bytes from TornAt on are the beginning of a batch (of a
	// command in an adopted file). The next Open cuts them off.
	TornAt    int64 `json:"torn_at,omitempty"`
	TornBytes int64 `json:"torn_bytes,omitempty"`

	Damage []Damage `json:"damage,omitempty"`

	f       *logFile // what MANIFEST says, or the name
	missing bool
	known   []Damage // without reading the file
	good    prefix   // what comes before the first damage
	crc     uint32   // of the whole file, when nothing in it is damaged

	lostTime int64 // of the first batch behind damage
}

// prefix is the beginning of a file up to its first damage.
type prefix struct {
	pos               int64 // file position of its end
	mark              Mark
	batches, commands int64
}

// Whole says whether all of the file, but for a torn tail, is as it was written.
func (f *FileInfo) Whole() bool { return len(f.Damage) == 0 && !f.missing }

// Missing says whether the file is not there, or is no file.
func (f *FileInfo) Missing() bool { return f.missing }

// OtherFile is a file in a log's directory that is no part of the log.
type OtherFile struct {
	Name string `json:"name"`
	Size int64  `json:"bytes"`
	What string `json:"what"`
}

// Directory is what a log's directory holds. It is read, never changed, but by
// Repair.
type Directory struct {
	Dir      string      `json:"dir"`
	Manifest string      `json:"manifest"` // ok, missing, damaged
	Plain    bool        `json:"plain"`    // a Tile38 append-only file and no log yet
	Epoch    string      `json:"epoch,omitempty"`
	Previous []Fork      `json:"previous,omitempty"`
	Files    []*FileInfo `json:"files"` // in the order of their offsets: backlog, base, log
	Others   []OtherFile `json:"others,omitempty"`
	Damage   []Damage    `json:"damage,omitempty"` // of the manifest and of how files follow each other

	// AdoptTime is the time of the commands in a plain append-only file, Unix
	// milliseconds; the caller may set it.
	AdoptTime int64 `json:"-"`

	m         *manifest
	op        *opening
	ambiguous bool // more than one segment could go on
}

// Inspect reads the manifest and the names in a directory; Scan reads the files.
// What is wrong is in the answer: the error is about what could not be read. The
// caller holds a lock of the directory.
func Inspect(fsys fsx.FS, dir string) (*Directory, error) {
	o := Options{FS: fsys, Dir: dir}
	o.EnsureDefaults()
	l := &Log{o: o, fs: o.FS, logger: o.Logger, onDisk: map[string]bool{}}
	d := &Directory{Dir: dir, Manifest: "ok", op: &opening{l: l}}
	var err error
	if d.op.entries, err = l.fs.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	b, err := fsx.ReadFile(l.fs, l.path(manifestName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = d.withoutManifest()
	case err != nil:
	default:
		err = d.fromManifest(b)
	}
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", dir, err)
	}
	d.others()
	return d, nil
}

// InspectPlain is Inspect for one plain Tile38 append-only file of any name.
func InspectPlain(fsys fsx.FS, path string) (*Directory, error) {
	o := Options{FS: fsys, Dir: filepath.Dir(path)}
	o.EnsureDefaults()
	l := &Log{o: o, fs: o.FS, logger: o.Logger, onDisk: map[string]bool{}}
	d := &Directory{Dir: o.Dir, Manifest: "missing", Plain: true, op: &opening{l: l}}
	err := d.add(&logFile{name: filepath.Base(path), kind: kindAdopted}, RoleBase, false)
	if err == nil && d.Files[0].missing {
		err = fmt.Errorf("%s: %s", path, d.Files[0].Damage[0].Reason)
	}
	return d, err
}

func (d *Directory) damage(file string, format string, args ...any) {
	d.Damage = append(d.Damage, Damage{File: file, At: -1, Reason: fmt.Sprintf(format, args...)})
}

// withoutManifest takes every file that has the name of a log's.
func (d *Directory) withoutManifest() error {
	d.Manifest = "missing"
	if err := d.found(); err != nil {
		return err
	}
	switch {
	case len(d.Files) == 1 && d.Files[0].Kind == kindAdopted:
		d.Plain = true
		d.Files[0].Role = RoleBase
	case len(d.Files) > 0:
		d.damage(manifestName, "it is missing, but there is %s", d.Files[0].Name)
	}
	return nil
}

// found lists the files of a log by their names.
func (d *Directory) found() error {
	for _, e := range d.op.entries {
		n, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		f := &logFile{name: e.Name(), kind: n.kind, start: n.offset}
		if err := d.add(f, RoleFound, false); err != nil {
			return err
		}
	}
	kinds := []string{kindAdopted, kindBase, kindSegment}
	slices.SortStableFunc(d.Files, func(a, b *FileInfo) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), slices.Index(kinds, a.Kind)-slices.Index(kinds, b.Kind))
	})
	return nil
}

// add takes a file up, missing or not.
func (d *Directory) add(f *logFile, role string, listed bool) error {
	i := &FileInfo{Name: f.name, Kind: f.kind, Role: role, Listed: listed, Sealed: f.sealed, Start: f.start, f: f}
	i.End = f.start
	if f.kind != kindSegment && f.sealed {
		i.Start = f.end.Offset
	}
	d.Files = append(d.Files, i)
	st, err := d.op.l.fs.Stat(d.op.l.path(f.name))
	if err == nil {
		i.Size = st.Size()
	}
	err = d.op.checkFile(f)
	de, ok := errors.AsType[*DamageError](err)
	if !ok {
		return err
	}
	i.missing = st == nil || !st.Mode().IsRegular()
	i.known = []Damage{{File: f.name, At: -1, Reason: de.Reason}}
	i.Damage = slices.Clone(i.known)
	return nil
}

// fromManifest takes the files that MANIFEST names and those that continue them.
func (d *Directory) fromManifest(b []byte) error {
	m, err := decodeManifest(b)
	var files []*logFile
	if err == nil {
		for _, mf := range m.Files {
			f, ferr := fileOf(mf)
			err = errors.Join(err, ferr)
			files = append(files, f)
		}
	}
	if err != nil {
		d.Manifest = "damaged"
		d.damage(manifestName, "%v", err)
		return d.found()
	}
	d.m, d.Epoch, d.Previous = m, m.Epoch, m.Previous
	l := d.op.l
	for _, f := range files {
		if f.kind != kindSegment {
			l.base = f
			continue
		}
		l.segs = append(l.segs, f)
	}
	for _, f := range files {
		if err := d.add(f, d.role(f), true); err != nil {
			return err
		}
	}
	for _, name := range m.Obsolete {
		l.onDisk[name] = true
	}
	if de, ok := errors.AsType[*DamageError](d.op.checkChain()); ok {
		d.damage(manifestName, "%s: %s", strings.TrimPrefix(de.File, l.path("")), de.Reason)
	}
	return d.followers()
}

func (d *Directory) role(f *logFile) string {
	base := d.op.l.base
	switch {
	case f == base:
		return RoleBase
	case base != nil && f.start < base.end.Offset:
		return RoleBacklog
	}
	return RoleLog
}

// followers takes up segments that MANIFEST does not name and that may continue
// those it names.
func (d *Directory) followers() error {
	after, strictly := d.op.sealedEnd().Offset, false
	if n := len(d.op.l.segs); n > 0 && !d.op.l.segs[n-1].sealed {
		after, strictly = d.op.l.segs[n-1].start, true
	}
	more, err := d.op.unlisted(after, strictly)
	if de, ok := errors.AsType[*DamageError](err); ok {
		d.ambiguous = true
		d.damage(strings.TrimPrefix(de.File, d.op.l.path("")+"/"), "%s", de.Reason)
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range more {
		if err := d.add(f, RoleLog, false); err != nil {
			return err
		}
	}
	return nil
}

// others names what else lies in the directory.
func (d *Directory) others() {
	for _, e := range d.op.entries {
		name := e.Name()
		if slices.ContainsFunc(d.Files, func(f *FileInfo) bool { return f.Name == name }) {
			continue
		}
		n, ours := parseName(name)
		var what string
		switch {
		case e.IsDir() || name == fsx.LockName || name == manifestName:
			continue
		case d.op.l.onDisk[name]:
			what = "obsolete: the next start removes it"
		case isTemp(name):
			what = "unfinished: the next start removes it"
		case strings.Contains(name, cutInfix):
			what = "cut off or set aside earlier"
		case strings.HasPrefix(name, lostName) && strings.HasSuffix(name, fileSuffix):
			what = "commands of a history that was given up"
		case ours && n.kind == kindBase:
			what = "a base that the log does not rest on: the next start removes it"
		case ours:
			what = "no part of the log"
		default:
			continue
		}
		var size int64
		if info, err := e.Info(); err == nil {
			size = info.Size()
		}
		d.Others = append(d.Others, OtherFile{Name: name, Size: size, What: what})
	}
}

// All returns every damage: of the directory and of its files.
func (d *Directory) All() []Damage {
	all := slices.Clone(d.Damage)
	for _, f := range d.Files {
		all = append(all, f.Damage...)
	}
	return all
}

// Base returns the base or the adopted file that the log rests on, or nil.
func (d *Directory) Base() *FileInfo { return d.first(RoleBase) }

func (d *Directory) first(role string) *FileInfo {
	for _, f := range d.Files {
		if f.Role == role {
			return f
		}
	}
	return nil
}

// OfRole returns the files of a role, in order.
func (d *Directory) OfRole(role string) (files []*FileInfo) {
	for _, f := range d.Files {
		if f.Role == role {
			files = append(files, f)
		}
	}
	return files
}

// Mark returns what MANIFEST says of the file's end; false: nothing.
func (f *FileInfo) Mark() (m Mark, digestKnown, ok bool) {
	return f.f.end, f.f.digestKnown, f.Sealed
}
