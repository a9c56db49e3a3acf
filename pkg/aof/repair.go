package aof

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"evenkeel/internal/fsx"
)

// Loss is a part of a log that a repair takes out of it. The bytes are kept
// beside the file.
type Loss struct {
	File      string `json:"file"`
	At        int64  `json:"byte"` // from here to the end of the file
	Bytes     int64  `json:"bytes"`
	Offset    int64  `json:"offset"` // logical, of the first byte
	Batches   int64  `json:"batches"`
	Commands  int64  `json:"commands"` // as far as they can be read still
	FirstTime int64  `json:"first_time,omitempty"`
	LastTime  int64  `json:"last_time,omitempty"`
	Harmless  bool   `json:"harmless"` // the state does not need it
	Why       string `json:"why"`

	torn bool
}

// Repair is what would make a damaged log whole again. Nothing is done before
// Carry.
type Repair struct {
	Base     *FileInfo   `json:"-"`        // that the log rests on; nil: it begins at offset 0
	Log      []*FileInfo `json:"-"`        // replayed behind it; of the last one, what comes before the damage
	End      Mark        `json:"-"`        // of the repaired log
	Offset   int64       `json:"offset"`   // that the repaired log ends at
	Losses   []Loss      `json:"losses"`   // in the order of files
	Manifest bool        `json:"manifest"` // MANIFEST is written anew
	// Forget says that a damaged MANIFEST is set aside and none written: the next
	// start adopts the plain file, or begins a new log where there is nothing.
	Forget   bool   `json:"forget_manifest"`
	NewEpoch string `json:"new_epoch,omitempty"` // the history's new name; "": it keeps its own

	d     *Directory
	next  *manifest // nil: MANIFEST stays
	aside []string
	cut   *cutPlan
}

// ErrNoRepair says that a log cannot be repaired without guessing.
var ErrNoRepair = errors.New("it cannot be repaired")

