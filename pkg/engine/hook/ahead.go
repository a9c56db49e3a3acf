package hook

import (
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/search"
)

// ahead is the Ahead step of SETHOOK and SETCHAN: it compiles a search whose
// area may be large, GET as it is at the moment. What is wrong with the words,
// the handler says.
func (r Rules) ahead(req *command.Request, now command.View) {
	if r.logged || !search.Heavy(req.Args) {
		return
	}
	hk, err := r.parse(req, req.Name == "setchan")
	if err != nil {
		return
	}
	c := &compiledAhead{}
	c.fence, c.err = r.Search.ParseFence(hk.Command[0], hk.Command[1:], now.Snapshot(), true)
	req.Ahead = c
}

// compiledAhead is a search that was compiled ahead.
type compiledAhead struct {
	fence *search.Fence
	err   error
}

// compile returns the search of a definition.
func (r Rules) compile(req *command.Request, hk *collection.Hook, st *collection.State) (*search.Fence, error) {
	if c, ok := req.Ahead.(*compiledAhead); ok {
		return c.fence, c.err
	}
	return r.Search.ParseFence(hk.Command[0], hk.Command[1:], st, true)
}
