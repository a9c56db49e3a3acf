package shrink

import "time"

// FollowerReport tells of one follower.
type FollowerReport struct {
	Addr    string    `json:"addr"`
	Bridged bool      `json:"bridged,omitempty"`
	First   Condition `json:"first"` // after the rewrite, when it was first judged
	Judgement
	Shrinks int  `json:"shrinks,omitempty"` // rewrites that were made for it, among others
	Resets  int  `json:"resets,omitempty"`
	Fine    bool `json:"fine"`
	// Compared is what the last comparison of its objects came to.
	Compared *Comparison `json:"compared,omitempty"`
}

// Report tells what became of the followers after a rewrite.
type Report struct {
	Start     time.Time        `json:"start"`
	Duration  time.Duration    `json:"duration_ns"`
	Shrinks   int              `json:"shrinks"` // beside the one that made it necessary
	Followers []FollowerReport `json:"followers"`
	Steps     []Step           `json:"steps"` // waits that follow each other are one
	// Error says why it was given up, with the reasons of each follower; empty: all are
	// fine.
	Error string `json:"error,omitempty"`
}

// maxSteps is how many steps a report keeps.
const maxSteps = 100

// note keeps a step.
func (r *Report) note(s Step) {
	if n := len(r.Steps); n > 0 && s.Kind == Wait && r.Steps[n-1].Kind == Wait {
		r.Steps[n-1] = s
		return
	}
	if len(r.Steps) < maxSteps {
		r.Steps = append(r.Steps, s)
	}
}

// follower returns the report of one, made when there is none.
func (r *Report) follower(p Patient) *FollowerReport {
	for i := range r.Followers {
		if r.Followers[i].Addr == p.Addr {
			return &r.Followers[i]
		}
	}
	r.Followers = append(r.Followers, FollowerReport{Addr: p.Addr, First: p.Judgement.Condition})
	return &r.Followers[len(r.Followers)-1]
}
