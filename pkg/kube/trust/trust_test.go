package trust

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"evenkeel/internal/testkit/kubeapi"
	"evenkeel/pkg/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var where = Options{Namespace: "shop", Secret: "injector-certs", Webhook: "injector"}

func replica(t *testing.T, s *kubeapi.Server, name string) *Store {
	t.Helper()
	config := s.Config(name)
	config.QPS = -1
	store, err := New(config, where)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestStore: two replicas on one Secret and one configuration, as the chart makes them.
func TestStore(t *testing.T) {
	s := kubeapi.Start(t)
	ctx := t.Context()
	a, b := replica(t, s, "a"), replica(t, s, "b")
	if _, _, err := a.Load(ctx); !apierrors.IsNotFound(err) {
		t.Errorf("without a Secret: %v", err)
	}
	if err := a.Trust(ctx, []byte("x")); !apierrors.IsNotFound(err) {
		t.Errorf("without a configuration: %v", err)
	}
	if _, err := s.Client().CoreV1().Secrets("shop").Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: where.Secret, Labels: map[string]string{"app": "kept"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	configs := s.Client().AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := configs.Create(ctx, &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: where.Webhook},
		Webhooks:   []admissionv1.MutatingWebhook{{Name: "namespaces.evenkeel.io"}, {Name: "pods.evenkeel.io"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, version, err := a.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"tls.crt": {1, 2, 3}}
	if err := b.Save(ctx, want, version); err != nil {
		t.Fatal(err)
	}
	if err := a.Save(ctx, map[string][]byte{"tls.crt": {9}}, version); !errors.Is(err, webhook.ErrConflict) {
		t.Errorf("the slower one: %v", err)
	}
	got, _, err := a.Load(ctx)
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%v, %v", got, err)
	}
	secret, err := s.Client().CoreV1().Secrets("shop").Get(ctx, where.Secret, metav1.GetOptions{})
	if err != nil || secret.Labels["app"] != "kept" {
		t.Errorf("%v, %v", secret, err)
	}
	for range 2 {
		if err := a.Trust(ctx, []byte("authorities")); err != nil {
			t.Fatal(err)
		}
	}
	config, err := configs.Get(ctx, where.Webhook, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range config.Webhooks {
		if string(w.ClientConfig.CABundle) != "authorities" {
			t.Errorf("%s trusts %q", w.Name, w.ClientConfig.CABundle)
		}
	}
	updates := 0
	for _, r := range s.Requests("a") {
		if r.Verb == "update" && r.Resource == "mutatingwebhookconfigurations" {
			updates++
		}
		if r.Verb != "get" && r.Verb != "update" {
			t.Errorf("%s: the chart's role does not allow it", r)
		}
	}
	if updates != 1 {
		t.Errorf("%d updates of the configuration, want 1", updates)
	}
}

// TestRotator: the whole on an API server: two replicas agree, and a caBundle that was
// lost comes back.
func TestRotator(t *testing.T) {
	s := kubeapi.Start(t)
	ctx := t.Context()
	if _, err := s.Client().CoreV1().Secrets("shop").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: where.Secret}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	configs := s.Client().AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := configs.Create(ctx, &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: where.Webhook}, Webhooks: []admissionv1.MutatingWebhook{{Name: "pods.evenkeel.io"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, name := range []string{"a", "b"} {
		r, err := webhook.NewRotator(webhook.RotateOptions{Store: replica(t, s, name), Names: []string{"injector.shop.svc"}, Every: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Step(ctx); err != nil {
			t.Fatal(err)
		}
		c, err := r.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, string(c.Certificate[0]))
		config, err := configs.Get(ctx, where.Webhook, metav1.GetOptions{})
		if err != nil || !strings.Contains(string(config.Webhooks[0].ClientConfig.CABundle), "BEGIN CERTIFICATE") {
			t.Fatalf("%+v, %v", config, err)
		}
		config.Webhooks[0].ClientConfig.CABundle = nil // as an upgrade might
		if _, err := configs.Update(ctx, config, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if shown[0] != shown[1] {
		t.Error("the replicas show different certificates")
	}
}

func TestOptions(t *testing.T) {
	err := Options{}.Validate()
	for _, name := range []string{"namespace", "secret", "webhook configuration"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("nothing about %s: %v", name, err)
		}
	}
}
