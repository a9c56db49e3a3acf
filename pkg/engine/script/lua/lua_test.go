package lua

import (
	"errors"
	"strings"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// run runs a script on a machine of its own.
func run(t testing.TB, source string) (Value, error) {
	t.Helper()
	p, err := Compile("s", source)
	if err != nil {
		return Value{}, err
	}
	return New(NewEnv(), Limits{MaxMemory: 16 << 20, MaxTime: 10 * time.Second, Seed: 1}).Run(p, nil)
}

// oracle runs a script on gopher-lua with the same libraries.
func oracle(source string) (string, error) {
	l := glua.NewState(glua.Options{SkipOpenLibs: true})
	defer l.Close()
	for _, lib := range []glua.LGFunction{glua.OpenBase, glua.OpenTable, glua.OpenString, glua.OpenMath} {
		l.Push(l.NewFunction(lib))
		l.Call(0, 0)
	}
	fn, err := l.Load(strings.NewReader(source), "s")
	if err != nil {
		return "", err
	}
	l.Push(fn)
	if err := l.PCall(0, 1, nil); err != nil {
		return "", err
	}
	return show(l.Get(-1)), nil
}

func show(v glua.LValue) string {
	t, ok := v.(*glua.LTable)
	if !ok {
		if _, isFunc := v.(*glua.LFunction); isFunc {
			return "function"
		}
		return v.Type().String() + " " + v.String()
	}
	var b strings.Builder
	b.WriteString("{")
	for i := 1; i <= t.Len(); i++ {
		b.WriteString(show(t.RawGetInt(i)) + ",")
	}
	return b.String() + "}"
}

func showOwn(v Value) string {
	t := v.Table()
	if t == nil {
		if v.Kind() == KindFunction {
			return "function"
		}
		return v.Kind().String() + " " + v.String()
	}
	var b strings.Builder
	b.WriteString("{")
	for i := 1; i <= t.Len(); i++ {
		b.WriteString(showOwn(t.At(i)) + ",")
	}
	return b.String() + "}"
}

// What gopher-lua says is what Tile38 says: results, errors, and where they
// are.
func TestLikeGopherLua(t *testing.T) {
	for _, source := range scripts {
		v, err := run(t, source)
		want, wantErr := oracle(source)
		got, text, wantText := showOwn(v), "", ""
		if err != nil {
			got, text = "", err.Error()
		}
		if wantErr != nil {
			wantText = wantErr.Error()
		}
		if got != want && !(got == "" && want == "") || text != wantText {
			t.Errorf("%s\n got %s %s\nwant %s %s", source, got, text, want, wantText)
		}
	}
}

var errLate = errors.New("late")

func TestPause(t *testing.T) {
	p, err := Compile("s", "while true do end")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	_, err = New(NewEnv(), Limits{MaxMemory: 1 << 20}).Run(p, func() error {
		if asked++; asked == 3 {
			return errLate
		}
		return nil
	})
	if !errors.Is(err, errLate) {
		t.Errorf("got %v", err)
	}
}
