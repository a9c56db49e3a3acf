package resp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"github.com/tidwall/redcon"
)

func addSeeds(f *testing.F) {
	for _, s := range []string{
		array("SET", "fleet", "truck1", "POINT", "33", "-115") + "PING 'a b'\r\n" + array("GET", ""),
		"*0\r\n\r\n*\r\n*-\r\nPING\n", "*1\r\n$-1\r\n", "*1\r\n:5\r\n", "*2\r\n$4\r\nPING\r\n$0\r\n\r\n",
		`SET "a\n\"" 'it\'s' ""` + "\n", "GET a\"b\r\n", "GET 'x\r\n", "*x\r\n", "$4 PING\r\n", "GET / HTTP/1.1\r\n\r\n",
		"$17 SET k a STRING \"\"\r\n$12 PING {\"a b\"}\r\n$0 \r\n$x PING\r\n", "$4PING\r\n", "$ PING\r\n",
		"POST /set+k%20a+ HTTP/1.1\r\nContent-Length: 9\r\nAuthorization: x\r\n\r\npoint 1 1", "OPTIONS * HTTP/1.0\r\n\r\nPING\r\n",
		"GET /%zz HTTP/1.1\r\n\r\n", "PUT /a HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		upgrade + "\x81\x84abcd1+-#" + "\x01\x82abcd1+\x89\x80abcd\x80\x82abcd/%" + "\x88\x80abcd",
		"*99999999999999999999\r\n", "*1\r\n$3\r\nPING\r\n", "ping   spaced   \r\r\n", "*3\r\n$1\r\na\r\n$2\r\nbb\r\n",
	} {
		f.Add([]byte(s), uint64(len(s)))
	}
}

// pieces gives its data in random pieces.
type pieces struct {
	data []byte
	rnd  *rand.Rand
}

func (p *pieces) Read(buf []byte) (int, error) {
	n := min(1+p.rnd.IntN(8), len(p.data), len(buf))
	if n == 0 {
		return 0, errEnd
	}
	copy(buf, p.data[:n])
	p.data = p.data[n:]
	return n, nil
}

// once gives its data whole, as far as it fits.
type once struct{ data []byte }

func (o *once) Read(buf []byte) (int, error) {
	if len(o.data) == 0 {
		return 0, errEnd
	}
	n := copy(buf, o.data)
	o.data = o.data[n:]
	return n, nil
}

var errEnd = errors.New("end of the pieces")

var smallLimits = Limits{MaxArgs: 100, MaxBulk: 200, MaxInline: 150, MaxCommand: 400, MaxHeader: 200, MaxMessage: 60}

// The same bytes in any pieces give the same commands and the same end.
func FuzzSplit(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		whole, wholeErr := readAll(&once{data}, smallLimits)
		parts, partsErr := readAll(&pieces{data, rand.New(rand.NewPCG(seed, 1))}, smallLimits)
		if !slices.Equal(whole, parts) || wholeErr.Error() != partsErr.Error() {
			t.Fatalf("whole: %s, %v\npieces: %s, %v", whole, wholeErr, parts, partsErr)
		}
	})
}

// Where redcon finds a command or an error, so does Reader, except:
//   - numbers that overflow are errors here (there they wrap around, and some
//     make it panic);
//   - a number that cannot become valid is refused before its line end;
//   - what is over the limits is refused, and so is the native protocol's length
//     when it is not there within 32 bytes;
//   - HTTP requests, which redcon takes for lines, are read as such;
//   - redcon panics at a value that is a single double quote, and panics or never
//     returns at some negative lengths.
func FuzzAgainstRedcon(f *testing.F) {
	addSeeds(f)
	other := regexp.MustCompile(`(?i) HTTP/...\r\n|^\$[^ ]{31}|\n\$[^ ]{31}|string "\r\n|\$-`)
	huge := regexp.MustCompile(`[0-9]{16,}`)
	f.Fuzz(func(t *testing.T, data []byte, _ uint64) {
		if huge.Match(data) || other.Match(data) {
			return // the exceptions
		}
		r := NewReader(bytes.NewReader(data), Limits{})
		for rest := data; ; {
			complete, args, _, left, wantErr := redcon.ReadNextCommand(rest, nil)
			if complete && len(args) == 0 {
				rest = left
				continue
			}
			cmd, err := r.Next()
			var bad *ProtocolError
			isBad := errors.As(err, &bad)
			switch {
			case isBad && bad.Limit:
				return
			case complete && err == nil:
			case wantErr != nil && isBad && wantErr.Error() == bad.Text:
				return
			case wantErr == nil && !complete && err != nil:
				return
			default:
				t.Fatalf("%q: %v %v; redcon: %v %q %v", rest, cmd.Args, err, complete, args, wantErr)
			}
			if len(cmd.Args) != len(args) {
				t.Fatalf("%q: %q, redcon: %q", rest, cmd.Args, args)
			}
			for i := range args {
				if cmd.Args[i] != string(args[i]) {
					t.Fatalf("%q: %q, redcon: %q", rest, cmd.Args, args)
				}
			}
			rest = left
		}
	})
}
