package node

import "fmt"

// Ready says whether the node is fit to be asked, and every reason why not. A
// leader needs a log, and a queue of hook messages, that can be written; a
// follower must also have caught up, lag less than MaxLag, agree with its
// leader's digest and not be resyncing.
func (n *Node) Ready() (bool, []string) {
	var reasons []string
	if n.drain.Load() {
		reasons = append(reasons, "shutting down")
	}
	if st := n.opt.Log.Stats(); !st.Writable {
		reasons = append(reasons, fmt.Sprintf("%v", st.Failure))
	}
	if err := n.opt.Hooks.Blocked(); err != nil {
		reasons = append(reasons, err.Error())
	}
	if st := n.role.status(); st != nil {
		_, why := st.Ready(n.opt.MaxLag)
		for _, w := range why {
			reasons = append(reasons, "follower: "+w)
		}
	}
	return len(reasons) == 0, reasons
}

// Drain makes the node not ready; it serves on.
func (n *Node) Drain() { n.drain.Store(true) }
