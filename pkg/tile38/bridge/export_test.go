package bridge

// EmptyFollower makes the next session empty the follower, as after differences
// that did not end in equality. Run must not have begun.
func (b *Bridge) EmptyFollower() {
	b.full = true
	b.saved = saved{}
}
