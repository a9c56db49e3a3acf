package upstream

import "evenkeel/pkg/resp"

// Commands that an engine takes for the choice between RESP and JSON, in both
// forms.
const (
	sayRESP = "OUTPUT resp\r\n"
	sayJSON = "$11 OUTPUT json\r\n"
)

// form notes the form of a command before it is sent. The first command of a
// connection decides whether an engine answers RESP or JSON; on a link that is
// made later one in another form may be the first, so the choice is said there
// once forms are mixed. The links that there are have seen how it began.
func (s *session) form(k resp.Kind) {
	json := k >= resp.Native
	if s.formed && json == s.firstJSON {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.formed {
		s.formed, s.firstJSON, s.json = true, json, json
		return
	}
	switch {
	case s.state[slotOutput] != nil:
		return
	case s.firstJSON:
		s.state[slotOutput] = []byte(sayJSON)
	default:
		s.state[slotOutput] = []byte(sayRESP)
	}
}
