package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/verify"
)

// verifyText writes for a person.
type verifyText struct {
	out    io.Writer
	bar    *bar
	headed bool
}

// printf writes; the first error is returned by who ends the program.
func (t *verifyText) printf(format string, args ...any) error {
	t.bar.clear()
	_, err := fmt.Fprintf(t.out, format, args...)
	return err
}

func (t *verifyText) begin(name, addr string, s tile38.Server) error {
	following := ""
	if s.Following != "" {
		following = ", follows " + s.Following
	}
	return t.printf("%-8s  %-21s  %s objects in %s collections, %s hooks%s\n", name, addr,
		countText(s.Counts.Objects), countText(s.Counts.Collections), countText(s.Counts.Hooks), following)
}

func (t *verifyText) difference(d verify.Difference) error {
	if !t.headed {
		t.headed = true
		if err := t.printf("\n%-16s %-20s %-14s %s\n", "COLLECTION", "ID", "DIFFERENCE", "LEADER → FOLLOWER"); err != nil {
			return err
		}
	}
	id := nameText(d.ID)
	if d.Hook() {
		id = hookText(d) + " " + id
	}
	line := fmt.Sprintf("%-16s %-20s %-14s %s", nameText(d.Key), id, d.Why, detail(d))
	return t.printf("%s\n", strings.TrimRight(line, " "))
}

func hookText(d verify.Difference) string {
	h := d.WantHook
	if h == nil {
		h = d.HaveHook
	}
	if h.Channel {
		return "channel"
	}
	return "hook"
}

// nameText quotes a name that would not show as it is.
func nameText(s string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == '"' || r == utf8.RuneError }
	if s == "" || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

// detail shows what differs.
func detail(d verify.Difference) string {
	w, h := d.Want, d.Have
	switch {
	case d.Hook() || w == nil && h == nil:
		return ""
	case h == nil:
		return cutText(w.Value)
	case w == nil:
		return "→ " + cutText(h.Value)
	}
	var parts []string
	switch {
	case d.Why&verify.Kind != 0 && !w.Text && strings.Contains(w.Value, `"type":"Circle"`):
		parts = append(parts, "a Circle → a STRING, as AOFSHRINK writes it")
	case d.Why&verify.Kind != 0:
		parts = append(parts, kindText(w)+" → "+kindText(h))
	case d.Why&verify.Value != 0:
		parts = append(parts, cutText(w.Value)+" → "+cutText(h.Value))
	}
	if d.Why&verify.Fields != 0 {
		parts = append(parts, fieldsText(w.Fields, h.Fields))
	}
	if d.Why&verify.Expiry != 0 {
		parts = append(parts, "ends "+endText(w.Expires)+" → "+endText(h.Expires))
	}
	return strings.Join(parts, "; ")
}

func kindText(o *verify.Object) string {
	if o.Text {
		return "STRING"
	}
	return "OBJECT"
}

// cutText is a value on one line that is not too long.
func cutText(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return strconv.Quote(s)
	}
	return s
}

// fieldsText shows the fields that differ: speed 10 → 12, gone → none.
func fieldsText(want, have []verify.Field) string {
	text := func(fields []verify.Field, name string) string {
		for _, f := range fields {
			if f.Name == name {
				return cutText(f.Value)
			}
		}
		return "none"
	}
	var parts []string
	seen := map[string]bool{}
	for _, f := range append(append([]verify.Field(nil), want...), have...) {
		a, b := text(want, f.Name), text(have, f.Name)
		if !seen[f.Name] && a != b {
			parts = append(parts, nameText(f.Name)+" "+a+" → "+b)
		}
		seen[f.Name] = true
	}
	return strings.Join(parts, ", ")
}

func endText(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return "in " + time.Until(time.UnixMilli(ms)).Round(time.Second).String()
}

func (t *verifyText) more(n int64) error { return t.printf("… and %s more\n", countText(n)) }

func (t *verifyText) summary(s verify.Summary, bytes int64) error {
	t.headed = false
	verdict := "EQUAL"
	if !s.Equal() {
		verdict = countText(s.Differences) + " DIFFER: " + strings.Join(kindCounts(s), ", ")
	}
	text := fmt.Sprintf("\n%s\ncompared %s objects in %d collections and %d hooks in %s, %s read",
		verdict, countText(s.Objects), s.Collections, s.Hooks, s.Took.Round(10*time.Millisecond), bytesText(bytes))
	if s.Unsettled > 0 {
		text += fmt.Sprintf("\n%s objects changed too often to be compared", countText(s.Unsettled))
	}
	return t.printf("%s\n", text)
}

