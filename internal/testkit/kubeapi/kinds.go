package kubeapi

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// object is what the server keeps: a pointer to a typed object of the API.
type object interface {
	metav1.Object
	runtime.Object
}

// kind is what the server knows of one resource. Its functions are given objects
// of its own type.
type kind struct {
	resource string
	gvk      schema.GroupVersionKind
	empty    func() object

	cluster             bool // it is in no namespace
	createOnUpdate      bool // an update of what is not there makes it
	unconditionalUpdate bool // an update may come without a resourceVersion
	graceful            bool // deletion takes two steps

	// fields are what a field selector may name.
	fields func(object) fields.Set
	// create completes and checks a new object.
	create func(object) field.ErrorList
	// update completes and checks the successor of old; status tells the subresource.
	update func(obj, old object, status bool) field.ErrorList
}

func (k *kind) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: k.gvk.Group, Resource: k.resource}
}

// base is the path that the kind's resources begin with, in pieces.
func (k *kind) base() string {
	if k.gvk.Group == "" {
		return "api/" + k.gvk.Version
	}
	return "apis/" + k.gvk.Group + "/" + k.gvk.Version
}

func kinds() []*kind {
	return []*kind{
		{
			resource: "leases", gvk: coordinationv1.SchemeGroupVersion.WithKind("Lease"),
			empty:          func() object { return &coordinationv1.Lease{} },
			createOnUpdate: true,
			fields:         metaFields,
			create:         checkLease,
			update:         func(obj, _ object, _ bool) field.ErrorList { return checkLease(obj) },
		},
		{
			resource: "pods", gvk: corev1.SchemeGroupVersion.WithKind("Pod"),
			empty:               func() object { return &corev1.Pod{} },
			unconditionalUpdate: true, graceful: true,
			fields: podFields,
			create: createPod,
			update: updatePod,
		},
		{
			resource: "statefulsets", gvk: appsv1.SchemeGroupVersion.WithKind("StatefulSet"),
			empty:               func() object { return &appsv1.StatefulSet{} },
			unconditionalUpdate: true,
			fields:              metaFields,
			create:              createStatefulSet,
			update:              updateStatefulSet,
		},
		{
			resource: "secrets", gvk: corev1.SchemeGroupVersion.WithKind("Secret"),
			empty:               func() object { return &corev1.Secret{} },
			unconditionalUpdate: true,
			fields:              metaFields,
			create:              func(object) field.ErrorList { return nil },
			update:              updateSecret,
		},
		{
			resource: "mutatingwebhookconfigurations", gvk: admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"),
			empty:               func() object { return &admissionv1.MutatingWebhookConfiguration{} },
			cluster:             true,
			unconditionalUpdate: true,
			fields:              metaFields,
			create:              func(object) field.ErrorList { return nil },
			update:              func(object, object, bool) field.ErrorList { return nil },
		},
	}
}

func metaFields(o object) fields.Set {
	return fields.Set{"metadata.name": o.GetName(), "metadata.namespace": o.GetNamespace()}
}

func checkLease(o object) field.ErrorList {
	var faults field.ErrorList
	lease := as[*coordinationv1.Lease](o)
	spec := field.NewPath("spec")
	if d := lease.Spec.LeaseDurationSeconds; d != nil && *d <= 0 {
		faults = append(faults, field.Invalid(spec.Child("leaseDurationSeconds"), *d, "must be greater than 0"))
	}
	if n := lease.Spec.LeaseTransitions; n != nil && *n < 0 {
		faults = append(faults, field.Invalid(spec.Child("leaseTransitions"), *n, "must be greater than or equal to 0"))
	}
	return faults
}

func podFields(o object) fields.Set {
	pod := as[*corev1.Pod](o)
	set := metaFields(o)
	set["spec.nodeName"] = pod.Spec.NodeName
	set["spec.restartPolicy"] = string(pod.Spec.RestartPolicy)
	set["spec.serviceAccountName"] = pod.Spec.ServiceAccountName
	set["status.phase"] = string(pod.Status.Phase)
	set["status.podIP"] = ""
	if len(pod.Status.PodIPs) > 0 {
		set["status.podIP"] = pod.Status.PodIPs[0].IP
	}
	return set
}

