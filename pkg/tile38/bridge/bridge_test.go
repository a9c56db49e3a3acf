package bridge_test

import (
	"testing"

	"evenkeel/pkg/tile38/bridge"
)

// TestFresh: an empty follower takes all, hooks included.
func TestFresh(t *testing.T) { each(t, testFresh) }

func testFresh(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 5000)
	p.Leader.Do("SETHOOK h http://127.0.0.1:1/x NEARBY hk FENCE POINT 1 1 100", "SET t a EX 1000 STRING x", "DEL k o7")
	p.start()
	p.follow()
	p.equal()
	p.Leader.Fill("k", 3000, 3000)
	p.heartbeat()
	p.equal()
	if st := p.Bridge.Status(); st.Resumes != (bridge.Resumes{Fresh: 1}) || !st.Verified {
		t.Errorf("%+v", st)
	}
}
