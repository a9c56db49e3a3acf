package verify

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/tile38"
)

// page is a part of a collection.
type page struct {
	objects []Object
	more    bool // there may be more behind it
	lossy   bool // some texts are not UTF-8, and came with U+FFFD in them
}

// ids is a page that was asked for with IDS: only ids are read.
func (p *page) add(names []string, v gjson.Result) error {
	if v.Type == gjson.String { // of IDS
		p.objects = append(p.objects, Object{ID: p.text(v)})
		return nil
	}
	var o Object
	var has bool
	var values gjson.Result
	v.ForEach(func(k, v gjson.Result) bool {
		switch k.Str {
		case "id":
			o.ID = p.text(v)
		case "object":
			has = true
			p.value(&o, v)
		case "fields":
			values = v
		}
		return true
	})
	if !has {
		return fmt.Errorf("an object without a value: %.64q", v.Raw)
	}
	i := 0
	values.ForEach(func(_, v gjson.Result) bool {
		if i < len(names) {
			p.field(&o, names[i], v)
		}
		i++
		return true
	})
	if i > len(names) {
		return fmt.Errorf("object %q has more fields than there are names", o.ID)
	}
	orderFields(o.Fields)
	p.objects = append(p.objects, o)
	return nil
}

// text reads a JSON string.
func (p *page) text(v gjson.Result) string {
	s := v.String()
	if strings.ContainsRune(s, utf8.RuneError) {
		p.lossy = true
	}
	return s
}

func (p *page) value(o *Object, v gjson.Result) {
	if v.Type == gjson.String {
		o.Text, o.Value = true, p.text(v)
		return
	}
	o.Value = v.Raw
}

// field adds a field, unless it is the 0 that stands for none.
func (p *page) field(o *Object, name string, v gjson.Result) {
	switch {
	case v.Raw == "0":
		return
	case v.Type == gjson.String:
		o.Fields = append(o.Fields, Field{name, spellString(p.text(v))})
	default:
		o.Fields = append(o.Fields, Field{name, v.Raw})
	}
}

// spellString spells a field that answers show as a string.
func spellString(s string) string {
	if v := field.ValueOf(s); v.Kind() == field.Number && (math.IsInf(v.Num(), 0) || math.IsNaN(v.Num())) && v.Data() == s {
		return s
	}
	return quote(s)
}

// dataOf is the text of a field as RESP has it.
func dataOf(spelt string) string { return field.ValueOf(spelt).Data() }

// answerJSON looks whether an answer in JSON says ok.
func answerJSON(text string) (gjson.Result, error) {
	v := gjson.Parse(text)
	if !v.IsObject() || !strings.HasSuffix(text, "}") {
		return v, fmt.Errorf("not an answer in JSON: %.64q", text)
	}
	if !v.Get("ok").Bool() {
		return v, tile38.AnswerError(v.Get("err").String())
	}
	return v, nil
}

// parsePage reads the answer to SCAN in JSON.
func parsePage(text string) (page, error) {
	var p page
	v := gjson.Parse(text)
	if !v.IsObject() || !strings.HasSuffix(text, "}") {
		return p, fmt.Errorf("not an answer in JSON: %.64q", text)
	}
	var ok, listed bool
	var refusal string
	var names []string
	var err error
	count := int64(-1)
	v.ForEach(func(k, v gjson.Result) bool {
		switch k.Str {
		case "ok":
			ok = v.Bool()
		case "err":
			refusal = v.String()
		case "fields":
			v.ForEach(func(_, v gjson.Result) bool {
				names = append(names, p.text(v))
				return true
			})
		case "objects", "ids":
			listed = true
			v.ForEach(func(_, v gjson.Result) bool {
				err = p.add(names, v)
				return err == nil
			})
		case "count":
			count = v.Int()
		case "cursor":
			p.more = v.Int() != 0
		}
		return err == nil
	})
	switch {
	case err != nil:
		return p, err
	case !ok:
		return p, tile38.AnswerError(refusal)
	case !listed || count != int64(len(p.objects)):
		return p, fmt.Errorf("the answer has %d objects and says %d: %.64q", len(p.objects), count, text)
	}
	return p, nil
}

// errMoved says that a page and its bytes are of different moments.
var errMoved = errors.New("the collection changed between two looks at a page")

// exact puts the bytes of the answer to the same SCAN in RESP into a page.
func (p *page) exact(a tile38.Answer) error {
	if len(a.Items) != 2 {
		return errors.New("the answer to SCAN is no cursor and no list")
	}
	rows := a.Items[1].Items
	if len(rows) != len(p.objects) {
		return errMoved
	}
	for i := range rows {
		o := &p.objects[i]
		if rows[i].Kind == '$' { // of IDS
			if utf8Text(rows[i].Text) != o.ID {
				return errMoved
			}
			o.ID = rows[i].Text
			continue
		}
		row := rows[i].Items
		if len(row) < 2 || utf8Text(row[0].Text) != o.ID {
			return errMoved
		}
		o.ID = row[0].Text
		if err := o.exact(row[1:]); err != nil {
			return err
		}
	}
	return nil
}

// exact puts the bytes of a value and, if there are any, of the fields into an
// object.
func (o *Object) exact(row []tile38.Answer) error {
	if o.Text {
		if utf8Text(row[0].Text) != o.Value {
			return errMoved
		}
		o.Value = row[0].Text
	}
	var fields []tile38.Answer
	if len(row) > 1 {
		fields = pairs(row[1].Items)
	}
	if len(fields) != 2*len(o.Fields) {
		return errMoved
	}
	// What is not UTF-8 may stand in another order.
	used := make([]bool, len(o.Fields))
	exact := make([]Field, 0, len(o.Fields))
	for i := 0; i < len(fields); i += 2 {
		name, data := fields[i].Text, fields[i+1].Text
		at := -1
		for j, f := range o.Fields {
			if !used[j] && f.Name == utf8Text(name) && dataOf(f.Value) == utf8Text(data) {
				at = j
				break
			}
		}
		if at < 0 {
			return errMoved
		}
		used[at] = true
		f := Field{name, o.Fields[at].Value}
		if strings.HasPrefix(f.Value, `"`) {
			f.Value = quote(data)
		}
		exact = append(exact, f)
	}
	o.Fields = orderFields(exact)
	return nil
}

// pairs makes of a list of pairs the list of their members: both forms are in use.
func pairs(items []tile38.Answer) []tile38.Answer {
	if len(items) == 0 || items[0].Kind != '*' {
		return items
	}
	var flat []tile38.Answer
	for _, it := range items {
		flat = append(flat, it.Items...)
	}
	return flat
}

// utf8Text is a text as JSON shows it: U+FFFD for each byte that is not UTF-8.
func utf8Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// scanArgs are the words of a SCAN.
func scanArgs(key, prefix string, cursor int64, limit int, onlyIDs bool) []string {
	args := []string{"scan", key, "cursor", strconv.FormatInt(cursor, 10), "limit", strconv.Itoa(limit)}
	if prefix != "" {
		args = append(args, "match", prefix+"*")
	}
	if onlyIDs {
		args = append(args, "ids")
	}
	return args
}
