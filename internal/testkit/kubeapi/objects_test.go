package kubeapi_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// reason fails the test unless err is a status with that reason.
func reason(t *testing.T, what string, err error, want metav1.StatusReason) {
	t.Helper()
	if got := apierrors.ReasonForError(err); err == nil || got != want {
		t.Errorf("%s: %v (reason %q), want reason %q", what, err, got, want)
	}
}

func holder(id string, renew time.Time) *coordinationv1.Lease {
	seconds := int32(3)
	at := metav1.NewMicroTime(renew)
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "leader"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &id, LeaseDurationSeconds: &seconds, RenewTime: &at},
	}
}

func TestLease(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		ctx, leases := t.Context(), e.CoordinationV1().Leases(e.namespace)
		renewed := time.Date(2026, 1, 2, 3, 4, 5, 678912000, time.UTC)

		_, err := leases.Get(ctx, "leader", metav1.GetOptions{})
		reason(t, "get of nothing", err, metav1.StatusReasonNotFound)
		first, err := leases.Create(ctx, holder("a", renewed), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if first.UID == "" || first.ResourceVersion == "" || first.CreationTimestamp.IsZero() || first.Namespace != e.namespace {
			t.Errorf("the new lease lacks what the server sets: %+v", first.ObjectMeta)
		}
		if !first.Spec.RenewTime.Time.Equal(renewed) {
			t.Errorf("renewed at %v, want %v", first.Spec.RenewTime, renewed)
		}
		_, err = leases.Create(ctx, holder("b", renewed), metav1.CreateOptions{})
		reason(t, "create again", err, metav1.StatusReasonAlreadyExists)

		mine, stale := first.DeepCopy(), first.DeepCopy()
		mine.Spec.HolderIdentity = ptr("c")
		second, err := leases.Update(ctx, mine, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if second.ResourceVersion == first.ResourceVersion || second.UID != first.UID || *second.Spec.HolderIdentity != "c" {
			t.Errorf("after the update: %+v", second)
		}
		_, err = leases.Update(ctx, stale, metav1.UpdateOptions{})
		reason(t, "update of an old state", err, metav1.StatusReasonConflict)
		same, err := leases.Update(ctx, second, metav1.UpdateOptions{})
		if err != nil || same.ResourceVersion != second.ResourceVersion {
			t.Errorf("an update that changes nothing: %v, revision %q after %q", err, same.ResourceVersion, second.ResourceVersion)
		}
		_, err = leases.Update(ctx, holder("d", renewed), metav1.UpdateOptions{})
		reason(t, "update without a revision", err, metav1.StatusReasonInvalid)
		bad := second.DeepCopy()
		bad.Spec.LeaseDurationSeconds = ptr(int32(0))
		_, err = leases.Update(ctx, bad, metav1.UpdateOptions{})
		reason(t, "update to no duration", err, metav1.StatusReasonInvalid)
	})
}

// TestLeaseMadeAnew: who still has the old lease does not get the new one, nor
// makes one.
func TestLeaseMadeAnew(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		ctx, leases := t.Context(), e.CoordinationV1().Leases(e.namespace)
		made, err := leases.Update(ctx, holder("a", time.Now()), metav1.UpdateOptions{})
		if err != nil {
			t.Fatalf("an update makes a lease: %v", err)
		}
		other := types.UID("another")
		err = leases.Delete(ctx, "leader", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
		reason(t, "deletion of another one", err, metav1.StatusReasonConflict)
		old := "1"
		err = leases.Delete(ctx, "leader", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &old}})
		reason(t, "deletion of an old state", err, metav1.StatusReasonConflict)
		if err := leases.Delete(ctx, "leader", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		err = leases.Delete(ctx, "leader", metav1.DeleteOptions{})
		reason(t, "deletion of nothing", err, metav1.StatusReasonNotFound)
		_, err = leases.Update(ctx, made, metav1.UpdateOptions{})
		reason(t, "update of a deleted lease", err, metav1.StatusReasonConflict)
		if _, err = leases.Create(ctx, holder("b", time.Now()), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err = leases.Update(ctx, made, metav1.UpdateOptions{})
		reason(t, "update of the lease before this one", err, metav1.StatusReasonConflict)
		_, err = leases.Create(ctx, made, metav1.CreateOptions{})
		if err == nil {
			t.Error("a lease with a resourceVersion was created")
		}
	})
}

