package inject

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

var update = flag.Bool("update", false, "write the golden files")

func options() Options {
	return Options{Settings: Settings{Image: "registry.example.com/sidecar:1", Native: true}}
}

// manifests are the inputs, by name.
func manifests(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d manifests, %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".yaml")] = text
	}
	return all
}

// meaning is what a stream's documents say, whatever the order of their fields.
func meaning(t testing.TB, stream []byte) (docs []any) {
	t.Helper()
	for _, doc := range split(stream) {
		var v any
		if err := yaml.Unmarshal(doc, &v); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		docs = append(docs, v)
	}
	return docs
}

// TestGolden: what comes of manifests as people have them, text and report.
func TestGolden(t *testing.T) {
	for name, in := range manifests(t) {
		t.Run(name, func(t *testing.T) {
			out, reports, err := Inject(in, options())
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for _, r := range reports {
				fmt.Fprintf(&said, "%s %s: %s: %s\n", r.Kind, r.Name, r.Outcome, r.Why)
				for _, n := range r.Notes {
					fmt.Fprintf(&said, "  %s\n", n)
				}
			}
			for file, got := range map[string][]byte{name + ".out": out, name + ".report": []byte(said.String())} {
				file = filepath.Join("testdata", "golden", file)
				if *update {
					if err := os.WriteFile(file, got, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %v: it is not\n%s", file, err, got)
				}
			}
		})
	}
}

// TestProperties, over all manifests, as YAML and as JSON: twice is once, byte by
// byte; injected and restored is what it was; nothing but pods' templates changes.
func TestProperties(t *testing.T) {
	beside, marked, plain := options(), options(), options()
	beside.KeepPorts, marked.Mark, plain.Native = true, true, false
	for how, o := range map[string]Options{"taken": options(), "beside": beside, "marked": marked, "plain": plain} {
		for name, in := range manifests(t) {
			inputs := map[string][]byte{"YAML": in}
			for i, doc := range meaning(t, in) {
				if _, ok := doc.(map[string]any); ok {
					text, err := json.Marshal(doc)
					if err != nil {
						t.Fatal(err)
					}
					inputs[fmt.Sprint("JSON of document ", i)] = text
				}
			}
			for kind, in := range inputs {
				t.Run(how+" "+name+" "+kind, func(t *testing.T) { property(t, in, o) })
			}
		}
	}
}

func property(t *testing.T, in []byte, o Options) {
	once, reports, err := Inject(in, o)
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	for _, r := range reports {
		changed = changed || r.Outcome == Injected || r.Outcome == Marked
	}
	if changed == bytes.Equal(in, once) {
		t.Errorf("changed: %v, and the text is another: %v", changed, !changed)
	}
	if isJSON(in) && !isJSON(once) {
		t.Errorf("no JSON any more:\n%s", once)
	}
	twice, again, err := Inject(once, o)
	if err != nil || !bytes.Equal(once, twice) {
		t.Errorf("injected twice, %v:\n%s", err, twice)
	}
	for _, r := range again {
		if r.Outcome == Injected || r.Outcome == Marked {
			t.Errorf("injected twice: %+v", r)
		}
	}
	back, _, err := Restore(once, 0)
	if err != nil {
		t.Fatal(err)
	}
	if was, is := meaning(t, in), meaning(t, back); !reflect.DeepEqual(was, is) {
		t.Errorf("restored it is\n%s", back)
	}
	if still, reports, err := Restore(back, 0); err != nil || !bytes.Equal(still, back) {
		t.Errorf("restored twice: %v, %+v", err, reports)
	}
}

// TestKept: comments, unknown fields and the order of what is not touched stay.
func TestKept(t *testing.T) {
	out, _, err := Inject(manifests(t)["stock"], options())
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, want := range []string{
		"# The official image", "- port: 9851      # clients", "---\n", "replicas: 1", "app: tile38 # found by the Service", "# the server", "someNewField: kept",
	} {
		i := bytes.Index(out[at:], []byte(want))
		if i < 0 {
			t.Errorf("%q is not where it was:\n%s", want, out)
			continue
		}
		at += i
	}
}

// TestPatch: the webhook's patch makes of a pod what Inject makes of it.
func TestPatch(t *testing.T) {
	patched := 0
	for name, in := range manifests(t) {
		for i, doc := range meaning(t, in) {
			m, ok := doc.(map[string]any)
			if !ok || m["kind"] == "List" {
				continue
			}
			pod := m
			if spec, ok := m["spec"].(map[string]any); ok && m["kind"] != "Pod" {
				if pod, ok = spec["template"].(map[string]any); !ok {
					continue
				}
				pod["apiVersion"], pod["kind"] = "v1", "Pod"
			}
			text, err := json.Marshal(pod)
			if err != nil {
				t.Fatal(err)
			}
			patch, r, err := Patch(text, options())
			if err != nil {
				t.Fatalf("%s %d: %v", name, i, err)
			}
			want, reports, err := Inject(text, options())
			if err != nil || len(reports) != 1 || reports[0].Outcome != r.Outcome || reports[0].Why != r.Why {
				t.Errorf("%s %d: %+v, Inject says %+v, %v", name, i, r, reports, err)
			}
			if (patch == nil) != (r.Outcome != Injected) {
				t.Errorf("%s %d: %+v with patch %s", name, i, r, patch)
			}
			if patch == nil {
				continue
			}
			patched++
			p, err := jsonpatch.DecodePatch(patch)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Apply(text)
			if err != nil || !jsonpatch.Equal(got, want) {
				t.Errorf("%s %d: %v: the patch %s makes\n%s\nand not\n%s", name, i, err, patch, got, want)
			}
		}
	}
	if patched < 6 {
		t.Errorf("only %d pods were patched", patched)
	}
	for _, bad := range []string{"", "[]", "null", `{"a":`, `{"apiVersion":"example.com/v1","spec":{}}`} {
		if patch, r, err := Patch([]byte(bad), options()); err == nil && patch != nil {
			t.Errorf("%q: %s, %+v", bad, patch, r)
		}
	}
}

// TestOptIn: the webhook's opt-in, and who says no.
func TestOptIn(t *testing.T) {
	for _, tt := range []struct {
		meta string
		want Outcome
	}{
		{`{}`, Skipped},
		{`{annotations: {evenkeel.io/inject: enabled}}`, Injected},
		{`{labels: {evenkeel.io/inject: enabled}}`, Injected},
		{`{labels: {evenkeel.io/inject: enabled}, annotations: {evenkeel.io/inject: disabled}}`, Skipped},
		{`{labels: {evenkeel.io/inject: disabled}, annotations: {evenkeel.io/inject: enabled}}`, Skipped},
		{`{annotations: {evenkeel.io/inject: "on"}}`, Skipped},
	} {
		o := options()
		o.OptIn = true
		in := "{apiVersion: v1, kind: Pod, metadata: " + tt.meta + ", spec: {containers: [{name: t, image: tile38/tile38}]}}"
		if _, r, err := Inject([]byte(in), o); err != nil || len(r) != 1 || r[0].Outcome != tt.want {
			t.Errorf("%s: %+v, %v; want %s", tt.meta, r, err, tt.want)
		}
	}
}

// TestOptions: every fault is told, by its name.
func TestOptions(t *testing.T) {
	user := int64(-1)
	bad := Options{
		Settings: Settings{
			Container: "A", Follow: "x", LeadOnHost: "B", Password: "a/b/c", LeaderPassword: "/", EngineDir: "rel", EnginePort: -1, ProbePort: 70000,
			RunAsUser: &user, PullPolicy: "Sometimes", CPURequest: "much", MemoryRequest: "-1", MemoryLimit: "1GB", Args: []string{"x"},
		},
		MaxBytes: -1,
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("no fault")
	}
	for _, name := range []string{
		"container", "follow", "lead-on-host", "password-secret", "leader-password-secret", "engine-dir", "engine-port", "probe-port", "run-as-user",
		"image-pull-policy", "cpu-request", "memory-request", "memory-limit", "args", "image ", "max-bytes",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+name) {
			t.Errorf("nothing about %s in\n%v", name, err)
		}
	}
	if _, _, err := Inject(nil, bad); err == nil {
		t.Error("Inject takes bad options")
	}
	o := options()
	o.MaxBytes = 3
	if _, _, err := Inject([]byte("a: 1"), o); err == nil || err.Error() != "more than 3 bytes" {
		t.Errorf("too large: %v", err)
	}
	for quantity, want := range map[string]string{"1Gi": "966367641", "100": "90", "1.5k": "1350", "1m": "", "x": ""} {
		if got := goMemoryLimit(quantity); got != want {
			t.Errorf("90 %% of %s: %q, want %q", quantity, got, want)
		}
	}
}

