package tile38

import (
	"bufio"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func readAnswer(text string, limit int) (Answer, string, error) {
	r := bufio.NewReaderSize(strings.NewReader(text), 16)
	a, err := ReadAnswer(r, limit, func() error { return nil })
	rest := new(strings.Builder)
	_, _ = r.WriteTo(rest)
	return a, rest.String(), err
}

func TestReadAnswer(t *testing.T) {
	text := func(s string) Answer { return Answer{Kind: '$', Text: s} }
	for _, c := range []struct {
		in   string
		want Answer
	}{
		{"+OK\r\n", Answer{Kind: '+', Text: "OK"}},
		{"-ERR no\r\n", Answer{Kind: '-', Text: "ERR no"}},
		{":-2\r\n", Answer{Kind: ':', Text: "-2"}},
		{"$-1\r\n", Answer{Kind: '$', Null: true}},
		{"$0\r\n\r\n", text("")},
		{"$5\r\na\r\nb\n\r\n", text("a\r\nb\n")},
		{"*0\r\n", Answer{Kind: '*'}},
		{"*2\r\n$1\r\na\r\n*1\r\n$40\r\n" + strings.Repeat("x", 40) + "\r\n",
			Answer{Kind: '*', Items: []Answer{text("a"), {Kind: '*', Items: []Answer{text(strings.Repeat("x", 40))}}}}},
	} {
		got, rest, err := readAnswer(c.in+"+next\r\n", 1000)
		if err != nil || !reflect.DeepEqual(got, c.want) || rest != "+next\r\n" {
			t.Errorf("%q: %+v, rest %q, %v", c.in, got, rest, err)
		}
	}
	for _, in := range []string{"", "$5\r\nab", "$2\r\nabXX", "x\r\n", "\r\n", "+OK\n", "$-2\r\n", "*x\r\n", "*2\r\n+a\r\n",
		strings.Repeat("*1\r\n", 100)} {
		if a, _, err := readAnswer(in, 1000); err == nil {
			t.Errorf("%q is an answer: %+v", in, a)
		}
	}
}

// TestTooLarge reads past a text that is too large, and gives up on a list that is.
func TestTooLarge(t *testing.T) {
	_, rest, err := readAnswer("$200\r\n"+strings.Repeat("x", 200)+"\r\n+next\r\n", 100)
	if !errors.Is(err, ErrTooLarge) || rest != "+next\r\n" {
		t.Errorf("rest %q, %v", rest, err)
	}
	for _, in := range []string{"*100\r\n" + strings.Repeat("+a\r\n", 100), "+" + strings.Repeat("a", 200) + "\r\n", "*1\r\n$200\r\n"} {
		if _, _, err := readAnswer(in, 100); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%.20q: %v", in, err)
		}
	}
	// What a head promises takes no memory before it comes.
	if _, _, err := readAnswer("*1000000000\r\n", 1<<40); err == nil {
		t.Error("a list without items is whole")
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add("*2\r\n$1\r\na\r\n*1\r\n:5\r\n")
	f.Add("$-1\r\n")
	f.Add("-ERR\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		a, rest, err := readAnswer(in, 1<<16)
		if err == nil && len(rest) >= len(in) {
			t.Fatalf("nothing was read of %q: %+v", in, a)
		}
	})
}
