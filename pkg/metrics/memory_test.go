package metrics

import (
	"os"
	"testing"
	"testing/fstest"
)

func TestReadMemory(t *testing.T) {
	page := int64(os.Getpagesize())
	tests := []struct {
		name  string
		files map[string]string
		want  Memory
	}{
		{"nothing there", nil, Memory{-1, -1, -1, -1, false}},
		{"v2, the limit is the parent's", map[string]string{
			"proc/self/statm":  "100 7 3\n",
			"proc/self/cgroup": "0::/kubepods/pod1/app\n",
			"sys/fs/cgroup/kubepods/pod1/app/memory.current": "500\n",
			"sys/fs/cgroup/kubepods/pod1/app/memory.max":     "max\n",
			"sys/fs/cgroup/kubepods/pod1/app/memory.stat":    "anon 300\ninactive_file 150\n",
			"sys/fs/cgroup/kubepods/pod1/memory.max":         "800\n",
			"sys/fs/cgroup/kubepods/memory.max":              "4000\n",
		}, Memory{7 * page, 500, 350, 800, true}},
		{"v2 in a container: the mount is the cgroup", map[string]string{
			"proc/self/cgroup":             "0::/../../else\n",
			"sys/fs/cgroup/memory.current": "500\n",
			"sys/fs/cgroup/memory.max":     "900\n",
		}, Memory{-1, 500, 500, 900, true}},
		{"v1 without limit", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/x\n",
			"sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": "600\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/docker/x/memory.stat":           "cache 1\ntotal_inactive_file 700\n",
		}, Memory{-1, 600, 0, -1, true}},
		{"v1, both hierarchies named", map[string]string{
			"proc/self/cgroup":                           "4:memory:/host/path\n0::/host/path\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "600\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
		}, Memory{-1, 600, 600, 1000, true}},
		{"nonsense", map[string]string{
			"proc/self/statm":              "x\n",
			"proc/self/cgroup":             "what\n\n0::/\n",
			"sys/fs/cgroup/memory.current": "many\n",
		}, Memory{-1, -1, -1, -1, false}},
	}
	for _, tt := range tests {
		root := fstest.MapFS{}
		for name, data := range tt.files {
			root[name] = &fstest.MapFile{Data: []byte(data)}
		}
		if got := ReadMemory(root); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestReadMemoryOfThisProcess(t *testing.T) {
	if m := ReadMemory(os.DirFS("/")); m.Resident < 1<<20 {
		t.Errorf("resident memory %d bytes", m.Resident)
	}
}
