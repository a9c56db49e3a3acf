package metrics

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Memory is the memory of the process as the kernel counts it, in bytes. What
// could not be read is below 0.
type Memory struct {
	Resident     int64 // of the process
	CgroupUsage  int64 // of the cgroup, page cache included
	WorkingSet   int64 // the usage without inactive page cache: what the kubelet evicts by
	CgroupLimit  int64 // the smallest limit on the way up; below 0 also when there is none
	CgroupExists bool
}

// unlimitedV1 is where cgroup v1 limits mean "none": the largest number of
// pages that fits a signed 64-bit number of bytes is a little above it.
const unlimitedV1 = 1 << 60

// ReadMemory reads /proc and /sys/fs/cgroup (v2, v1 or both) under root, which
// is os.DirFS("/") outside of tests.
func ReadMemory(root fs.FS) Memory {
	m := Memory{Resident: residentBytes(root), CgroupUsage: -1, WorkingSet: -1, CgroupLimit: -1}
	v2, v1 := cgroupPaths(root)
	if v2 != "" && m.readCgroup(root, "sys/fs/cgroup", v2, "memory.current", "memory.max", "inactive_file") {
		return m
	}
	if v1 != "" {
		m.readCgroup(root, "sys/fs/cgroup/memory", v1, "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
	}
	return m
}

// residentBytes reads the second number of statm, in pages.
func residentBytes(root fs.FS) int64 {
	b, err := fs.ReadFile(root, "proc/self/statm")
	if err != nil {
		return -1
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return -1
	}
	pages, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		return -1
	}
	return pages * int64(os.Getpagesize())
}

// cgroupPaths finds the paths of the process in the unified hierarchy and in
// v1's memory hierarchy; "" where it has none.
func cgroupPaths(root fs.FS) (v2, v1 string) {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(part) < 3 {
			continue
		}
		switch {
		case part[0] == "0" && part[1] == "":
			v2 = part[2]
		case strings.Contains(","+part[1]+",", ",memory,"):
			v1 = part[2]
		}
	}
	return v2, v1
}

// readCgroup reads the account at p below mount and the smallest limit from
// there up. In a container p may name the path that the host knows, which is
// not there: then the root of the mount is the container's own cgroup.
func (m *Memory) readCgroup(root fs.FS, mount, p, usageFile, limitFile, inactive string) bool {
	dir := path.Join(mount, p)
	usage := readInt(root, path.Join(dir, usageFile))
	if usage < 0 || !strings.HasPrefix(dir, mount) { // also "/../..", seen from another namespace
		dir = mount
		usage = readInt(root, path.Join(dir, usageFile))
	}
	if usage < 0 {
		return false
	}
	m.CgroupExists, m.CgroupUsage, m.WorkingSet = true, usage, usage
	if n := readStat(root, path.Join(dir, "memory.stat"), inactive); n > 0 {
		m.WorkingSet = max(usage-n, 0)
	}
	for {
		if n := readInt(root, path.Join(dir, limitFile)); n >= 0 && n < unlimitedV1 && (m.CgroupLimit < 0 || n < m.CgroupLimit) {
			m.CgroupLimit = n
		}
		if dir == mount {
			return true
		}
		dir = path.Dir(dir)
	}
}

// readInt reads a file that holds one number; below 0 when it does not.
func readInt(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil { // "max"
		return -1
	}
	return n
}

// readStat reads one line of a file of names and numbers; below 0 when it is
// not there.
func readStat(root fs.FS, name, key string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(b)) {
		if value, found := strings.CutPrefix(line, key+" "); found {
			if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}
