package main

import (
	"reflect"
	"testing"

	"evenkeel/pkg/upstream"
)

// TestUpstreamMetrics: each count of the way to engines has its place in the metrics, but
// for two that only /status has.
func TestUpstreamMetrics(t *testing.T) {
	var st upstream.Stats
	from := reflect.ValueOf(&st).Elem()
	want := map[int64]string{}
	for i := range from.NumField() {
		from.Field(i).SetInt(int64(i + 1))
		if name := from.Type().Field(i).Name; name != "Kept" && name != "Opaque" {
			want[int64(i+1)] = name
		}
	}
	to := reflect.ValueOf(upstreamMetrics(&st))
	for i := range to.NumField() {
		v := to.Field(i)
		if v.CanInt() {
			delete(want, v.Int())
		} else {
			delete(want, int64(v.Uint()))
		}
	}
	for _, name := range want {
		t.Errorf("%s is in no metric", name)
	}
}
