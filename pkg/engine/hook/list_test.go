package hook

import (
	"errors"
	"fmt"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// TestLongList: a long list can be interrupted, wherever it is.
func TestLongList(t *testing.T) {
	st := collection.NewState()
	var ch collection.Change
	for i := range 1000 {
		ch.SetHook(&collection.Hook{Name: fmt.Sprint("c", i), Key: "k", Channel: true, Command: []string{"NEARBY"}})
	}
	st.Apply(&ch)
	stop := errors.New("stop")
	for _, json := range []bool{false, true} {
		asked := 0
		ask := func(failAt int) error {
			asked = 0
			req := &command.Request{Args: []string{"CHANS", "*"}, Name: "chans", Pause: func() error {
				if asked++; asked == failAt {
					return stop
				}
				return nil
			}}
			return list(true)(req, st, &reply.Reply{JSON: json})
		}
		if err := ask(0); err != nil || asked < 20 {
			t.Errorf("json %v: %v, asked %d times", json, err, asked)
		}
		for _, at := range []int{1, asked} {
			if err := ask(at); !errors.Is(err, stop) || asked != at {
				t.Errorf("json %v: %v, asked %d times, want %d", json, err, asked, at)
			}
		}
	}
}
