package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"evenkeel/internal/testkit/history"
	"evenkeel/internal/testkit/kubeapi"
	"evenkeel/pkg/kube"
)

// election is a cluster of sidecars that elect their leader at a played API server.
type election struct {
	t    *testing.T
	api  *kubeapi.Server
	args []string

	pods map[string]*elected

	mu       sync.Mutex
	labelled map[string]bool // pods that are labelled leader
}

// elected is one of its pods.
type elected struct {
	*server
	name, dir string
}

// elect starts pods a, b and c. Reads go to the leader.
func elect(t *testing.T, args ...string) *election {
	e := &election{t: t, api: kubeapi.Start(t), args: args, pods: map[string]*elected{}, labelled: map[string]bool{}}
	e.api.OnUpdate(func(event watch.EventType, obj runtime.Object) {
		pod, ok := obj.(*core.Pod)
		if !ok {
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.labelled, pod.Name)
		if event != watch.Deleted && pod.Labels[kube.LabelRole] == string(kube.Leading) {
			e.labelled[pod.Name] = true
		}
		if len(e.labelled) > 1 {
			t.Errorf("labelled leader at once: %v", e.labelled)
		}
	})
	for _, name := range []string{"a", "b", "c"} {
		e.api.AddPod("geo", name, "127.0.0.1", map[string]string{"app": "evenkeel"})
		e.pods[name] = &elected{name: name, dir: t.TempDir()}
	}
	for _, p := range e.pods {
		e.start(p)
	}
	for _, p := range e.pods {
		e.waitReady(p)
	}
	return e
}

// start starts a pod, or starts it again.
func (e *election) start(p *elected) {
	file := filepath.Join(e.t.TempDir(), "kubeconfig")
	config := e.api.Config(p.name)
	if err := clientcmd.WriteToFile(api.Config{
		Clusters:  map[string]*api.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData, InsecureSkipTLSVerify: config.Insecure}},
		AuthInfos: map[string]*api.AuthInfo{"u": {Token: config.BearerToken}},
		Contexts:  map[string]*api.Context{"x": {Cluster: "c", AuthInfo: "u"}}, CurrentContext: "x",
	}, file); err != nil {
		e.t.Fatal(err)
	}
	listen := "127.0.0.1:0"
	if p.server != nil {
		listen = p.addr // as a container that is started again in its pod
	}
	p.server = start(e.t, p.dir, append([]string{
		"--listen", listen,
		"--elect", "--kubeconfig", file, "--namespace", "geo", "--pod-name", p.name, "--pod-ip", "127.0.0.1", "--peer-selector", "app=evenkeel",
		"--read-from", "leader", "--election-gather", "500ms",
	}, e.args...)...)
}

// leader waits until one pod leads, in its own words and by its label, and returns it.
func (e *election) leader() *elected {
	e.t.Helper()
	var leader *elected
	e.until("one pod leads", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for name := range e.labelled {
			leader = e.pods[name]
		}
		return len(e.labelled) == 1
	})
	return leader
}

// waitReady waits until a pod is ready.
func (e *election) waitReady(p *elected) {
	e.t.Helper()
	p.waitFor("readiness of "+p.name, p.ready)
}

// other returns a pod that is not p.
func (e *election) other(p *elected) *elected {
	for _, name := range []string{"a", "b", "c"} {
		if name != p.name {
			return e.pods[name]
		}
	}
	return nil
}

func (e *election) until(what string, ok func() bool) {
	e.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("waited %s for: %s", patience, what)
		}
	}
}

// level waits until all pods are ready and have the same.
func (e *election) level() {
	e.t.Helper()
	leader := e.leader()
	for _, p := range e.pods {
		e.waitReady(p)
		level(e.t, leader.server, p.server)
	}
}

// keys are the registers that traffic writes.
const keys = 5

// traffic writes and reads through all pods until stop is called.
func (e *election) traffic(h *history.History) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	client := 0
	for _, p := range e.pods {
		for range 2 {
			client++
			id := client
			wg.Go(func() { e.client(ctx, h, p, id) })
		}
	}
	return func() { cancel(); wg.Wait() }
}

