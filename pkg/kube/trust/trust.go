package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"

	"evenkeel/pkg/webhook"
)

// Options say where.
type Options struct {
	Namespace string // of the Secret
	Secret    string
	Webhook   string // name of the MutatingWebhookConfiguration
}

// Validate lists every fault.
func (o Options) Validate() error {
	var faults []error
	for _, f := range [][2]string{{"namespace", o.Namespace}, {"secret", o.Secret}, {"webhook configuration", o.Webhook}} {
		if f[1] == "" {
			faults = append(faults, fmt.Errorf("%s: want a name", f[0]))
		}
	}
	return errors.Join(faults...)
}

// Store is a webhook.Store.
type Store struct {
	opt    Options
	client kubernetes.Interface
}

var _ webhook.Store = (*Store)(nil)

// requestTimeout bounds one request to the API server.
const requestTimeout = 10 * time.Second

// InCluster is how a pod reaches its API server, or, when kubeconfig names a file, how
// that file says.
func InCluster(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("how to reach the API server: %w", err)
	}
	return config, nil
}

// New returns a Store that has not asked yet.
func New(config *rest.Config, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.Timeout = requestTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("a client of the API server: %w", err)
	}
	return &Store{opt: o, client: client}, nil
}

// Load returns the Secret's data and its resourceVersion.
func (s *Store) Load(ctx context.Context) (map[string][]byte, string, error) {
	secret, err := s.client.CoreV1().Secrets(s.opt.Namespace).Get(ctx, s.opt.Secret, metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	return secret.Data, secret.ResourceVersion, nil
}

// Save replaces the data of the version.
func (s *Store) Save(ctx context.Context, data map[string][]byte, version string) error {
	secrets := s.client.CoreV1().Secrets(s.opt.Namespace)
	secret, err := secrets.Get(ctx, s.opt.Secret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	// Labels and owners are whose they are; the version is the one that was judged.
	secret.Data, secret.ResourceVersion = data, version
	if _, err = secrets.Update(ctx, secret, metav1.UpdateOptions{}); apierrors.IsConflict(err) {
		return webhook.ErrConflict
	}
	return err
}

// Trust writes the caBundle of every webhook, where it is another one.
func (s *Store) Trust(ctx context.Context, authorities []byte) error {
	configs := s.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		config, err := configs.Get(ctx, s.opt.Webhook, metav1.GetOptions{})
		if err != nil {
			return err
		}
		changed := false
		for i := range config.Webhooks {
			c := &config.Webhooks[i].ClientConfig
			if !bytes.Equal(c.CABundle, authorities) {
				c.CABundle, changed = authorities, true
			}
		}
		if changed {
			_, err = configs.Update(ctx, config, metav1.UpdateOptions{})
		}
		return err
	})
}