// allKinds are the kinds of differences.
func allKinds() []verify.Why {
	return []verify.Why{verify.Missing, verify.Extra, verify.Kind, verify.Value, verify.Fields, verify.Expiry}
}

func kindCounts(s verify.Summary) []string {
	var parts []string
	for _, w := range allKinds() {
		if n := s.Count(w); n > 0 {
			parts = append(parts, countText(n)+" "+w.String())
		}
	}
	return parts
}

func (t *verifyText) repaired(mended, passed int64, through bool) error {
	where := "on the follower"
	if through {
		where = "through the leader's log"
	}
	text := fmt.Sprintf("\nmended by %s commands %s", countText(mended), where)
	if passed > 0 {
		text += fmt.Sprintf(" (%s had changed meanwhile)", countText(passed))
	}
	return t.printf("%s; comparing again\n", text)
}

// verifyJSON writes one object a line.
type verifyJSON struct{ e *json.Encoder }

func newVerifyJSON(out io.Writer) *verifyJSON {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return &verifyJSON{e}
}

func (j *verifyJSON) begin(name, addr string, s tile38.Server) error {
	return j.e.Encode(struct {
		Type      string `json:"type"`
		Addr      string `json:"addr"`
		ID        string `json:"id"`
		Following string `json:"following,omitempty"`
		Objects   int64  `json:"objects"`
		Hooks     int64  `json:"hooks"`
	}{name, addr, s.ID, s.Following, s.Counts.Objects, s.Counts.Hooks})
}

// jsonSide is an object, a hook or a channel on one side.
type jsonSide struct {
	Text    bool              `json:"text,omitempty"`
	Value   string            `json:"value,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"` // as FIELD takes them
	Hook    []string          `json:"hook,omitempty"`   // endpoints
	Command []string          `json:"command,omitempty"`
	Expires int64             `json:"expires,omitempty"` // Unix milliseconds
}

func jsonObject(o *verify.Object) *jsonSide {
	if o == nil {
		return nil
	}
	s := &jsonSide{Text: o.Text, Value: o.Value, Expires: o.Expires}
	for _, f := range o.Fields {
		if s.Fields == nil {
			s.Fields = map[string]string{}
		}
		s.Fields[f.Name] = f.Value
	}
	return s
}

func jsonHook(h *verify.Hook) *jsonSide {
	if h == nil {
		return nil
	}
	return &jsonSide{Hook: h.Endpoints, Command: h.Command, Expires: h.Expires}
}

func (j *verifyJSON) difference(d verify.Difference) error {
	line := struct {
		Type  string    `json:"type"`
		Key   string    `json:"key"`
		ID    string    `json:"id"`
		IDHex string    `json:"id_hex,omitempty"` // of an id that is not UTF-8
		Why   []string  `json:"why"`
		Want  *jsonSide `json:"leader"`
		Have  *jsonSide `json:"follower"`
	}{Type: "difference", Key: d.Key, ID: d.ID, Why: d.Why.Names(), Want: jsonObject(d.Want), Have: jsonObject(d.Have)}
	if d.Hook() {
		line.Type, line.Want, line.Have = hookText(d), jsonHook(d.WantHook), jsonHook(d.HaveHook)
	}
	if !utf8.ValidString(d.ID) {
		line.IDHex = hex.EncodeToString([]byte(d.ID))
	}
	return j.e.Encode(line)
}

func (j *verifyJSON) more(n int64) error {
	return j.e.Encode(struct {
		Type  string `json:"type"`
		Count int64  `json:"count"`
	}{"more", n})
}

func (j *verifyJSON) summary(s verify.Summary, bytes int64) error {
	counts := map[string]int64{}
	for _, w := range allKinds() {
		counts[w.String()] = s.Count(w)
	}
	return j.e.Encode(struct {
		Type        string           `json:"type"`
		Equal       bool             `json:"equal"`
		Collections int              `json:"collections"`
		Objects     int64            `json:"objects"`
		Hooks       int64            `json:"hooks"`
		Differences int64            `json:"differences"`
		Kinds       map[string]int64 `json:"kinds"`
		Again       int64            `json:"looked_at_again"`
		Unsettled   int64            `json:"unsettled"`
		Bytes       int64            `json:"bytes"`
		Seconds     float64          `json:"seconds"`
	}{"summary", s.Equal(), s.Collections, s.Objects, s.Hooks, s.Differences, counts, s.Again, s.Unsettled, bytes, s.Took.Seconds()})
}

func (j *verifyJSON) repaired(mended, passed int64, through bool) error {
	return j.e.Encode(struct {
		Type    string `json:"type"`
		Mended  int64  `json:"mended"`
		Passed  int64  `json:"passed"`
		Through bool   `json:"through_leader"`
	}{"repaired", mended, passed, through})
}
