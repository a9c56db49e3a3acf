package replication

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/resp"
)

const testEpoch = "0123456789abcdef0123456789abcdef01234567"

var zeroDigest = aof.Digest{}.String()

// words reads b back as one command.
func words(t testing.TB, b []byte) []string {
	t.Helper()
	cmd, err := resp.NewReader(bytes.NewReader(b), resp.Limits{}).Next()
	if err != nil {
		t.Fatalf("not a command: %v: %q", err, b)
	}
	if cmd.Size != len(b) {
		t.Fatalf("command of %d bytes in %d: %q", cmd.Size, len(b), b)
	}
	return cmd.Args
}

func TestHelloRoundTrip(t *testing.T) {
	for _, h := range []Hello{
		{Version: 1},
		{Version: 1, Position: aof.Position{Epoch: testEpoch, Offset: 1<<63 - 1}, Digest: aof.Digest{Hi: 1, Lo: 1<<64 - 1}},
		{Version: 1, Position: aof.Position{Epoch: testEpoch}, ListeningPort: 9851, IPAddress: "10.0.0.9", ID: "a-b_c.7"},
	} {
		got, err := ParseHello(words(t, h.Append(nil)))
		if err != nil || got != h {
			t.Errorf("got %+v, %v; want %+v", got, err, h)
		}
		if got.WantsFull() != (h.Position.Epoch == "") {
			t.Errorf("WantsFull() = %v of %+v", got.WantsFull(), h)
		}
	}
}

func TestParseHello(t *testing.T) {
	base := "REPLICATE 1 " + testEpoch + " 5 " + zeroDigest
	for _, tt := range []struct {
		name, line string
		err        error  // nil: accepted
		text       string // in the error
	}{
		{"plain", base, nil, ""},
		{"lower case", "replicate 1 ? 0 " + zeroDigest + " id x listening-port 1", nil, ""},
		{"unknown pair", base + " CAN RANGES ID x", nil, ""},
		{"too few", "REPLICATE 1 ? 0", ErrProtocol, "wrong number of arguments"},
		{"half a pair", base + " ID", ErrProtocol, "wrong number of arguments"},
		{"too many", base + strings.Repeat(" a b", 40), ErrProtocol, "wrong number of arguments"},
		{"other command", strings.Replace(base, "REPLICATE", "SET", 1), ErrProtocol, "want REPLICATE"},
		{"version 0", strings.Replace(base, " 1 ", " 0 ", 1), ErrVersion, "0 is not in 1..1"},
		{"version 2", strings.Replace(base, " 1 ", " 2 ", 1), ErrVersion, "2 is not in 1..1"},
		{"version text", strings.Replace(base, " 1 ", " x ", 1), ErrProtocol, "version"},
		{"short epoch", strings.Replace(base, testEpoch, "abc", 1), ErrProtocol, "epoch"},
		{"upper epoch", strings.Replace(base, testEpoch, strings.ToUpper(testEpoch), 1), ErrProtocol, "epoch"},
		{"negative offset", strings.Replace(base, " 5 ", " -5 ", 1), ErrProtocol, "offset"},
		{"huge offset", strings.Replace(base, " 5 ", " 9223372036854775808 ", 1), ErrProtocol, "offset"},
		{"short digest", strings.Replace(base, zeroDigest, "00", 1), ErrProtocol, "digest"},
		{"port", base + " LISTENING-PORT 65536", ErrProtocol, "listening port"},
		{"id with control", base + " ID a\x01b", ErrProtocol, "server id"},
		{"id too long", base + " ID " + strings.Repeat("x", 129), ErrProtocol, "server id"},
	} {
		_, err := ParseHello(strings.Split(tt.line, " "))
		if !errors.Is(err, tt.err) || (err != nil && !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: error %v, want %v with %q", tt.name, err, tt.err, tt.text)
		}
	}
}

