package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// What a pod asks another one to do.
const (
	doTell     = "tell"     // say how far it is
	doConfirm  = "confirm"  // take no Lease but From's for For
	doCampaign = "campaign" // take the Lease now: it was given up for you
	doHandover = "handover" // hand leadership over to Pod
)

// message is what one pod says to another.
type message struct {
	Do   string        `json:"do"`
	From string        `json:"from,omitempty"` // confirm: identity of who holds the Lease
	For  time.Duration `json:"for,omitempty"`  // confirm: ns
	Pod  string        `json:"pod,omitempty"`  // handover: to whom, "" is the one that is furthest
	// Force: campaign, whatever other pods have. For a person who knows that they are lost.
	Force bool `json:"force,omitempty"`
}

// answer is what it hears.
type answer struct {
	Pod      string    `json:"pod"`
	Leads    bool      `json:"leads"` // behind a fence that is open
	Position *Position `json:"position,omitempty"`
	Leader   string    `json:"leader,omitempty"` // handover: who leads now
	Error    string    `json:"error,omitempty"`
}

// Handle answers what another pod, or sidecar promote, has said with Caller.Call.
func (e *Elector) Handle(ctx context.Context, text []byte) []byte {
	var m message
	a := answer{Pod: e.o.Pod}
	err := json.Unmarshal(text, &m)
	if err == nil {
		a, err = e.handle(ctx, m)
	}
	if err != nil {
		a.Error = err.Error()
	}
	out, err := json.Marshal(a)
	if err != nil {
		return []byte(`{"error":"this answer cannot be written"}`)
	}
	return out
}

func (e *Elector) handle(ctx context.Context, m message) (answer, error) {
	a := answer{Pod: e.o.Pod, Leads: e.leads()}
	switch m.Do {
	case doTell:
		p := e.position()
		a.Position = &p
		return a, nil
	case doConfirm:
		return a, e.confirm(m.From, m.For)
	case doCampaign:
		return a, e.Campaign(ctx, m.Force)
	case doHandover:
		leader, err := e.handover(ctx, m.Pod)
		a.Leader = leader
		return a, err
	}
	return a, fmt.Errorf("%q: this version does not know what that is", m.Do)
}

// ask says m to the pod at addr.
func (e *Elector) ask(ctx context.Context, addr string, m message) (answer, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return answer{}, err
	}
	out, err := e.o.Call.Call(ctx, addr, text)
	if err != nil {
		return answer{}, err
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		return answer{}, fmt.Errorf("%s answered %q: %w", addr, out, err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}
