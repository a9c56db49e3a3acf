//go:build !race

package crash

// stride is the distance of the operations at which the tests crash: each one.
const stride = 1
