package aoftool

import (
	"context"
	"errors"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/store"
)

// Report is what was found in a directory.
type Report struct {
	*aof.Directory
	// Found is every damage, of the directory, its files and what they lead to.
	Found []aof.Damage `json:"found"`
	// Torn is the file with a torn tail, which is no damage: a crash leaves it and
	// the next start cuts it off.
	Torn string `json:"torn,omitempty"`
	// Data is what the log leads to; nil: it was not replayed.
	Data *Data `json:"data,omitempty"`
	// BacklogChecked says whether the digests before the base were compared, too:
	// that takes a backlog that reaches back to offset 0.
	BacklogChecked bool `json:"backlog_checked,omitempty"`
}

// Data is the state that a log leads to.
type Data struct {
	Offset      int64  `json:"offset"`
	Time        int64  `json:"time"` // of the last batch, Unix milliseconds
	Digest      string `json:"digest"`
	Whole       bool   `json:"whole"` // everything was replayed; false: only what comes before the damage
	Commands    int64  `json:"commands"`
	Collections int    `json:"collections"`
	Objects     int    `json:"objects"`
	Strings     int    `json:"strings"`
	Points      int    `json:"points"`
	Hooks       int    `json:"hooks"`
	Channels    int    `json:"channels"`
	Refused     int    `json:"refused,omitempty"` // commands that the engine passed over
	FirstRefuse string `json:"first_refused,omitempty"`
}

// Clean says whether nothing is wrong.
func (r *Report) Clean() bool { return len(r.Found) == 0 }

func (w *work) report() *Report {
	r := &Report{Directory: w.d, Found: append([]aof.Damage{}, w.d.All()...)}
	for _, f := range w.d.Files {
		if f.TornBytes > 0 {
			r.Torn = f.Name
		}
	}
	return r
}

// Verify reads every file and replays the log: every checksum, offset, digest
// and fact of the manifest is compared.
func Verify(ctx context.Context, o Options) (_ *Report, err error) {
	w, err := look(o, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.lock.Close()) }()
	return w.verify(ctx)
}

func (w *work) verify(ctx context.Context) (*Report, error) {
	backlog := w.d.OfRole(aof.RoleBacklog)
	path := append(w.d.OfRole(aof.RoleBase), w.d.OfRole(aof.RoleLog)...)
	var extra []aof.Damage
	checked := len(backlog) > 0 && backlog[0].Start == 0
	if checked {
		data, damage, err := w.replay(ctx, backlog)
		if err != nil {
			return nil, err
		}
		extra = damage
		base := w.d.Base()
		if m, known, _ := base.Mark(); data.Whole && known && data.Offset == m.Offset && data.Digest != m.Digest.String() {
			extra = append(extra, aof.Damage{File: base.Name, At: -1, Reason: fmt.Sprintf(
				"its digest is %v, replaying the backlog leads to %s", m.Digest, data.Digest)})
		}
	} else {
		path = append(path, w.d.OfRole(aof.RoleFound)...)
		for _, f := range backlog {
			if err := w.scan(ctx, f, nil); err != nil {
				return nil, err
			}
		}
	}
	data, damage, err := w.replay(ctx, path)
	if err != nil {
		return nil, err
	}
	w.d.Check()
	r := w.report()
	r.Found = append(append(r.Found, extra...), damage...)
	r.BacklogChecked = checked
	if len(w.d.OfRole(aof.RoleFound)) == 0 {
		r.Data = data
	}
	return r, nil
}

// replay scans files and carries out what they hold up to the first damage. It
// returns what does not lead where it says.
func (w *work) replay(ctx context.Context, files []*aof.FileInfo) (*Data, []aof.Damage, error) {
	var damage []aof.Damage
	data := &Data{Whole: true}
	end := int64(-1) // where the files so far lead to; < 0: the base says
	if len(files) > 0 && files[0].Kind == aof.KindSegment {
		end = 0
	}
	src := func(ctx context.Context, visit func(aof.Batch) error) error {
		for _, f := range files {
			if f.Role == aof.RoleFound || end >= 0 && f.Start != end {
				data.Whole = false
			}
			err := w.scan(ctx, f, func(at int64, b aof.Batch) error {
				if !data.Whole {
					return nil
				}
				err := visit(b)
				if err != nil && ctx.Err() == nil {
					damage = append(damage, aof.Damage{File: f.Name, At: at, Reason: err.Error()})
					data.Whole, err = false, nil
				}
				data.Offset, data.Time = b.Offset, max(data.Time, b.Time)
				return err
			})
			if err != nil {
				return err
			}
			data.Whole = data.Whole && f.Whole()
			end = f.End
		}
		return nil
	}
	off, err := store.Rebuild(ctx, w.o.Engine, src)
	if err != nil {
		return nil, nil, err
	}
	data.fill(off)
	if m := off.Difference; m != nil {
		x, err := w.locate(ctx, files, *m)
		if err != nil {
			return nil, nil, err
		}
		x.Reason = fmt.Sprintf("the batch that ends at offset %d leads to the digest %v, not to %v", m.Offset, off.Got, m.Digest)
		damage = append(damage, x)
	}
	return data, damage, nil
}

func (d *Data) fill(off *store.Offline) {
	st := off.Stats()
	d.Digest = off.Digest().String()
	d.Commands, d.Collections, d.Objects = st.Commands, st.Collections, st.Objects
	d.Strings, d.Points, d.Hooks, d.Channels = st.Texts, st.Points, st.Hooks, st.Channels
	d.Refused, d.FirstRefuse = off.Refused, off.First
}

// errFound ends a scan.
var errFound = errors.New("found")

// locate finds the batch with a mark.
func (w *work) locate(ctx context.Context, files []*aof.FileInfo, m aof.Mark) (aof.Damage, error) {
	x := aof.Damage{At: -1}
	for _, f := range files {
		scratch := *f // f keeps what is known of it
		err := w.d.Scan(ctx, &scratch, func(at int64, b aof.Batch) error {
			if b.Mark == m && !b.Unchecked {
				x.File, x.At = f.Name, at
				return errFound
			}
			return nil
		}, nil)
		if errors.Is(err, errFound) {
			return x, nil
		}
		if err != nil {
			return x, err
		}
	}
	return x, nil
}
