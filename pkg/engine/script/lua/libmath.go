package lua

import "math"

func mathFuncs() map[string]Native {
	funcs := map[string]Native{
		"max": func(c *Call) { extreme(c, func(a, b float64) bool { return a > b }) },
		"min": func(c *Call) { extreme(c, func(a, b float64) bool { return a < b }) },
		"frexp": func(c *Call) {
			f, e := math.Frexp(c.checkNumber(1))
			c.Return(Number(f), Number(float64(e)))
		},
		"ldexp": func(c *Call) { c.Return(Number(math.Ldexp(c.checkNumber(1), c.checkInt(2)))) },
		"modf": func(c *Call) {
			whole, part := math.Modf(c.checkNumber(1))
			c.Return(Number(whole), Number(part))
		},
		"random":     random,
		"randomseed": func(c *Call) { c.m.seed = uint64(c.checkInt(1)); c.Return() },
	}
	for name, f := range map[string]func(float64) float64{
		"abs": math.Abs, "acos": math.Acos, "asin": math.Asin, "atan": math.Atan, "ceil": math.Ceil, "cos": math.Cos,
		"cosh": math.Cosh, "exp": math.Exp, "floor": math.Floor, "log": math.Log, "log10": math.Log10, "sin": math.Sin,
		"sinh": math.Sinh, "sqrt": math.Sqrt, "tan": math.Tan, "tanh": math.Tanh,
		"deg": func(x float64) float64 { return x * 180 / math.Pi },
		"rad": func(x float64) float64 { return x * math.Pi / 180 },
	} {
		funcs[name] = func(c *Call) { c.Return(Number(f(c.checkNumber(1)))) }
	}
	for name, f := range map[string]func(a, b float64) float64{
		"atan2": math.Atan2, "fmod": math.Mod, "pow": math.Pow, "mod": modulo,
	} {
		funcs[name] = func(c *Call) { c.Return(Number(f(c.checkNumber(1), c.checkNumber(2)))) }
	}
	return funcs
}

func extreme(c *Call, better func(a, b float64) bool) {
	if c.n == 0 {
		c.Fail("wrong number of arguments")
	}
	v := c.checkNumber(1)
	for i := 2; i <= c.n; i++ {
		if x := c.checkNumber(i); better(x, v) {
			v = x
		}
	}
	c.Return(Number(v))
}

// next is SplitMix64.
func (m *Machine) next() uint64 {
	m.seed += 0x9e3779b97f4a7c15
	z := m.seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func random(c *Call) {
	unit := float64(c.m.next()>>11) / (1 << 53)
	var from, n int
	switch c.n {
	case 0:
		c.Return(Number(unit))
		return
	case 1:
		from, n = 1, c.checkInt(1)
	default:
		from = c.checkInt(1)
		n = c.checkInt(2) - from + 1
	}
	if n <= 0 {
		c.Fail("invalid argument to random: interval is empty")
	}
	c.Return(Number(float64(from + int(c.m.next()%uint64(n)))))
}
