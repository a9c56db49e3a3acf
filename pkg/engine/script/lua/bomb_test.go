package lua

import (
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bombs would take all memory, or never end. Each must end with an ordinary
// error.
var bombs = map[string]string{
	"loop":            "while true do end",
	"repeat":          "repeat until false",
	"goto":            "::a:: goto a",
	"for":             "for i = 1, 1e300 do end",
	"generic for":     "for x in function() return 1 end do end",
	"tail calls":      "local function f() return f() end return f()",
	"calls":           "local function f(n) if n > 0 then f(n - 1) f(n - 1) end end f(200)",
	"recursion":       "local function f() return 1 + f() end return f()",
	"method":          "string.__index = function(s, k) return s[k] end return ('x').y",
	"doubling":        "local s = 'x' while true do s = s .. s end",
	"rep":             "return string.rep('x', 1e10)",
	"rep of rep":      "return string.rep(string.rep('x', 1e6), 1e6)",
	"format width":    "return string.format('%' .. string.rep('9', 6) .. 'd', 5):rep(1000)",
	"format many":     "return string.format(string.rep('%999999d', 100)" + strings.Repeat(", 5", 100) + ")",
	"format star":     "return string.format('%*d', 5, 5)",
	"gsub":            "return string.gsub(string.rep('x', 1e6), 'x', string.rep('y', 1e6))",
	"gsub capture":    "return string.gsub(string.rep('x', 1e6), '(.*)', string.rep('%1', 1000))",
	"gsub function":   "return string.gsub('x', 'x', function(c) while true do end end)",
	"concat":          "local t = {} for i = 1, 1000 do t[i] = string.rep('x', 1e5) end return table.concat(t)",
	"concat same":     "local s, t = string.rep('x', 1e6), {} for i = 1, 1000 do t[i] = s end return table.concat(t)",
	"table":           "local t = {} while true do t[#t + 1] = 1 end",
	"tables":          "local t = {} while true do t[#t + 1] = {} end",
	"nested":          "local t = {} while true do t = {t} end",
	"keys":            "local t, i = {}, 0 while true do i = i + 1 t['k' .. i] = i end",
	"odd keys":        "local t, i = {}, 0 while true do i = i + 0.5 t[i + 0.25] = true end",
	"library keys":    "local i = 0 while true do i = i + 1 string['k' .. i] = i end",
	"closures":        "local t = {} while true do local x = #t t[x + 1] = function() return x end end",
	"closure chain":   "local f = function() end while true do local g = f f = function() return g end end",
	"varargs":         "local function f(...) return f(1, ...) end return f()",
	"arguments":       "local function f(...) local t = {...} t[#t + 1] = t return 1 + f(t, ...) end return f(1)",
	"byte":            "local t = {} while true do t[#t + 1] = {string.byte(string.rep('x', 5000), 1, -1)} end",
	"backtracking":    "return string.find(string.rep('a', 5000), string.rep('a*', 30) .. 'b')",
	"greedy":          "return string.find(string.rep('a', 7e6), '.*.*.*b')",
	"lazy":            "return string.find(string.rep('a', 7e6), '.-.-b')",
	"brace":           "return string.find(string.rep('(', 5e6), '%b()')",
	"back reference":  "return string.find(string.rep('a', 1e5), '(a*)%1b')",
	"captures":        "return string.find('a', string.rep('(', 1e6))",
	"long pattern":    "return string.find('a', string.rep('a?', 3e6))",
	"sort":            "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.sort(t, function() return true end) end",
	"sort grows":      "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function(a, b) t[#t + 1] = string.rep('x', 1e6) return a < b end)",
	"insert front":    "local t = {} while true do table.insert(t, 1, 1) end",
	"remove front":    "local t = {} for i = 1, 1e5 do t[i] = 1 end while true do table.remove(t, 1) table.insert(t, 1) end",
	"substrings":      "local t = {} while true do t[#t + 1] = string.rep('x', 1e6):sub(1, 1) end",
	"upper":           "local t = {} while true do t[#t + 1] = string.upper(string.rep('x', 1e6)) end",
	"gmatch":          "local t = {} while true do t[#t + 1] = string.gmatch(string.rep('x', 1e6), '.') end",
	"numbers as keys": "local t, i = {}, 1 while true do t[i] = 1 i = i * 2 + 1e7 end",
	"spread keys":     "for j = 1, 1e9 do local t = {} t[65000] = 1 end",
	"holes":           "local t, i = {}, 1 while true do t[i] = {} t[i][60000] = 1 i = i + 1 end",
	"temporaries":     "local function f(n, s) if n == 0 then return '' end return string.rep('x', 1e6) .. f(n - 1) end return f(200)",
	"operands":        "local function f(n) if n == 0 then return 1 end return string.rep('1', 1e6) + f(n - 1) end return f(200)",
	"named errors":    "local t = {} t[1] = nil return nil .. string.rep('x', 7e6)",
	"index error":     "local x return x[string.rep('x', 7e6)]",
	"global error":    "_G[string.rep('x', 7e6)] = 1",
	"results":         "local s = string.rep('x', 7e6) while true do s = s:reverse() end",
	"equal":           "local s = string.rep('x', 3e6) local t = s .. '' while s == t do end",
	"less":            "local s = string.rep('x', 3e6) local t = s .. '' while s <= t do end",
	"long key":        "local s, t = string.rep('x', 3e6), {} t[s] = 1 while t[s] do end",
	"long new key":    "local s, t = string.rep('x', 3e6), {} while true do t[s] = nil end",
	"long number":     "local s = string.rep('0', 3e6) while true do local x = s + 1 end",
	"tonumber":        "local s = string.rep('0', 3e6) while true do tonumber(s) end",
	"random":          "while true do math.random() end",
	"list of nothing": "local t = {} t[60000] = 1 t[60000] = nil while true do local n = #t end",
}

func TestBombs(t *testing.T) {
	const most = 16 << 20
	env := NewEnv()
	for name, source := range bombs {
		t.Run(name, func(t *testing.T) {
			p, err := Compile("s", source)
			if err != nil {
				t.Fatal(err)
			}
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m := New(env, Limits{MaxMemory: most, MaxTime: 300 * time.Millisecond, Now: time.Now})
			started := time.Now()
			v, err := m.Run(p, nil)
			took := time.Since(started)
			runtime.ReadMemStats(&after)
			var e *Error
			switch {
			case err == nil && v.Kind() != KindNil:
				t.Errorf("ended well: %.100s", v.String())
			case err != nil && !errors.Is(err, ErrMemory) && !errors.Is(err, ErrTime) && !errors.As(err, &e):
				t.Errorf("ended with %v", err)
			case err != nil && len(err.Error()) > 4096:
				t.Errorf("the error is %d bytes long", len(err.Error()))
			case e != nil && strings.Contains(e.Text, "runtime error"):
				t.Errorf("ended with a fault: %s", e.Text)
			}
			if took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8*most {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
			t.Logf("%v, %d MiB, %v", took.Round(time.Millisecond), (int64(after.HeapSys)-int64(before.HeapSys))>>20, err)
			runtime.KeepAlive(m)
		})
	}
}

// Programs that are nested too deep, or too large, are refused.
func TestDeepPrograms(t *testing.T) {
	n := 30000
	for name, source := range map[string]string{
		"parentheses": "return " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n),
		"tables":      "return " + strings.Repeat("{", n) + strings.Repeat("}", n),
		"blocks":      strings.Repeat("do ", n) + strings.Repeat("end ", n),
		"functions":   strings.Repeat("return function() ", n) + strings.Repeat("end ", n),
		"not":         "return " + strings.Repeat("not ", n) + "1",
		"minus":       "return " + strings.Repeat("- ", n) + "1",
		"plus":        "return 1" + strings.Repeat("+1", n),
		"power":       "return 1" + strings.Repeat("^1", n),
		"calls":       "return f" + strings.Repeat("()", n),
		"indexes":     "return f" + strings.Repeat(".x", n),
		"concat":      "return 'a'" + strings.Repeat("..'a'", n),
		"or":          "return 'a'" + strings.Repeat(" or 'a'", n),
		"elseif":      "if x then" + strings.Repeat(" elseif x then", n) + " end",
	} {
		started := time.Now()
		_, err := Compile("s", source)
		if name == "parentheses" { // they leave no trace in the tree
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "nested too deep") {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
	terms := "return ID == 'x'" + strings.Repeat(" or ID == 'x'", 3000)
	if _, err := Compile("s", terms); err != nil {
		t.Errorf("a long list of alternatives: %v", err)
	}
}

// The time that compiling takes does not rise with the square of the length.
func TestLargePrograms(t *testing.T) {
	fill := func(part func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len() < 200_000; i++ {
			b.WriteString(part(i))
		}
		return b.String()
	}
	for name, source := range map[string]string{
		"constants": "return {" + fill(func(i int) string { return strconv.Itoa(i) + "," }) + "}",
		"globals":   "local t = {} " + fill(func(i int) string { return "t.a" + strconv.Itoa(i) + "=nil " }),
		"functions": fill(func(int) string { return "tostring(function()end)" }),
		"gotos":     fill(func(int) string { return "goto a " }) + "::a::",
		"breaks":    "local function f() " + fill(func(int) string { return "if nil then break end " }) + " return 5 end f()",
		"nowhere":   "local function f() " + fill(func(int) string { return "if nil then goto x end " }) + " goto y end f() return 1",
	} {
		started := time.Now()
		if _, err := run(t, source); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(started); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}
