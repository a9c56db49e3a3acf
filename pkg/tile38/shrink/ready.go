package shrink

import (
	"context"
	"fmt"
)

// Ready says whether a follower may be asked, and why not: caught_up and HEALTHZ are
// wrong for as long as its aof_size is. One with a bridge is the bridge's matter.
//
// A leader that does not answer does not make a follower unfit that was fine: what
// it has is what there is.
func Ready(j Judgement) (bool, []string) {
	switch j.Condition {
	case Fine, Unknown:
		return true, nil
	}
	reasons := make([]string, 0, len(j.Reasons))
	for _, r := range j.Reasons {
		reasons = append(reasons, fmt.Sprintf("%s: %s", j.Condition, r))
	}
	return false, reasons
}

// Look judges the follower at addr as it is now. It dials leader and follower.
func (c *Coordinator) Look(ctx context.Context, addr string) Patient {
	l := newLooker(c.opt)
	defer l.Close()
	p := l.Patients(ctx, []string{addr})[0]
	c.proofs.saw(&p, false)
	return p
}