func TestAnswerRoundTrip(t *testing.T) {
	for _, a := range []Answer{
		{Epoch: testEpoch, Start: aof.Mark{Offset: 7}, End: -1},
		{Epoch: testEpoch, Start: aof.Mark{Offset: 7}, End: 9, Now: 1700000000000, LeaderID: "x"},
		{Kind: Full, Epoch: testEpoch, Start: aof.Mark{Offset: 3, Time: 4, Digest: aof.Digest{Hi: 5, Lo: 6}}, Size: 8, End: 3},
		{Kind: Ranges, Epoch: testEpoch, Start: aof.Mark{Offset: 3, Time: 4, Digest: aof.Digest{Hi: 5, Lo: 6}}, Size: 8, End: 3},
		{Epoch: testEpoch, Start: aof.Mark{Offset: 3}, End: 3, Forks: []aof.Fork{{Epoch: testEpoch, Offset: 5}, {Epoch: testEpoch, Offset: 7}}},
	} {
		line := string(a.Append(nil))
		got, err := ParseAnswer(strings.TrimSuffix(line, "\r\n"))
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%q: got %+v, %v; want %+v", line, got, err, a)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	full := "+FULL " + testEpoch + " 1 2 " + zeroDigest + " 3"
	for _, tt := range []struct {
		line string
		err  error
		text string
	}{
		{full, nil, ""},
		{full + " SOMETHING new", nil, ""},
		{"", ErrProtocol, "answer"},
		{"+OK", ErrProtocol, "answer"},
		{"+CONTINUE " + testEpoch, ErrProtocol, "2 words"},
		{"+CONTINUE " + testEpoch + " 1 END", ErrProtocol, "4 words"},
		{"+CONTINUE ? 1", ErrProtocol, "epoch"},
		{"+CONTINUE " + testEpoch + " x", ErrProtocol, "offset"},
		{"+CONTINUE " + testEpoch + " 5 END 4", ErrProtocol, "before its start"},
		{strings.Replace(full, " 2 ", " -2 ", 1), ErrProtocol, "time"},
		{strings.Replace(full, zeroDigest, "0", 1), ErrProtocol, "digest"},
		{full + "x", ErrProtocol, "size"},
		{full + " ID a\x00", ErrProtocol, "server id"},
		{full + " END x", ErrProtocol, "invalid syntax"},
		{"-ERR unknown command 'REPLICATE'", ErrNotEvenkeel, "not an Evenkeel"},
		{"-ERR unknown command `REPLICATE`, with args", ErrNotEvenkeel, "with args"},
		{"-ERR authentication required", ErrRefused, "authentication required"},
		{"-NOAUTH Authentication required.", ErrRefused, "NOAUTH"},
		{"-ERR a server cannot follow itself", ErrSelf, "itself"},
	} {
		_, err := ParseAnswer(tt.line)
		if !errors.Is(err, tt.err) || (err != nil && !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%q: error %v, want %v with %q", tt.line, err, tt.err, tt.text)
		}
	}
}

func TestRefusalIsOneShortLine(t *testing.T) {
	b := AppendRefusal(nil, errors.New("a\r\nb\x00"+strings.Repeat("x", 5000)))
	if !bytes.HasPrefix(b, []byte("-ERR a  b x")) || !bytes.HasSuffix(b, []byte("x\r\n")) ||
		bytes.Count(b, []byte("\n")) != 1 || len(b) != MaxLine+2 {
		t.Errorf("%d bytes: %.40q", len(b), b)
	}
	if _, err := ParseAnswer(strings.TrimSuffix(string(AppendRefusal(nil, ErrSelf)), "\r\n")); !errors.Is(err, ErrSelf) {
		t.Errorf("ErrSelf arrives as %v", err)
	}
}

func TestReports(t *testing.T) {
	for _, want := range []Report{
		{Kind: ReportAck, Offset: 12, Synced: 7},
		{Kind: ReportTurnAsk},
		{Kind: ReportTurnDone},
		{Kind: ReportCompacted, ID: "x", Offset: 9, Digest: aof.Digest{Hi: 1, Lo: 2}},
		{Kind: ReportCompacted, ID: "x", Err: "no room\r\n here"},
	} {
		got, err := ParseReport(words(t, want.Append(nil)))
		if got != want || err != nil {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	for _, tt := range []struct {
		line string
		err  error
	}{
		{"REPLCONF", nil},
		{"replconf getack *", nil},
		{"REPLCONF TURN", nil},
		{"REPLCONF TURN LATER", nil},
		{"REPLCONF ACK 1", ErrProtocol},
		{"REPLCONF ACK x 1", ErrProtocol},
		{"REPLCONF ACK 1 -1", ErrProtocol},
		{"REPLCONF COMPACTED x 1 " + zeroDigest, ErrProtocol},
		{"REPLCONF COMPACTED x 1 y z", ErrProtocol},
		{"REPLCONF COMPACTED x -1 " + zeroDigest + " z", ErrProtocol},
		{"SET a b", ErrProtocol},
	} {
		if r, err := ParseReport(strings.Split(tt.line, " ")); r != (Report{}) || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v; want nothing, %v", tt.line, r, err, tt.err)
		}
	}
}

// TestControls: what a leader says comes out between the batches, however the
// network cuts it.
func TestControls(t *testing.T) {
	var stream []byte
	stream = AppendControl(stream, CtlSync)
	stream = AppendHeartbeat(stream, aof.Mark{Offset: 5, Time: 1})
	stream = AppendControl(stream, CtlCompact, "id")
	stream = AppendControl(stream, CtlTurn)
	r := NewBatchReader(iotest.OneByteReader(bytes.NewReader(stream)), 5, 0)
	var got []string
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(f.Control, f.Heartbeat))
	}
	if want := "[SYNC] false, [] true, [COMPACT id] false, [TURN] false"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// Inside a batch there is none.
	bad := append([]byte("*1\r\n$1\r\na\r\n"), AppendControl(nil, CtlSync)...)
	if f, err := NewBatchReader(bytes.NewReader(bad), 0, 0).Next(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%+v, %v", f, err)
	}
	endless := append([]byte("+"), bytes.Repeat([]byte("x"), 1000)...)
	if _, err := NewBatchReader(bytes.NewReader(endless), 0, 0).Next(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a line without an end: %v", err)
	}
}

func FuzzParseHello(f *testing.F) {
	f.Add("REPLICATE 1 " + testEpoch + " 5 " + zeroDigest + " ID x LISTENING-PORT 9")
	f.Add("REPLICATE 1 ? 0 " + zeroDigest)
	f.Fuzz(func(t *testing.T, line string) {
		h, err := ParseHello(strings.Split(line, " "))
		if err != nil {
			return
		}
		again, err := ParseHello(words(t, h.Append(nil)))
		if err != nil || again != h {
			t.Fatalf("%q: %+v became %+v, %v", line, h, again, err)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add("+CONTINUE " + testEpoch + " 5 END 6 NOW 1 ID x")
	f.Add("+FULL " + testEpoch + " 5 6 " + zeroDigest + " 7")
	f.Add("-ERR unknown command 'REPLICATE'")
	f.Fuzz(func(t *testing.T, line string) {
		a, err := ParseAnswer(line)
		if err != nil {
			return
		}
		again, err := ParseAnswer(strings.TrimSuffix(string(a.Append(nil)), "\r\n"))
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Fatalf("%q: %+v became %+v, %v", line, a, again, err)
		}
	})
}
