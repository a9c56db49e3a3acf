package kubeapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
)

// optimisticLock is what the API server says of an old resourceVersion.
const optimisticLock = "the object has been modified; please apply your changes to the latest version and try again"

// firstRevision is that of an empty server; a new etcd has written a little, too.
const firstRevision = 100

type key struct{ resource, namespace, name string }

// store holds the objects, and what happened to them. Objects in it are never
// changed: a write puts a new one in place.
type store struct {
	mu        sync.Mutex
	revision  uint64 // of the newest write
	objects   map[key]object
	history   []change      // oldest first
	compacted uint64        // the newest revision that the history has lost
	news      chan struct{} // closed, and made anew, when watches have to look
	bookmarks int           // how often bookmarks were asked for
	endings   int           // how often watches were ended
	hooks     []func(watch.EventType, runtime.Object)
}

// change is one write: old is nil before a creation, now nil after a deletion.
type change struct {
	revision uint64
	kind     *kind
	old, now object
	last     object // the deleted object, at the revision of its deletion
}

func newStore() *store {
	return &store{revision: firstRevision, objects: make(map[key]object), news: make(chan struct{})}
}

// wake has all watches look. The caller holds mu.
func (s *store) wake() {
	close(s.news)
	s.news = make(chan struct{})
}

func revisionText(n uint64) string { return strconv.FormatUint(n, 10) }

// put makes obj the state at a new revision. The caller holds mu.
func (s *store) put(k *kind, obj, old object) object {
	s.revision++
	obj.SetResourceVersion(revisionText(s.revision))
	s.objects[key{k.resource, obj.GetNamespace(), obj.GetName()}] = obj
	s.history = append(s.history, change{revision: s.revision, kind: k, old: old, now: obj})
	event := watch.Added
	if old != nil {
		event = watch.Modified
	}
	s.tell(event, obj)
	return obj
}

// remove deletes old at a new revision. The caller holds mu.
func (s *store) remove(k *kind, old object) {
	s.revision++
	last := copied(old)
	last.SetResourceVersion(revisionText(s.revision))
	delete(s.objects, key{k.resource, old.GetNamespace(), old.GetName()})
	s.history = append(s.history, change{revision: s.revision, kind: k, old: old, last: last})
	s.tell(watch.Deleted, last)
}

// tell runs the hooks and the watches. The caller holds mu.
func (s *store) tell(event watch.EventType, obj object) {
	for _, hook := range s.hooks {
		hook(event, obj.DeepCopyObject())
	}
	s.wake()
}

func (s *store) get(k *kind, namespace, name string) (object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj, ok := s.objects[key{k.resource, namespace, name}]
	if !ok {
		return nil, apierrors.NewNotFound(k.groupResource(), name)
	}
	return obj, nil
}

// list is the state of a kind, by name, and its revision. No namespace is all.
func (s *store) list(k *kind, sel selection) ([]object, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(k, sel), s.revision
}

// state is list under mu.
func (s *store) state(k *kind, sel selection) []object {
	keys := slices.SortedFunc(maps.Keys(s.objects), func(a, b key) int {
		return strings.Compare(a.namespace+"/"+a.name, b.namespace+"/"+b.name)
	})
	found := make([]object, 0, len(keys))
	for _, at := range keys {
		if obj := s.objects[at]; at.resource == k.resource && sel.matches(k, obj) {
			found = append(found, obj)
		}
	}
	return found
}

