package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// stranger is a pod of somebody who runs a Tile38. Its image need not be there: what the API
// server stores is looked at.
const stranger = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: shop}, annotations: {ANNOTATIONS}}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: tile38
      image: tile38/tile38:1.37.0
      args: [-h, 0.0.0.0, -p, "9851", -d, /data]
      ports: [{name: geo, containerPort: 9851}]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
`

// create makes such a pod and returns it as the API server has stored it.
func (r *release) create(t *testing.T, name, inject string) *core.Pod {
	t.Helper()
	file, annotations := filepath.Join(t.TempDir(), name+".yaml"), ""
	if inject != "" {
		annotations = "evenkeel.io/inject: " + inject
	}
	if err := os.WriteFile(file, []byte(strings.NewReplacer("NAME", name, "ANNOTATIONS", annotations).Replace(stranger)), 0o600); err != nil {
		t.Fatal(err)
	}
	r.kubectl(t, "create", "-f", file)
	return r.pod(t, name)
}

// injected says whether a sidecar stands in the pod.
func injected(pod *core.Pod) bool {
	named := func(c core.Container) bool {
		return strings.Contains(c.Name, "sidecar") || strings.Contains(c.Name, "evenkeel")
	}
	return slices.ContainsFunc(pod.Spec.InitContainers, named) || slices.ContainsFunc(pod.Spec.Containers, named)
}

// countsInjections: the injector tells what it did, and until when its certificate is valid.
func (r *release) countsInjections(t *testing.T) {
	t.Helper()
	pods := r.injectors(t)
	injected, valid := 0.0, 0
	for i := range pods {
		look := func(name string) float64 {
			v, err := lookAt(pods[i].Status.PodIP, name)
			if err != nil {
				t.Error(err)
			}
			return v
		}
		injected += look(`evenkeel_webhook_reviews_total{outcome="injected"}`)
		if look("evenkeel_certificate_not_after_timestamp_seconds") > float64(time.Now().Unix()) && look("evenkeel_webhook_certificates_failing") == 0 {
			valid++
		}
	}
	if injected < 1 || valid != len(pods) {
		t.Errorf("%d injectors with %d valid certificates have counted %v injections", len(pods), valid, injected)
	}
}

// TestInjection: the webhook puts the sidecar beside a Tile38 in a namespace that asks for it,
// keeps to the restricted standard, leaves out who says no, and does not stand in the way when it is down.
func TestInjection(t *testing.T) {
	r := install(t, "--set", "injector.enabled=true,replicas=1,minReplicasToWrite=0")
	must(t, "kubectl", "label", "namespace", r.namespace, "evenkeel.io/inject=enabled")
	until(t, "the API server trusts the webhook", func() bool {
		hooks, err := r.api.AdmissionregistrationV1().MutatingWebhookConfigurations().List(t.Context(), meta.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + releaseName})
		return err == nil && len(hooks.Items) == 1 && len(hooks.Items[0].Webhooks[0].ClientConfig.CABundle) > 0
	})
	n := 0
	until(t, "a pod with the sidecar", func() bool {
		n++
		return injected(r.create(t, "shop-"+strings.Repeat("x", n), ""))
	})
	r.countsInjections(t)
	pod := r.pod(t, "shop-"+strings.Repeat("x", n))
	for i := range pod.Spec.Containers {
		if c := &pod.Spec.Containers[i]; c.Name == "tile38" && !strings.Contains(strings.Join(c.Args, " "), "127.0.0.1") {
			t.Errorf("the Tile38 is reached beside the sidecar: %q", c.Args)
		}
	}
	if injected(r.create(t, "opted-out", "disabled")) {
		t.Error("injected into a pod that says no")
	}
	out := r.kubectl(t, "get", "deployment", "-o", "jsonpath={.items[*].metadata.name}")
	for _, name := range strings.Fields(out) {
		if strings.Contains(name, "injector") {
			r.kubectl(t, "scale", "deployment", name, "--replicas=0")
			until(t, "nobody who answers for the webhook", func() bool {
				return !strings.Contains(r.kubectl(t, "get", "pods", "-o", "name"), name)
			})
		}
	}
	until(t, "a pod without it, as nobody is there", func() bool {
		n++
		return !injected(r.create(t, "shop-"+strings.Repeat("x", n), ""))
	})
}
