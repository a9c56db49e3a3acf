package script_test

import (
	"testing"
	"time"

	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script"
)

func BenchmarkEval(b *testing.B) {
	s := script.New(script.Limits{Now: time.Now})
	call := func([]string) ([]byte, error) { return []byte("+OK\r\n"), nil }
	for name, text := range map[string]string{
		"nothing": "return 1",
		"call":    "return tile38.call('SET', KEYS[1], ARGV[1], 'POINT', 1, 2)",
		"loop":    "local s = 0 for i = 1, 1000000 do s = s + i % 7 end return s",
		"fib":     "local function f(n) if n < 2 then return n end return f(n-1) + f(n-2) end return f(22)",
		"strings": "local t = {} for i = 1, 10000 do t[i] = 'k' .. i end return #table.concat(t, ',')",
		"library": "string.x = 1 return string.x",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var out reply.Reply
			req := &command.Request{Args: []string{"EVAL", text, "1", "k", "v"}, Name: "eval"}
			for b.Loop() {
				out.Buf = out.Buf[:0]
				if err := s.Eval(req, call, &out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWhere(b *testing.B) {
	s := script.New(script.Limits{Now: time.Now})
	it := collection.NewPoint("p", geometry.Point{X: 1}, field.List{}.Set("speed", field.ValueOf("50")), 0)
	keeps, err := s.Where("return FIELDS.speed > tonumber(ARGV[1])", false, []string{"40"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := keeps(it, nil); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
