package kubeapi_test

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"evenkeel/internal/testkit/kubeapi"
)

// realCluster is the variable that names the kubeconfig of a real cluster.
const realCluster = "EVENKEEL_KUBECONFIG"

// env is an API server, played or real, and a namespace of the test's own.
type env struct {
	kubernetes.Interface
	namespace string
}

// each runs a test on the played server and on a real one.
func each(t *testing.T, test func(t *testing.T, e env)) {
	t.Run("played", func(t *testing.T) {
		test(t, env{kubeapi.Start(t).Client(), "ns"})
	})
	t.Run("real", func(t *testing.T) {
		file := os.Getenv(realCluster)
		if file == "" {
			t.Skipf("%s does not name the kubeconfig of a cluster", realCluster)
		}
		config, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			t.Fatal(err)
		}
		config.QPS = -1
		transport, err := rest.HTTPClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(transport.CloseIdleConnections)
		client, err := kubernetes.NewForConfigAndClient(config, transport)
		if err != nil {
			t.Fatal(err)
		}
		test(t, env{client, realNamespace(t, client)})
	})
}

// realNamespace is removed after the test.
func realNamespace(t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "kubeapi-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("namespace %s: %v", ns.Name, err)
		}
	})
	// Pods are admitted when the account is there.
	w, err := client.CoreV1().ServiceAccounts(ns.Name).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=default"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	next(t, w.ResultChan(), "the default service account")
	return ns.Name
}

// pod makes one that nobody schedules.
func (e env) pod(t *testing.T, name string, change ...func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	no := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "x"}},
		Spec: corev1.PodSpec{
			SchedulerName: "none", AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "main", Image: "one", Command: []string{"run"}}, {Name: "side", Image: "two"}},
		},
	}
	for _, f := range change {
		f(pod)
	}
	pod, err := e.CoreV1().Pods(e.namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// soon bounds what should hang.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