func (s *store) create(k *kind, obj object) (object, error) {
	if obj.GetResourceVersion() != "" {
		return nil, apierrors.NewInternalError(errors.New("resourceVersion should not be set on objects to be created"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.createLocked(k, obj)
}

func (s *store) createLocked(k *kind, obj object) (object, error) {
	if obj.GetName() == "" && obj.GetGenerateName() != "" {
		obj.SetName(obj.GetGenerateName() + string(uuid.NewUUID())[:5])
	}
	if _, there := s.objects[key{k.resource, obj.GetNamespace(), obj.GetName()}]; there {
		return nil, apierrors.NewAlreadyExists(k.groupResource(), obj.GetName())
	}
	obj.SetUID(uuid.NewUUID())
	obj.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetGeneration(0)
	obj.SetManagedFields(nil)
	if faults := append(k.create(obj), checkMeta(obj, nil, !k.cluster)...); len(faults) > 0 {
		return nil, apierrors.NewInvalid(k.gvk.GroupKind(), obj.GetName(), faults)
	}
	return s.put(k, obj, nil), nil
}

// update is one change of one object.
type update struct {
	kind            *kind
	namespace, name string
	status          bool      // the subresource
	uid             types.UID // that the object has to have; empty is any
	// next makes the new state from the old one, which it may not change; nil when
	// there is none.
	next func(old object) (object, error)
}

// update says what is there afterwards, and whether it was made.
func (s *store) update(u update) (object, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := u.kind
	old, there := s.objects[key{k.resource, u.namespace, u.name}]
	if u.uid != "" && (!there || old.GetUID() != u.uid) {
		return nil, false, uidConflict(u, old)
	}
	if !there && (!k.createOnUpdate || u.status) {
		return nil, false, apierrors.NewNotFound(k.groupResource(), u.name)
	}
	obj, err := u.next(old)
	if err != nil {
		return nil, false, err
	}
	if !there {
		obj.SetResourceVersion("")
		obj, err = s.createLocked(k, obj)
		return obj, err == nil, err
	}
	obj, err = s.replace(u, obj, old)
	return obj, false, err
}

func uidConflict(u update, old object) error {
	var has types.UID
	if old != nil {
		has = old.GetUID()
	}
	return apierrors.NewConflict(u.kind.groupResource(), u.name,
		fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", u.uid, has)) //nolint:staticcheck // the API server's own words
}

// replace puts obj in the place of old, if it may and differs.
func (s *store) replace(u update, obj, old object) (object, error) {
	k := u.kind
	switch obj.GetResourceVersion() {
	case old.GetResourceVersion():
	case "":
		if !k.unconditionalUpdate {
			at := field.NewPath("metadata", "resourceVersion")
			return nil, apierrors.NewInvalid(schema.GroupKind{Group: k.gvk.Group, Kind: k.resource}, u.name,
				field.ErrorList{field.Invalid(at, 0, "must be specified for an update")})
		}
		obj.SetResourceVersion(old.GetResourceVersion())
	default:
		return nil, apierrors.NewConflict(k.groupResource(), u.name, errors.New(optimisticLock))
	}
	if obj.GetUID() == "" {
		obj.SetUID(old.GetUID())
	}
	obj.SetGeneration(old.GetGeneration())
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	obj.SetManagedFields(nil)
	if faults := append(k.update(obj, old, u.status), checkMeta(obj, old, !k.cluster)...); len(faults) > 0 {
		return nil, apierrors.NewInvalid(k.gvk.GroupKind(), u.name, faults)
	}
	same, err := equal(obj, old)
	if err != nil || same {
		return old, err
	}
	return s.put(k, obj, old), nil
}

// equal tells whether two states are one in what is stored.
func equal(a, b object) (bool, error) {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return bytes.Equal(x, y), errors.Join(errX, errY)
}

// delete removes an object, or says that it is going to be removed.
func (s *store) delete(k *kind, namespace, name string, opt metav1.DeleteOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.objects[key{k.resource, namespace, name}]
	if !ok {
		return apierrors.NewNotFound(k.groupResource(), name)
	}
	if p := opt.Preconditions; p != nil {
		if p.UID != nil && *p.UID != old.GetUID() {
			return apierrors.NewConflict(k.groupResource(), name, fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, old.GetUID()))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion() {
			return apierrors.NewConflict(k.groupResource(), name, fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, old.GetResourceVersion()))
		}
	}
	if !k.graceful {
		s.remove(k, old)
		return nil
	}
	grace := podGrace(old, opt.GracePeriodSeconds)
	if had := old.GetDeletionGracePeriodSeconds(); had != nil && *had <= grace {
		return nil // a deletion is only ever brought forward
	}
	obj := copied(old)
	at := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second).Truncate(time.Second))
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&grace)
	obj.SetGeneration(old.GetGeneration() + 1)
	s.put(k, obj, old)
	if grace == 0 { // watches have seen what was going to be
		s.remove(k, obj)
	}
	return nil
}