func (e *election) client(ctx context.Context, h *history.History, p *elected, id int) {
	rdb := redis.NewClient(&redis.Options{
		Addr: p.addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1, ReadTimeout: 10 * time.Second,
	})
	defer func() { _ = rdb.Close() }()
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("k%d", rand.IntN(keys))
		if rand.IntN(2) == 0 {
			value := fmt.Sprintf("%d-%d", id, n)
			h.Write(id, key, value, func() history.Outcome {
				return history.Known(rdb.Do(context.Background(), "SET", "reg", key, "STRING", value).Err())
			})
		} else {
			h.Read(id, key, func() (string, history.Outcome) {
				v, err := rdb.Do(context.Background(), "GET", "reg", key).Text()
				if errors.Is(err, redis.Nil) {
					return "", history.Done
				}
				return v, history.Known(err)
			})
		}
		time.Sleep(2 * time.Millisecond) // six clients are not to be what is measured
	}
}

// check reads everything once more at the leader and checks the history.
func (e *election) check(h *history.History) {
	e.t.Helper()
	leader := e.leader()
	for i := range keys {
		key := fmt.Sprintf("k%d", i)
		h.Read(0, key, func() (string, history.Outcome) {
			v, err := leader.rdb.Do(context.Background(), "GET", "reg", key).Text()
			if errors.Is(err, redis.Nil) {
				return "", history.Done
			}
			if err != nil {
				e.t.Errorf("the last look at %s: %v", key, err)
			}
			return v, history.Known(err)
		})
	}
	done, not, unknown := h.Counts()
	e.t.Logf("%d operations done, %d refused, %d of which nothing is known; no write for %s at most", done, not, unknown, h.Gap().Round(time.Millisecond))
	if done < 100 {
		e.t.Errorf("%d operations are not much of a history", done)
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("evenkeel-history-%d.html", os.Getpid()))
	if err := h.Check(2*time.Minute, file); err != nil {
		e.t.Error(err)
	}
}

// TestElected: a write to any pod reaches the leader, and then all of them.
func TestElected(t *testing.T) {
	e := elect(t)
	for name, p := range e.pods {
		p.words("SET fleet " + name + " POINT 1 1")
	}
	for name, p := range e.pods {
		for other := range e.pods {
			if n := p.words("EXISTS fleet " + other); n != int64(1) {
				t.Errorf("pod %s does not have what was written through %s", name, other)
			}
		}
	}
	e.level()
	leader := e.leader()
	if err := leader.rdb.Do(t.Context(), "FOLLOW", "127.0.0.1", "1").Err(); err == nil || !strings.Contains(err.Error(), "elected") {
		t.Errorf("FOLLOW where the leader is elected: %v", err)
	}
}

// TestElectedKilled: the leader dies under load, without a word.
func TestElectedKilled(t *testing.T) {
	e := elect(t, "--min-replicas-to-write", "1")
	h := history.New()
	stop := e.traffic(h)
	e.until("traffic", func() bool { done, _, _ := h.Counts(); return done > 500 })
	old := e.leader()
	h.Mark()
	old.kill()
	e.until("another leader", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return !e.labelled[old.name] && len(e.labelled) == 1 })
	done, _, _ := h.Counts()
	e.until("traffic goes on", func() bool { now, _, _ := h.Counts(); return now > done+300 })
	t.Logf("no write for %s", h.Gap())
	e.start(old)
	e.waitReady(old)
	stop()
	e.check(h)
	e.level()
}

// TestElectedStopped: the leader stands still, another one is elected, and the first one wakes up.
func TestElectedStopped(t *testing.T) {
	e := elect(t, "--min-replicas-to-write", "1")
	h := history.New()
	stop := e.traffic(h)
	e.until("traffic", func() bool { done, _, _ := h.Counts(); return done > 500 })
	old := e.leader()
	if err := old.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	e.until("another leader", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return !e.labelled[old.name] && len(e.labelled) == 1 })
	done, _, _ := h.Counts()
	e.until("traffic goes on", func() bool { now, _, _ := h.Counts(); return now > done+300 })
	// What clients ask it now is the first thing that it sees when it wakes up.
	asked := e.askStopped(h, old)
	if err := old.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	asked.Wait()
	e.waitReady(old)
	done, _, _ = h.Counts()
	e.until("traffic goes on", func() bool { now, _, _ := h.Counts(); return now > done+300 })
	stop()
	e.check(h)
	e.level()
}

