package bridge

import (
	"bytes"
	"slices"
	"testing"

	"evenkeel/pkg/tile38"
)

// script makes commands of bytes: few different ones, so that they meet.
func script(b []byte) [][]byte {
	all := [][]byte{
		tile38.AppendCommand(nil, "SET", "k", "a", "STRING", "1"), tile38.AppendCommand(nil, "SET", "k", "a", "STRING", "2"),
		tile38.AppendCommand(nil, "SET", "k", "b", "NX", "STRING", "1"), tile38.AppendCommand(nil, "DEL", "k", "a"),
		tile38.AppendCommand(nil, "del", "k", "a"), tile38.AppendCommand(nil, "PUBLISH", "c", "m"),
		tile38.AppendCommand(nil, "FSET", "k", "a", "f", "1"), tile38.AppendCommand(nil, "FLUSHDB"),
	}
	var cmds [][]byte
	for _, c := range b {
		cmds = append(cmds, all[int(c)%len(all)])
	}
	return cmds
}

// FuzzMeet: what was sent meets what was logged the same however it is cut, and only
// what may leave no trace is passed over.
func FuzzMeet(f *testing.F) {
	f.Add([]byte{0, 3, 1}, []byte{0, 1}, 1)
	f.Add([]byte{0, 5, 4, 7}, []byte{0, 7}, 2)
	f.Add([]byte{7}, []byte{0}, 0)
	f.Fuzz(func(t *testing.T, sentBy, loggedBy []byte, cut int) {
		if len(sentBy) > 1000 || len(loggedBy) > 1000 {
			return
		}
		sent, logged := script(sentBy), script(loggedBy)
		b := bytes.Join(sent, nil)
		n, rest, err := meet(b, logged)
		if err != nil {
			return
		}
		if n < 0 || n > len(b) || len(rest) > len(logged) {
			t.Fatalf("%d of %d bytes, %d of %d commands", n, len(b), len(rest), len(logged))
		}
		met, at := logged[:len(logged)-len(rest)], 0
		for _, raw := range sent {
			if at == n {
				break
			}
			at += len(raw)
			switch {
			case len(met) > 0 && bytes.Equal(raw, met[0]):
				met = met[1:]
			case !silent(raw) && !vain(raw):
				t.Fatalf("%q was passed over", raw)
			}
		}
		if at != n || len(met) != 0 {
			t.Fatalf("%d bytes, want %d; %d were not sent", n, at, len(met))
		}
		k := 0
		if len(sent) > 0 {
			k = len(bytes.Join(sent[:(cut&0xffff)%(len(sent)+1)], nil))
		}
		n1, half, err := meet(b[:k], logged)
		if err != nil {
			t.Fatalf("the first %d bytes: %v", k, err)
		}
		n2, last, err := meet(b[k:], half)
		if err != nil || n1+n2 != n && len(half) > 0 || !slices.EqualFunc(last, rest, bytes.Equal) {
			t.Fatalf("cut at %d: %d and %d bytes, %d commands left, %v; whole: %d bytes, %d left", k, n1, n2, len(last), err, n, len(rest))
		}
	})
}

// FuzzSilent: whatever stands in a file is a command or not, and nothing breaks.
func FuzzSilent(f *testing.F) {
	for _, c := range script([]byte{0, 1, 2, 3, 4, 5, 6, 7}) {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cmds := tile38.Commands(b, true)
		for _, c := range cmds {
			if silent(c) && vain(c) && !bytes.Contains(bytes.ToLower(c), []byte("del")) {
				t.Errorf("%q", c)
			}
		}
		if n, rest, err := meet(bytes.Join(cmds, nil), cmds); err == nil && (len(rest) != 0 || n != len(bytes.Join(cmds, nil))) {
			t.Errorf("%q does not meet itself: %d bytes, %d left", b, n, len(rest))
		} else if err != nil {
			t.Errorf("%q: %v", b, err)
		}
	})
}
