//go:build race

package crash

// stride is the distance of the operations at which the race detector's slow
// tests crash.
const stride = 9
