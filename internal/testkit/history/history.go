// Package history records what clients were told while a cluster was hurt, and says
// afterwards whether all of it can be true.
//
// Clients write and read registers, named by keys; every value is written once. A history is good
// when it is linearizable: when each operation can have taken effect at one moment
// between its call and its reply, and those moments in order are what one server alone would
// have done. It is checked with porcupine. An operation whose reply says that it may or may not have
// been carried out, or that never came, may take effect at any time after its call, or never.
//
// It is imported by tests only.
package history

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Outcome is what a client knows after an operation.
type Outcome int

// What a client may know.
const (
	Done    Outcome = iota // it was carried out
	NotDone                // it was not, and will not be
	Unknown                // it may have been, or may be yet
)

// Known is what a client knows after an answer of a sidecar, or none: err is go-redis's.
func Known(err error) Outcome {
	var said interface { // go-redis's Error: the server has answered so
		error
		RedisError()
	}
	var op *net.OpError
	switch {
	case err == nil:
		return Done
	case errors.As(err, &said):
		if strings.Contains(said.Error(), "may") || strings.Contains(said.Error(), "done here") {
			return Unknown
		}
		return NotDone
	case errors.As(err, &op) && op.Op == "dial":
		return NotDone
	}
	return Unknown
}

// op is the input of an operation; its output is a value.
type op struct {
	key, value string
	write      bool
}

// History is what some clients have done.
type History struct {
	base time.Time

	mu     sync.Mutex
	ops    []porcupine.Operation
	counts [3]int
	last   time.Time     // when a write was Done last
	gap    time.Duration // longest time between two of them
}

// New begins a history.
func New() *History {
	now := time.Now()
	return &History{base: now, last: now}
}

// Write notes a write of value to key, which do carries out.
func (h *History) Write(client int, key, value string, do func() Outcome) Outcome {
	call := time.Since(h.base)
	outcome := do()
	h.note(client, op{key: key, value: value, write: true}, value, call, outcome)
	return outcome
}

// Read notes a read of key, which do carries out; "" is nothing. What was not Done says nothing.
func (h *History) Read(client int, key string, do func() (string, Outcome)) (string, Outcome) {
	call := time.Since(h.base)
	value, outcome := do()
	h.note(client, op{key: key}, value, call, outcome)
	return value, outcome
}

func (h *History) note(client int, o op, value string, call time.Duration, outcome Outcome) {
	now := time.Now()
	end := int64(now.Sub(h.base))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[outcome]++
	if outcome == NotDone || outcome == Unknown && !o.write {
		return
	}
	if outcome == Unknown {
		end = math.MaxInt64
	}
	if outcome == Done && o.write {
		h.gap, h.last = max(h.gap, now.Sub(h.last)), now
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: o, Output: value, Call: int64(call), Return: end})
}

// Counts are how many operations were Done, NotDone and Unknown.
func (h *History) Counts() (done, not, unknown int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[Done], h.counts[NotDone], h.counts[Unknown]
}

// Gap is the longest time in which no write was Done.
func (h *History) Gap() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.gap, time.Since(h.last))
}

// Mark begins the time of Gap anew.
func (h *History) Mark() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gap, h.last = 0, time.Now()
}

// registers is one register for each key.
var registers = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range all {
			key := opOf(o.Input).key
			byKey[key] = append(byKey[key], o)
		}
		parts := make([][]porcupine.Operation, 0, len(byKey))
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if o := opOf(input); o.write {
			return true, o.value
		}
		return state == output, state
	},
	DescribeOperation: func(input, output any) string {
		if o := opOf(input); o.write {
			return fmt.Sprintf("SET %s %s", o.key, o.value)
		}
		return fmt.Sprintf("GET %s: %q", opOf(input).key, output)
	},
}

// opOf is what was put into an operation.
func opOf(input any) op {
	o, ok := input.(op)
	if !ok {
		panic(fmt.Sprintf("%T is no operation", input))
	}
	return o
}

// ErrUndecided says that the check has not ended in time.
var ErrUndecided = errors.New("the history could not be checked in time")

// Check says whether all that the clients were told can be true. For an impossible
// history it writes a page that shows it to file, if that is given.
func (h *History) Check(within time.Duration, file string) error {
	h.mu.Lock()
	ops := append([]porcupine.Operation(nil), h.ops...)
	h.mu.Unlock()
	result, info := porcupine.CheckOperationsVerbose(registers, ops, within)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%w: %d operations in %s", ErrUndecided, len(ops), within)
	}
	err := fmt.Errorf("%d operations are not linearizable", len(ops))
	if file != "" {
		if werr := porcupine.VisualizePath(registers, info, file); werr != nil {
			return errors.Join(err, werr)
		}
		err = fmt.Errorf("%w: see %s", err, file)
	}
	return err
}