// TestErrors: what is no YAML is named by its line, and nothing is written.
func TestErrors(t *testing.T) {
	out, _, err := Inject([]byte("a: 1\n---\nb: 2\n---\nc: {\n"), options())
	if out != nil || err == nil || !strings.Contains(err.Error(), "the document at line 4") {
		t.Errorf("%q, %v", out, err)
	}
	// Nine levels of ten stand for a thousand million.
	bomb := "a0: &a0 [x]\n"
	for i := 1; i < 10; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	if _, _, err := Inject([]byte(bomb), options()); err == nil || !strings.Contains(err.Error(), "aliases") {
		t.Errorf("%v", err)
	}
	for _, record := range []string{"x", `{"version":2}`, `{"version":1,"where":"volumes"}`, `{"version":1,"where":"containers","container":"gone"}`, `{"version":1,"where":"containers","container":"t","was":{"args":1,"command":[}}`} {
		in := "{apiVersion: v1, kind: Pod, metadata: {annotations: {evenkeel.io/injected: '" + record + "'}}, spec: {containers: [{name: t}]}}"
		if out, r, err := Restore([]byte(in), 0); err != nil || string(out) != in || len(r) != 1 || r[0].Outcome != Refused {
			t.Errorf("%s: %s, %+v, %v", record, out, r, err)
		}
	}
}