// askStopped reads through new connections to a pod that stands still. It returns when the
// questions are on their way.
func (e *election) askStopped(h *history.History, p *elected) *sync.WaitGroup {
	e.t.Helper()
	var answered, sent sync.WaitGroup
	for i := range 4 * keys {
		key := fmt.Sprintf("k%d", i%keys)
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			e.t.Fatal(err)
		}
		sent.Add(1)
		answered.Go(func() {
			defer func() { _ = conn.Close() }()
			h.Read(100+i, key, func() (string, history.Outcome) {
				_, err := fmt.Fprintf(conn, "*3\r\n$3\r\nGET\r\n$3\r\nreg\r\n$2\r\n%s\r\n", key)
				sent.Done()
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				r := bufio.NewReader(conn)
				line, rerr := r.ReadString('\n')
				if err != nil || rerr != nil || line[0] == '-' {
					return "", history.Unknown
				}
				if line == "$-1\r\n" {
					return "", history.Done
				}
				value, rerr := r.ReadString('\n')
				if rerr != nil {
					return "", history.Unknown
				}
				return strings.TrimSuffix(value, "\r\n"), history.Done
			})
		})
	}
	sent.Wait()
	return &answered
}

// TestElectedAlone: without the API server the leader goes on as long as all pods confirm it.
func TestElectedAlone(t *testing.T) {
	e := elect(t)
	leader := e.leader()
	for name := range e.pods {
		e.api.Cut(name)
	}
	// Longer than the Lease: somebody must have stood in.
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		leader.words("SET fleet a POINT 1 1")
	}
	lost := e.other(leader)
	lost.kill()
	e.until("one pod is missing: writes are refused", func() bool {
		err := leader.rdb.Do(t.Context(), "SET", "fleet", "a", "POINT", "1", "1").Err()
		return err != nil && strings.Contains(err.Error(), "cannot confirm")
	})
	for name := range e.pods {
		e.api.Heal(name)
	}
	e.start(lost)
	e.until("writes", func() bool { return leader.rdb.Do(t.Context(), "SET", "fleet", "a", "POINT", "1", "1").Err() == nil })
	e.level()
}

// TestPromoteCommand: leadership goes to another pod without a failed operation.
func TestPromoteCommand(t *testing.T) {
	e := elect(t)
	h := history.New()
	stop := e.traffic(h)
	e.until("traffic", func() bool { done, _, _ := h.Counts(); return done > 500 })
	h.Mark()
	for range 3 {
		old := e.leader()
		to := e.other(old)
		out, err := exec.Command(binary, "promote", "--pod", to.name, "--admin", to.admin).CombinedOutput()
		if err != nil || !strings.Contains(string(out), to.name+" leads, after ") {
			t.Errorf("promote says %q, %v", out, err)
		}
		t.Log(strings.TrimSpace(string(out)))
		done, _, _ := h.Counts()
		e.until("traffic goes on", func() bool { now, _, _ := h.Counts(); return now > done+200 })
		if now := e.leader(); now != to {
			t.Fatalf("pod %s leads, not %s", now.name, to.name)
		}
	}
	t.Logf("no write for %s at most", h.Gap())
	stop()
	if _, not, unknown := h.Counts(); not+unknown > 0 {
		t.Errorf("%d operations were refused, of %d nothing is known", not, unknown)
	}
	e.check(h)
	e.level()
}

// TestElectedTerminated: a leader that is told to end hands over first.
func TestElectedTerminated(t *testing.T) {
	e := elect(t)
	old := e.leader()
	via := e.other(old)
	h := history.New()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for id := range 3 {
		wg.Go(func() { e.client(ctx, h, via, id+1) })
	}
	e.until("traffic", func() bool { done, _, _ := h.Counts(); return done > 300 })
	h.Mark()
	old.stop()
	done, _, _ := h.Counts()
	e.until("traffic goes on", func() bool { now, _, _ := h.Counts(); return now > done+200 })
	cancel()
	wg.Wait()
	if _, not, unknown := h.Counts(); not+unknown > 0 {
		t.Errorf("%d operations were refused, of %d nothing is known", not, unknown)
	}
	t.Logf("no write for %s at most", h.Gap())
	e.start(old)
	e.waitReady(old)
	e.check(h)
	e.level()
}

// TestElectedEmpty: a pod whose volume was lost is filled, and never leads before.
func TestElectedEmpty(t *testing.T) {
	e := elect(t)
	leader := e.leader()
	leader.fill("fleet", 1000)
	e.level()
	leader.kill()
	if err := os.RemoveAll(leader.dir); err != nil {
		t.Fatal(err)
	}
	e.start(leader)
	e.waitReady(leader)
	e.level()
	if now := e.leader(); now == leader {
		t.Error("an empty pod was elected")
	}
}
