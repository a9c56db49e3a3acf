package compactor

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrSize is what ParseSize's errors wrap.
var ErrSize = errors.New("not a size")

// units of sizes, largest first.
var units = [...]struct {
	suffix string
	bytes  int64
}{{"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}, {"b", 1}}

// ParseSize reads a number of bytes: a whole number, with or without one of
// the units b, kb, mb, gb (powers of 1024) in upper or lower case, such as
// "64mb", "100" or "0". There is no sign, no fraction and no space.
func ParseSize(s string) (int64, error) {
	number, unit := strings.ToLower(s), int64(1)
	for _, u := range units {
		if n, found := strings.CutSuffix(number, u.suffix); found {
			number, unit = n, u.bytes
			break
		}
	}
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return 0, fmt.Errorf("%w: %q (want a whole number with b, kb, mb or gb, such as 64mb)", ErrSize, s)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%w: %q is more than %d bytes", ErrSize, s, int64(math.MaxInt64))
	}
	return n * unit, nil
}

// FormatSize writes n bytes so that ParseSize gives n again: in the largest
// unit that divides it, and plain when that unit is the byte.
func FormatSize(n int64) string {
	if n != 0 {
		for _, u := range units[:len(units)-1] {
			if n%u.bytes == 0 {
				return strconv.FormatInt(n/u.bytes, 10) + u.suffix
			}
		}
	}
	return strconv.FormatInt(n, 10)
}

// approx writes n bytes for a reader who wants the magnitude: "12.3 MiB".
func approx(n int64) string {
	switch f := float64(n); {
	case n < 1<<10:
		return strconv.FormatInt(n, 10) + " B"
	case n < 1<<20:
		return strconv.FormatFloat(f/(1<<10), 'f', 1, 64) + " KiB"
	case n < 1<<30:
		return strconv.FormatFloat(f/(1<<20), 'f', 1, 64) + " MiB"
	default:
		return strconv.FormatFloat(f/(1<<30), 'f', 1, 64) + " GiB"
	}
}
