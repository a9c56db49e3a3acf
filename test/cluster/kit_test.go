package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// needKit skips a test that does something to nodes where they are no processes of this
// machine.
func needKit(t *testing.T) {
	t.Helper()
	image(t)
	if os.Getenv("EVENKEEL_KIT") != "yes" {
		t.Skip("EVENKEEL_KIT is not set: the nodes' processes, cables and volumes are out of reach; run it with the cluster kit")
	}
}

// processes are those of a name, in the namespaces of the kit's cluster.
func processes(t *testing.T, name string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(text)) != name {
			continue // it has ended, or is another
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// process is that of a pod's sidecar.
func (r *release) process(t *testing.T, pod string) int {
	t.Helper()
	p := r.pod(t, pod)
	if p == nil {
		t.Fatalf("there is no pod %s", pod)
	}
	uid := string(p.UID)
	for _, pid := range processes(t, "sidecar") {
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err == nil && strings.Contains(string(groups), "pod"+uid) {
			return pid
		}
	}
	t.Fatalf("pod %s has no process", pod)
	return 0
}

// signal sends one to a pod's sidecar, and returns its process.
func (r *release) signal(t *testing.T, pod string, sig syscall.Signal) int {
	t.Helper()
	pid := r.process(t, pod)
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
	return pid
}

// wake lets a stopped process go on; it may have ended.
func wake(pid int) { _ = syscall.Kill(pid, syscall.SIGCONT) }

// cut pulls a node's network cable until heal is called, or the test ends.
func cut(t *testing.T, node string) (heal func()) {
	t.Helper()
	heal = func() { must(t, "ip", "link", "set", node, "up") }
	must(t, "ip", "link", "set", node, "down")
	t.Cleanup(heal)
	return heal
}

// nodesReady says whether all nodes are.
func (r *release) nodesReady(t *testing.T) bool {
	nodes, err := r.api.CoreV1().Nodes().List(t.Context(), meta.ListOptions{})
	if err != nil {
		return false
	}
	for i := range nodes.Items {
		for _, c := range nodes.Items[i].Status.Conditions {
			if c.Type == core.NodeReady && c.Status != core.ConditionTrue {
				return false
			}
		}
	}
	return true
}

// volume is where a pod's volume is: its folder on its node.
func (r *release) volume(t *testing.T, pod string) (node, folder string) {
	t.Helper()
	claim, err := r.api.CoreV1().PersistentVolumeClaims(r.namespace).Get(t.Context(), "data-"+pod, meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.api.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v.Spec.Local == nil {
		t.Fatalf("volume %s is no folder of a node", v.Name)
	}
	folder = v.Spec.Local.Path
	return filepath.Base(filepath.Dir(filepath.Dir(folder))), folder
}

// onNode runs a command among the mounts and processes of a node.
func onNode(t *testing.T, node string, args ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(os.Getenv("KUBECONFIG")), node, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	return must(t, "nsenter", append([]string{"-t", strings.TrimSpace(string(text)), "-m", "-p", "--"}, args...)...)
}