// createPod drops the status, which is the kubelet's matter, and sets defaults.
func createPod(o object) field.ErrorList {
	pod := as[*corev1.Pod](o)
	pod.Generation = 1
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort}
	if pod.Spec.RestartPolicy == "" {
		pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	}
	if pod.Spec.TerminationGracePeriodSeconds == nil {
		grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
		pod.Spec.TerminationGracePeriodSeconds = &grace
	}
	if len(pod.Spec.Containers) == 0 {
		return field.ErrorList{field.Required(field.NewPath("spec", "containers"), "")}
	}
	return nil
}

func updatePod(o, was object, status bool) field.ErrorList {
	pod, old := as[*corev1.Pod](o), as[*corev1.Pod](was)
	if status {
		pod.Spec, pod.OwnerReferences = old.Spec, old.OwnerReferences
		return nil
	}
	pod.Status = old.Status
	a, b := fixedSpec(pod), fixedSpec(old)
	if !equality.Semantic.DeepEqual(a, b) {
		return field.ErrorList{field.Forbidden(field.NewPath("spec"), "pod updates may not change fields other than "+
			"`spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations`")}
	}
	if !equality.Semantic.DeepEqual(pod.Spec, old.Spec) {
		pod.Generation = old.Generation + 1
	}
	return nil
}

// fixedSpec is a pod's spec without what an update may change.
func fixedSpec(pod *corev1.Pod) *corev1.PodSpec {
	spec := pod.Spec.DeepCopy()
	for i := range spec.Containers {
		spec.Containers[i].Image = ""
	}
	for i := range spec.InitContainers {
		spec.InitContainers[i].Image = ""
	}
	spec.ActiveDeadlineSeconds, spec.Tolerations = nil, nil
	return spec
}

func updateSecret(o, was object, _ bool) field.ErrorList {
	secret, old := as[*corev1.Secret](o), as[*corev1.Secret](was)
	if old.Immutable != nil && *old.Immutable && !equality.Semantic.DeepEqual(secret.Data, old.Data) {
		return field.ErrorList{field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set")}
	}
	return nil
}

func createStatefulSet(o object) field.ErrorList {
	set := as[*appsv1.StatefulSet](o)
	set.Generation = 1
	set.Status = appsv1.StatefulSetStatus{}
	if set.Spec.Replicas == nil {
		one := int32(1)
		set.Spec.Replicas = &one
	}
	return nil
}

func updateStatefulSet(o, was object, status bool) field.ErrorList {
	set, old := as[*appsv1.StatefulSet](o), as[*appsv1.StatefulSet](was)
	if status {
		set.Spec = old.Spec
		return nil
	}
	set.Status = old.Status
	if !equality.Semantic.DeepEqual(set.Spec, old.Spec) {
		set.Generation = old.Generation + 1
	}
	return nil
}

// checkMeta is what all kinds are held to.
func checkMeta(obj, old object, namespaced bool) field.ErrorList {
	at := field.NewPath("metadata")
	faults := validation.ValidateObjectMetaAccessor(obj, namespaced, validation.NameIsDNSSubdomain, at)
	if old != nil {
		faults = append(faults, validation.ValidateObjectMetaAccessorUpdate(obj, old, at)...)
	}
	return faults
}

// as is obj as the type that its kind's empty makes.
func as[T object](obj object) T {
	typed, ok := obj.(T)
	if !ok {
		panic("kubeapi: an object of another kind")
	}
	return typed
}

// copied is a copy that shares nothing.
func copied(obj object) object {
	c, ok := obj.DeepCopyObject().(object)
	if !ok {
		panic("kubeapi: a copy of another kind")
	}
	return c
}

// unknownField is the first field of a selector that a kind has not.
func (k *kind) unknownField(sel fields.Selector) string {
	set := k.fields(k.empty())
	for _, r := range sel.Requirements() {
		if !set.Has(r.Field) {
			return r.Field
		}
	}
	return ""
}

// podGrace is how many seconds a pod that is deleted is given; asked is nil when
// the client says nothing.
func podGrace(o object, asked *int64) int64 {
	pod := as[*corev1.Pod](o)
	over := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	switch {
	case pod.Spec.NodeName == "" || over:
		return 0
	case asked != nil:
		return max(*asked, 0)
	case pod.DeletionGracePeriodSeconds != nil:
		return *pod.DeletionGracePeriodSeconds
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		return *pod.Spec.TerminationGracePeriodSeconds
	}
	return 0
}