// TestConcurrentUpdates: of those who write with one revision one wins, and no
// count is lost.
func TestConcurrentUpdates(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		const writers, each = 4, 10
		ctx, leases := t.Context(), e.CoordinationV1().Leases(e.namespace)
		start := holder("a", time.Now())
		start.Spec.LeaseTransitions = ptr(int32(0))
		if _, err := leases.Create(ctx, start, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		always := retry.DefaultRetry
		always.Steps = 1000
		var running sync.WaitGroup
		for range writers {
			running.Go(func() {
				for range each {
					err := retry.RetryOnConflict(always, func() error {
						lease, err := leases.Get(ctx, "leader", metav1.GetOptions{})
						if err != nil {
							return err
						}
						*lease.Spec.LeaseTransitions++
						_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		running.Wait()
		lease, err := leases.Get(ctx, "leader", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := *lease.Spec.LeaseTransitions; got != writers*each {
			t.Errorf("%d increments were counted, want %d", got, writers*each)
		}
	})
}

func TestPatch(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		pod := e.pod(t, "p")
		pods := e.CoreV1().Pods(e.namespace)
		do := func(how types.PatchType, format string, args ...any) (*corev1.Pod, error) {
			return pods.Patch(t.Context(), "p", how, fmt.Appendf(nil, format, args...), metav1.PatchOptions{})
		}
		now, err := do(types.MergePatchType, `{"metadata":{"labels":{"role":"leader"},"annotations":{"a":"1","b":"2"}}}`)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, now.Labels, map[string]string{"app": "x", "role": "leader"})
		now, err = do(types.StrategicMergePatchType, `{"metadata":{"annotations":{"a":null}}}`)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, now.Annotations, map[string]string{"b": "2"})
		now, err = do(types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"side","image":"three"}]}}`)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, []string{now.Spec.Containers[0].Image, now.Spec.Containers[1].Image}, []string{"one", "three"})

		_, err = do(types.MergePatchType, `{"metadata":{"resourceVersion":%q,"labels":{"role":"x"}}}`, pod.ResourceVersion)
		reason(t, "merge patch of an old state", err, metav1.StatusReasonConflict)
		_, err = do(types.MergePatchType, `{"metadata":{"uid":"another","labels":{"role":"x"}}}`)
		reason(t, "merge patch of another uid", err, metav1.StatusReasonInvalid)
		_, err = do(types.MergePatchType, `{"metadata":{"labels":{"role":"no good!"}}}`)
		reason(t, "a label that is none", err, metav1.StatusReasonInvalid)
		now, err = do(types.MergePatchType, `{"metadata":{"resourceVersion":%q,"labels":{"role":null}}}`, now.ResourceVersion)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, now.Labels, map[string]string{"app": "x"})

		swap := `[{"op":"test","path":"/metadata/labels/app","value":%q},{"op":"replace","path":"/metadata/labels/app","value":"y"}]`
		now, err = do(types.JSONPatchType, swap, "x")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, now.Labels, map[string]string{"app": "y"})
		_, err = do(types.JSONPatchType, swap, "x")
		reason(t, "JSON patch whose test fails", err, metav1.StatusReasonInvalid)
		_, err = do(types.JSONPatchType, `{}`)
		reason(t, "JSON patch that is none", err, metav1.StatusReasonBadRequest)
		_, err = do("application/x", `{}`)
		if !apierrors.IsUnsupportedMediaType(err) {
			t.Errorf("patch of an unknown type: %v", err)
		}
		_, err = pods.Patch(t.Context(), "q", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
		reason(t, "patch of nothing", err, metav1.StatusReasonNotFound)
		_, err = e.CoordinationV1().Leases(e.namespace).Patch(t.Context(), "q", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
		reason(t, "patch of no lease", err, metav1.StatusReasonNotFound)
	})
}

// TestPod: the status has a door of its own, the spec hardly any.
func TestPod(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		pods := e.CoreV1().Pods(e.namespace)
		pod := e.pod(t, "p", func(p *corev1.Pod) { p.Status.PodIP = "10.9.9.9" })
		equal(t, pod.Status.PodIP, "")
		equal(t, pod.Status.Phase, corev1.PodPending)

		both := pod.DeepCopy()
		both.ResourceVersion = "" // an update of a pod need not name one
		both.Status.PodIP, both.Labels["role"] = "10.9.9.9", "leader"
		pod, err := pods.Update(t.Context(), both, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, pod.Status.PodIP, "")
		equal(t, pod.Labels["role"], "leader")

		pod.Status.PodIP, pod.Status.PodIPs = "10.9.9.9", []corev1.PodIP{{IP: "10.9.9.9"}}
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
		pod, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, pod.Status.PodIP, "10.9.9.9")
		list, err := pods.List(t.Context(), metav1.ListOptions{FieldSelector: "status.podIP=10.9.9.9"})
		if err != nil || len(list.Items) != 1 {
			t.Errorf("pods of that address: %v, %v", list.Items, err)
		}

		other := pod.DeepCopy()
		other.Spec.Containers[0].Command = []string{"another"}
		_, err = pods.Update(t.Context(), other, metav1.UpdateOptions{})
		reason(t, "another command", err, metav1.StatusReasonInvalid)
		_, err = pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "empty"}}, metav1.CreateOptions{})
		reason(t, "a pod without a container", err, metav1.StatusReasonInvalid)
	})
}

// TestPodDeletion: a pod that has a node goes when its kubelet says so; one that
// has none goes at once.
func TestPodDeletion(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		ctx, pods := t.Context(), e.CoreV1().Pods(e.namespace)
		e.pod(t, "free")
		e.pod(t, "placed", func(p *corev1.Pod) { p.Spec.NodeName = "no-such-node" })
		for _, name := range []string{"free", "placed"} {
			if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := pods.Get(ctx, "free", metav1.GetOptions{})
		reason(t, "the pod without a node", err, metav1.StatusReasonNotFound)
		pod, err := pods.Get(ctx, "placed", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if pod.DeletionTimestamp == nil || *pod.DeletionGracePeriodSeconds != 30 {
			t.Errorf("the pod with a node is deleted at %v, after %v s", pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds)
		}
		patch(t, e, e.namespace, "placed", `{"metadata":{"labels":{"role":"leader"}}}`)
		if err := pods.Delete(ctx, "placed", metav1.DeleteOptions{GracePeriodSeconds: ptr(int64(0))}); err != nil {
			t.Fatal(err)
		}
		_, err = pods.Get(ctx, "placed", metav1.GetOptions{})
		reason(t, "the pod whose kubelet says that it is over", err, metav1.StatusReasonNotFound)
	})
}

func TestList(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		pods := e.CoreV1().Pods(e.namespace)
		e.pod(t, "b")
		last := e.pod(t, "a", func(p *corev1.Pod) { p.Labels["role"] = "leader" })
		names := func(opt metav1.ListOptions) []string {
			t.Helper()
			list, err := pods.List(t.Context(), opt)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for i := range list.Items {
				got = append(got, list.Items[i].Name)
			}
			return got
		}
		equal(t, names(metav1.ListOptions{}), []string{"a", "b"})
		equal(t, names(metav1.ListOptions{LabelSelector: "app=x,role=leader"}), []string{"a"})
		equal(t, names(metav1.ListOptions{LabelSelector: "role!=leader"}), []string{"b"})
		equal(t, names(metav1.ListOptions{LabelSelector: "app in (y,z)"}), []string{})
		equal(t, names(metav1.ListOptions{FieldSelector: "metadata.name=b"}), []string{"b"})
		equal(t, names(metav1.ListOptions{ResourceVersion: last.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}), []string{"a", "b"})
		_, err := pods.List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nothing=b"})
		reason(t, "unknown field", err, metav1.StatusReasonBadRequest)
		_, err = pods.List(t.Context(), metav1.ListOptions{LabelSelector: "a=b=c"})
		reason(t, "bad selector", err, metav1.StatusReasonBadRequest)
		_, err = pods.List(soon(t), metav1.ListOptions{ResourceVersion: "999999999999"})
		if status := apierrors.APIStatus(nil); err == nil || errors.As(err, &status) && !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
			t.Errorf("a revision that is not there yet: %v", err)
		}
		all, err := e.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.namespace=" + e.namespace})
		if err != nil || len(all.Items) != 2 {
			t.Errorf("pods of all namespaces: %d, %v", len(all.Items), err)
		}
	})
}

func ptr[T any](v T) *T { return &v }