// TestCommands: how containers start their Tile38.
func TestCommands(t *testing.T) {
	for _, tt := range []struct{ container, want string }{ // the new command and args, or a part of the refusal
		{`{image: tile38/tile38}`, `[tile38-server] [-h 127.0.0.1 -p 7 -d /data]`},
		{`{image: x, args: [-d, /d]}`, `[] [-d /d -h 127.0.0.1 -p 7]`},
		{`{image: x, args: [tile38-server, -p=1, -vv, -h, h, -d=/d]}`, `[] [tile38-server -vv -d=/d -h 127.0.0.1 -p 7]`},
		{`{image: x, command: [tile38-server, -p, "1"], args: []}`, `[tile38-server -h 127.0.0.1 -p 7] []`},
		{`{image: x, command: [tile38-server, -d], args: [/d]}`, `[tile38-server -d] [/d -h 127.0.0.1 -p 7]`},
		{`{image: x, command: [/sbin/tini, --, /bin/tile38-server], args: [--new, 3, -p, 9]}`, `[/sbin/tini -- /bin/tile38-server] [--new 3 -h 127.0.0.1 -p 7]`},
		{`{image: x, command: [sh, -c], args: ["exec tile38-server -d '/a b' -p 3"]}`, `[sh -c] [exec tile38-server -d '/a b' -h 127.0.0.1 -p 7]`},
		{`{image: x, command: [bash, -ec, "tile38-server"]}`, `[bash -ec exec tile38-server -h 127.0.0.1 -p 7] []`},
		{`{image: x}`, "cannot be seen"},
		{`{image: x, command: [run.sh]}`, "is not known"},
		{`{image: x, command: [sh, -c, "tile38-server; true"]}`, "more than a call"},
		{`{image: x, command: [sh, -c, "tile38-server -d $D"]}`, "more than a call"},
		{`{image: x, command: [sh, -c, "tile38-server '"]}`, "more than a call"},
		{`{image: x, command: [sh, -c, "redis-server"]}`, "more than a call"},
		{`{image: x, command: [sh, run.sh]}`, "is none"},
		{`{image: x, command: [tile38-server, word]}`, "is none"},
		{`{image: x, command: [tile38-server, -p]}`, "has no value"},
		{`{image: x, command: [tile38-server, -p, x]}`, "no port"},
		{`{image: x, command: [tile38-server, -p, "70000"]}`, "no port"},
		{`{image: x, command: [tile38-server, -h, "a b"]}`, "no host"},
		{`{image: x, command: [tile38-server, -h, $(POD_IP)], env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}`, "POD_IP is not in the manifest"},
		{`{image: x, command: [tile38-server, -p, $(P)], env: [{name: P, value: "4"}]}`, `[tile38-server -h 127.0.0.1 -p 7] []`},
		{`{image: x, command: tile38-server}`, "no list"},
	} {
		doc, err := parse([]byte(tt.container))
		if err != nil {
			t.Fatal(err)
		}
		c := doc.Content[0]
		s, err := understand(c)
		var got string
		if err == nil {
			s.move(c, "127.0.0.1", 7)
			command, _ := texts(get(c, "command"))
			args, _ := texts(get(c, "args"))
			got = fmt.Sprint(command, " ", args)
		} else {
			got = err.Error()
		}
		if err == nil && got != tt.want || err != nil && (tt.want[0] == '[' || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: %s, want %s", tt.container, got, tt.want)
		}
	}
}

// FuzzInject: whatever it is given it ends in an error or in text that is stable, and
// gives back what it was given.
func FuzzInject(f *testing.F) {
	for _, in := range manifests(f) {
		f.Add(in)
	}
	f.Add([]byte("%YAML 1.1\n---\n...\n---\n? a\n: b"))
	f.Fuzz(func(t *testing.T, in []byte) {
		o := options()
		o.MaxBytes = 1 << 16
		if !bytes.Equal(bytes.Join(split(in), nil), in) {
			t.Fatalf("split: %q", split(in))
		}
		once, _, err := Inject(in, o)
		if err != nil {
			return
		}
		o.MaxBytes = 0
		if twice, _, err := Inject(once, o); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("twice: %v\n%q\n%q", err, once, twice)
		}
		if _, _, err := Restore(once, 0); err != nil {
			t.Fatalf("restore: %v\n%q", err, once)
		}
		_, _, _ = Patch(in, o)
	})
}