// Plan says what would make the log whole, when all files were scanned. nil:
// nothing has to be done. Where several files could be the base the first plan
// that accept agrees to is taken; accept replays it and compares digests, and its
// error says what is wrong with it. An error wraps ErrNoRepair.
func (d *Directory) Plan(accept func(*Repair) error) (*Repair, error) {
	if d.Plain {
		return d.planPlain(), nil
	}
	if d.sound() {
		return nil, nil
	}
	if d.ambiguous {
		return nil, fmt.Errorf("%w: two segments begin at the same offset; move the one that does not belong here away", ErrNoRepair)
	}
	if d.m == nil && len(d.Files) == 0 {
		return &Repair{d: d, Forget: true, aside: []string{manifestName}}, nil
	}
	var errs []error
	candidates := d.candidates()
	for _, base := range candidates {
		r, err := d.planOn(base)
		if err == nil {
			err = accept(r)
		}
		if err == nil {
			return r, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", restsOn(base), err))
	}
	if len(candidates) == 0 {
		errs = append(errs, d.hopeless())
	}
	return nil, fmt.Errorf("%w: %w", ErrNoRepair, errors.Join(errs...))
}

// sound says whether there is nothing to repair.
func (d *Directory) sound() bool {
	torn := slices.ContainsFunc(d.Files, func(f *FileInfo) bool { return f.TornBytes > 0 })
	return len(d.All()) == 0 && !torn
}

func restsOn(base *FileInfo) string {
	if base == nil {
		return "replaying everything from offset 0"
	}
	return "resting on " + base.Name
}

func (d *Directory) hopeless() error {
	base := d.Base()
	if base != nil {
		return fmt.Errorf("the base %s is damaged, and the segments do not reach back to offset 0", base.Name)
	}
	return errors.New("there is no undamaged base, and the segments do not reach back to offset 0")
}

// planPlain cuts a plain append-only file where it is damaged or torn.
func (d *Directory) planPlain() *Repair {
	f := d.Files[0]
	if f.Whole() && f.TornBytes == 0 {
		return nil
	}
	r := &Repair{d: d, Base: f, Offset: f.good.mark.Offset, End: f.good.mark}
	r.cutAt(f)
	return r
}

// candidates lists what the log could rest on, the best first; nil: nothing, it
// begins at offset 0.
func (d *Directory) candidates() (list []*FileInfo) {
	if base := d.Base(); d.m != nil && (base == nil || base.Whole()) {
		return []*FileInfo{base}
	}
	fromStart := false
	for _, f := range slices.Backward(d.Files) {
		switch {
		case f.Kind == kindSegment:
			fromStart = fromStart || f.Start == 0 && !f.missing
		case d.m == nil && f.Whole():
			list = append(list, f)
		}
	}
	if fromStart {
		list = append(list, nil)
	}
	return list
}

// planOn plans a log that rests on base.
func (d *Directory) planOn(base *FileInfo) (*Repair, error) {
	r := &Repair{d: d, Base: base}
	if base != nil {
		r.End = base.logFile(false).end
	}
	start := r.End.Offset
	for _, f := range d.Files {
		if f.Kind == kindSegment && f.Whole() && f.Start < start && f.End > start {
			return nil, fmt.Errorf("%s goes from offset %d to %d, across the base", f.Name, f.Start, f.End)
		}
	}
	if err := r.chain(start); err != nil {
		return nil, err
	}
	if err := r.passes(); err != nil {
		return nil, err
	}
	backlog := r.backlog(start)
	for _, f := range d.Files {
		if f.Kind != kindSegment && f != base && !f.missing {
			r.setAside(f, "the repaired log does not rest on it").Harmless = true
		}
	}
	slices.SortStableFunc(r.Losses, func(a, b Loss) int { return cmp.Compare(a.Offset, b.Offset) })
	r.Offset = r.End.Offset
	switch {
	case d.m != nil && len(d.All()) == 0: // a torn tail only
		return r, nil
	case base != nil && base.Kind == kindAdopted && !base.Sealed:
		err := r.adoptAgain(backlog)
		return r, err
	}
	err := r.describe(backlog)
	return r, err
}

// adoptAgain handles an adopted file whose manifest is lost, and with it the time
// from which its relative times to live count. Without segments it is adopted
// anew. With them it was adopted before the first batch behind it; whether that is
// near enough the digests tell.
func (r *Repair) adoptAgain(backlog []*FileInfo) error {
	if len(r.Log) == 0 {
		if r.d.Manifest == "damaged" {
			r.Forget = true
			r.aside = append(r.aside, manifestName)
		}
		return nil
	}
	r.d.AdoptTime = r.Log[0].FirstTime
	r.Base.good.mark.Time = r.d.AdoptTime
	return r.describe(backlog)
}

// chain takes the segments that follow each other from start on, up to the first
// damage. What lies behind it is set aside: it builds on what is not there.
func (r *Repair) chain(start int64) error {
	ended := ""
	var last *FileInfo
	for _, f := range r.d.Files {
		if f.Kind != kindSegment || f.Start < start || f.missing {
			continue
		}
		switch {
		case last != nil && last.Start == f.Start && !(r.d.m != nil && last.Listed != f.Listed):
			return fmt.Errorf("%s and %s begin at the same offset", last.Name, f.Name)
		case ended == "" && f.Start != r.End.Offset:
			ended = fmt.Sprintf("the commands from offset %d to %d before it are missing", r.End.Offset, f.Start)
		}
		last = f
		if ended != "" {
			r.setAside(f, ended)
			continue
		}
		damaged := f.broken() || f.TornBytes > 0
		if damaged {
			ended = fmt.Sprintf("it builds on what is damaged in %s", f.Name)
		}
		if damaged {
			r.cutAt(f)
		}
		r.Log = append(r.Log, f)
		if f.good.pos > 0 {
			t := max(r.End.Time, f.good.mark.Time)
			r.End = f.good.mark
			r.End.Time = t
		}
	}
	return nil
}

// broken says whether something in the file's content is damaged: not only what
// the manifest says of it.
func (f *FileInfo) broken() bool {
	return slices.ContainsFunc(f.Damage, func(x Damage) bool { return x.At >= 0 })
}

// passes says whether the log leads through the base that it was to rest on:
// otherwise it would silently be an older one.
func (r *Repair) passes() error {
	var through *FileInfo
	for _, f := range r.d.Files {
		if f.Kind == kindBase && f.Start > r.base() {
			through = f
		}
	}
	if through == nil {
		return nil
	}
	for _, f := range r.Log {
		if f.End != through.Start || f.good.mark.Offset != f.End {
			continue
		}
		if known := through.f.digestKnown; known && f.good.mark.Digest != through.f.end.Digest {
			return fmt.Errorf("%s leads to the digest %v, the base %s has %v", f.Name, f.good.mark.Digest, through.Name, through.f.end.Digest)
		}
		return nil
	}
	return fmt.Errorf("the segments do not lead from offset %d to %s", r.base(), through.Name)
}

func (r *Repair) base() int64 {
	if r.Base == nil {
		return 0
	}
	return r.Base.Start
}

// backlog returns the whole segments that lead up to the base without a gap; the
// others before it are set aside.
func (r *Repair) backlog(start int64) (kept []*FileInfo) {
	at := start
	for _, f := range slices.Backward(r.d.Files) {
		if f.Kind != kindSegment || f.Start >= start || f.missing {
			continue
		}
		if at >= 0 && f.End == at && !f.broken() && f.TornBytes == 0 {
			kept = append(kept, f)
			at = f.Start
			continue
		}
		at = -1
		r.setAside(f, "the backlog has a gap or damage at or behind it").Harmless = true
	}
	slices.Reverse(kept)
	return kept
}

// setAside plans to rename a file; the loss it returns may be completed at once.
func (r *Repair) setAside(f *FileInfo, why string) *Loss {
	r.aside = append(r.aside, f.Name)
	r.Losses = append(r.Losses, Loss{
		File: f.Name, Bytes: f.Size, Offset: f.Start, Batches: f.Batches, Commands: f.Commands,
		FirstTime: f.FirstTime, LastTime: f.LastTime, Why: why,
	})
	return &r.Losses[len(r.Losses)-1]
}

// cutAt plans to cut a file at its first damage.
func (r *Repair) cutAt(f *FileInfo) {
	g := f.good
	x := Loss{
		File: f.Name, At: g.pos, Bytes: f.Size - g.pos, Offset: max(g.mark.Offset, f.Start),
		Batches: f.Batches - g.batches, Commands: f.Commands - g.commands,
		Why: "a torn tail: the next start would cut it, too", torn: true,
	}
	if f.Kind == kindAdopted {
		x.Offset = g.mark.Offset
	}
	if i := slices.IndexFunc(f.Damage, func(x Damage) bool { return x.At >= 0 }); i >= 0 {
		x.Why, x.torn = f.Damage[i].Reason, false
	}
	if f.lostTime != 0 {
		x.FirstTime, x.LastTime = f.lostTime, f.LastTime
	}
	r.cut = &cutPlan{name: f.Name, at: g.pos, size: f.Size - g.pos}
	r.Losses = append(r.Losses, x)
}

// describe makes the manifest of the repaired log.
func (r *Repair) describe(backlog []*FileInfo) error {
	m := &manifest{Version: manifestVersion, Previous: []Fork{}, Files: []manifestFile{}}
	if r.d.m != nil {
		m.Epoch, m.Previous, m.Obsolete = r.d.m.Epoch, slices.Clone(r.d.m.Previous), r.d.m.Obsolete
	}
	if r.d.m == nil || r.forgets() {
		epoch, err := NewEpochID()
		if err != nil {
			return err
		}
		if m.Epoch != "" {
			m.Previous = append(m.Previous, Fork{Epoch: m.Epoch, Offset: r.Offset})
		}
		for i := range m.Previous {
			m.Previous[i].Offset = min(m.Previous[i].Offset, r.Offset)
		}
		m.Previous = m.Previous[max(len(m.Previous)-maxForks, 0):]
		m.Epoch, r.NewEpoch = epoch, epoch
	}
	end, known := Mark{}, true
	take := func(f *FileInfo, open bool) {
		lf := f.logFile(open)
		lf.startDigest, lf.startKnown = end.Digest, known && lf.start == end.Offset
		m.Files = append(m.Files, lf.describe())
		end, known = lf.end, lf.digestKnown
	}
	for _, f := range backlog {
		take(f, false)
	}
	if r.Base != nil {
		take(r.Base, false)
	}
	for i, f := range r.Log {
		last := i == len(r.Log)-1
		take(f, last && (r.cut != nil || !f.Sealed || f.good.pos == 0))
	}
	r.next, r.Manifest = m, true
	return m.check()
}

// forgets says whether commands of the log, which somebody may have seen, are not
// in it any more, so that the history that goes on is another one. When this is
// the end of a repair that was interrupted it has its name already.
func (r *Repair) forgets() bool {
	end := r.Offset
	if p := r.d.m.Previous; len(p) > 0 && p[len(p)-1].Offset == end {
		return false
	}
	for _, f := range r.d.Files {
		if f.Role != RoleBacklog && f.missing && !(f.Kind != kindSegment && f.Start <= end) {
			return true
		}
	}
	return slices.ContainsFunc(r.Losses, func(x Loss) bool {
		return !x.Harmless && !x.torn
	})
}

// logFile is what a manifest can say of a scanned file.
func (f *FileInfo) logFile(open bool) *logFile {
	lf := &logFile{name: f.Name, kind: f.Kind, start: f.Start}
	if f.Kind == kindAdopted {
		lf.start = f.f.start
	}
	if open {
		return lf
	}
	lf.sealed, lf.synced = true, true
	lf.end, lf.digestKnown = f.good.mark, true
	lf.payload, lf.size, lf.crc = f.Payload, f.Size, f.crc
	if f.Sealed && f.Whole() {
		// A segment's end may have a later time than its last batch.
		lf.end, lf.digestKnown = f.f.end, f.f.digestKnown
	} else if f.Kind == kindAdopted {
		lf.digestKnown = false
	}
	return lf
}

// Carry does what is planned and returns the names under which the bytes taken
// out are kept. Whenever it is interrupted, a new plan on what is there then ends
// in the same log. The caller holds the lock of the directory.
//
// The order is what makes that so: what is set aside goes first, as a start with the
// new manifest might remove it or take it up; then the manifest that ends with the
// damaged file; then the cut.
func (r *Repair) Carry() (kept []string, err error) {
	op := &opening{l: r.d.op.l, cut: r.cut}
	for _, name := range r.aside {
		if err := op.putAside(name); err != nil {
			return nil, fmt.Errorf("repair: set %s aside: %w", name, err)
		}
	}
	if r.next != nil {
		for _, f := range r.next.Files {
			op.unsynced = append(op.unsynced, &logFile{name: f.Name})
		}
		if err := op.syncFound(); err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
		if err := op.keepManifest(r.d.Manifest); err != nil {
			return nil, fmt.Errorf("repair: keep the old manifest: %w", err)
		}
		if err := op.l.writeManifest(r.next); err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
	}
	if r.cut != nil {
		if err := op.cutTail(); err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
	}
	rec := op.l.recovery
	kept = slices.Clone(rec.SetAside)
	if rec.KeptIn != "" {
		kept = append(kept, rec.KeptIn)
	}
	return kept, nil
}

// keepManifest copies a damaged manifest beside itself.
func (op *opening) keepManifest(state string) error {
	if state != "damaged" {
		return nil
	}
	b, err := fsx.ReadFile(op.l.fs, op.l.path(manifestName))
	if err != nil {
		return err
	}
	kept, err := op.l.keptName(manifestName, 0)
	if err != nil {
		return err
	}
	op.l.recovery.SetAside = append(op.l.recovery.SetAside, kept)
	return fsx.WriteFileAtomic(op.l.fs, kept, b)
}
