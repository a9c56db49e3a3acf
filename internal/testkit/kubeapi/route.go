package kubeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// maxBody is the API server's own bound of a request, in bytes.
const maxBody = 3 << 20

// call is one request, understood.
type call struct {
	kind            *kind
	namespace, name string
	status          bool // the subresource
	verb            string
	query           url.Values
	r               *http.Request
}

// parse understands a request, or says what the API server would.
func parse(all []*kind, r *http.Request) (call, error) {
	c := call{query: r.URL.Query(), r: r}
	rest := strings.Trim(r.URL.Path, "/")
	for _, k := range all {
		if inner, ok := strings.CutPrefix(rest, k.base()+"/"); ok && c.place(k, strings.Split(inner, "/")) {
			break
		}
	}
	if c.kind == nil {
		return c, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, schema.GroupResource{}, "",
			"the server could not find the requested resource", 0, true)
	}
	c.verb = verb(r.Method, c.name != "", watches(c.query))
	if c.verb == "" || c.status && c.verb != "get" && c.verb != "update" && c.verb != "patch" {
		return c, apierrors.NewMethodNotSupported(c.kind.groupResource(), strings.ToLower(r.Method))
	}
	return c, nil
}

// place takes [namespaces NS] RESOURCE [NAME [status]].
func (c *call) place(k *kind, path []string) bool {
	namespace := ""
	if len(path) > 2 && path[0] == "namespaces" {
		namespace, path = path[1], path[2:]
	}
	if path[0] != k.resource || len(path) > 3 || len(path) == 3 && path[2] != "status" || k.cluster && namespace != "" || !k.cluster && len(path) > 1 && namespace == "" {
		return false
	}
	c.kind, c.namespace = k, namespace
	if len(path) > 1 {
		c.name = path[1]
	}
	c.status = len(path) == 3
	return true
}

func watches(query url.Values) bool {
	on, err := strconv.ParseBool(query.Get("watch"))
	return err == nil && on
}

func verb(method string, named, watching bool) string {
	switch {
	case method == http.MethodGet && watching && !named:
		return "watch"
	case method == http.MethodGet && named:
		return "get"
	case method == http.MethodGet:
		return "list"
	case method == http.MethodPost && !named:
		return "create"
	case method == http.MethodPut && named:
		return "update"
	case method == http.MethodPatch && named:
		return "patch"
	case method == http.MethodDelete && named:
		return "delete"
	}
	return ""
}

// answer carries the call out. done is told the status before the client is.
func (c call) answer(s *store, w http.ResponseWriter, done func(status int)) error {
	reply := func(status int, body any) error {
		done(status)
		return writeJSON(w, status, body)
	}
	switch c.verb {
	case "list":
		sel, err := c.selection()
		if err != nil {
			return err
		}
		objects, revision := s.list(c.kind, sel)
		if err := c.fresh(revision); err != nil {
			return err
		}
		return reply(http.StatusOK, listOf(c.kind, objects, revision))
	case "watch":
		stream, timeout, err := c.stream(s, w)
		if err != nil {
			return err
		}
		done(http.StatusOK)
		return stream.run(c.r.Context(), timeout)
	case "delete":
		var opt metav1.DeleteOptions
		if err := c.body(&opt, true); err != nil {
			return err
		}
		if err := s.delete(c.kind, c.namespace, c.name, opt); err != nil {
			return err
		}
		return reply(http.StatusOK, metav1.Status{
			TypeMeta: statusType(), Status: metav1.StatusSuccess,
			Details: &metav1.StatusDetails{Name: c.name, Group: c.kind.gvk.Group, Kind: c.kind.resource},
		})
	}
	obj, status, err := c.one(s)
	if err != nil {
		return err
	}
	return reply(status, obj)
}

// one carries out what answers with one object.
func (c call) one(s *store) (obj object, status int, err error) {
	status = http.StatusOK
	var made bool
	switch c.verb {
	case "get":
		obj, err = s.get(c.kind, c.namespace, c.name)
	case "create":
		if obj, err = c.object(); err == nil {
			obj, err = s.create(c.kind, obj)
		}
		status = http.StatusCreated
	case "update":
		var next object
		if next, err = c.object(); err != nil {
			break
		}
		obj, made, err = s.update(update{
			kind: c.kind, namespace: c.namespace, name: c.name, status: c.status, uid: next.GetUID(),
			next: func(object) (object, error) { return next, nil },
		})
	case "patch":
		obj, err = c.patch(s)
	}
	if made {
		status = http.StatusCreated
	}
	return obj, status, err
}

func (c call) patch(s *store) (object, error) {
	patch, err := c.bytes()
	if err != nil {
		return nil, err
	}
	how, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return nil, unsupported(err.Error())
	}
	obj, _, err := s.update(update{
		kind: c.kind, namespace: c.namespace, name: c.name, status: c.status,
		next: func(old object) (object, error) {
			if old == nil { // a patch makes nothing
				return nil, apierrors.NewNotFound(c.kind.groupResource(), c.name)
			}
			return patched(c.kind, old, types.PatchType(how), patch)
		},
	})
	return obj, err
}

func (c call) bytes() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, apierrors.NewBadRequest(err.Error())
	case len(body) > maxBody:
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
	}
	return body, nil
}

// body reads JSON into what into points to.
func (c call) body(into any, optional bool) error {
	body, err := c.bytes()
	if err != nil || optional && len(body) == 0 {
		return err
	}
	if how, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || how != "application/json" {
		return unsupported("the body of the request was in an unknown format - accepted media types include: application/json")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

// object is the one that the client sends, which has to be where it sends it.
func (c call) object() (object, error) {
	obj := c.kind.empty()
	if err := c.body(obj, false); err != nil {
		return nil, err
	}
	if gvk := obj.GetObjectKind().GroupVersionKind(); !gvk.Empty() && gvk != c.kind.gvk {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s cannot be handled as a %s", gvk.Kind, c.kind.gvk.Kind))
	}
	obj.GetObjectKind().SetGroupVersionKind(c.kind.gvk)
	if obj.GetNamespace() == "" {
		obj.SetNamespace(c.namespace)
	}
	if c.namespace == "" && !c.kind.cluster || obj.GetNamespace() != c.namespace {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if c.name != "" && obj.GetName() != c.name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), c.name))
	}
	return obj, nil
}

func (c call) selection() (selection, error) {
	sel := selection{namespace: c.namespace}
	var errL, errF error
	sel.labels, errL = labels.Parse(c.query.Get("labelSelector"))
	sel.fields, errF = fields.ParseSelector(c.query.Get("fieldSelector"))
	if err := errors.Join(errL, errF); err != nil {
		return sel, apierrors.NewBadRequest(err.Error())
	}
	if unknown := c.kind.unknownField(sel.fields); unknown != "" {
		return sel, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", unknown))
	}
	return sel, nil
}

// revision is the one that the client names; 0 is none, or any.
func (c call) revision() (uint64, error) {
	text := c.query.Get("resourceVersion")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: %v", err))
	}
	return n, nil
}

// fresh tells whether the state at now will do for a list.
func (c call) fresh(now uint64) error {
	n, err := c.revision()
	switch {
	case err != nil:
		return err
	case n > now:
		late := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", n, now), 1)
		late.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
		return late
	case n > 0 && n < now && c.query.Get("resourceVersionMatch") == string(metav1.ResourceVersionMatchExact):
		return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", n, now))
	}
	return nil
}

func (c call) stream(s *store, w http.ResponseWriter) (*stream, time.Duration, error) {
	sel, err := c.selection()
	if err != nil {
		return nil, 0, err
	}
	after, err := c.revision()
	if err != nil {
		return nil, 0, err
	}
	flag := func(name string) bool { on, err := strconv.ParseBool(c.query.Get(name)); return err == nil && on }
	seconds, err := strconv.Atoi(c.query.Get("timeoutSeconds"))
	if err != nil || seconds < 0 {
		seconds = 0
	}
	return &stream{
		store: s, kind: c.kind, sel: sel, after: after, w: w,
		bookmarks: flag("allowWatchBookmarks"),
		initial:   flag("sendInitialEvents") || after == 0 && c.query.Get("sendInitialEvents") == "",
		marked:    flag("sendInitialEvents") && flag("allowWatchBookmarks"),
	}, time.Duration(seconds) * time.Second, nil
}

// listOf is the list as it is sent; its items do not name their kind.
func listOf(k *kind, objects []object, revision uint64) any {
	items := make([]object, 0, len(objects))
	for _, obj := range objects {
		item := copied(obj)
		item.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		items = append(items, item)
	}
	return struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ListMeta `json:"metadata"`
		Items           []object        `json:"items"`
	}{
		metav1.TypeMeta{Kind: k.gvk.Kind + "List", APIVersion: k.gvk.GroupVersion().String()},
		metav1.ListMeta{ResourceVersion: revisionText(revision)}, items,
	}
}

func statusType() metav1.TypeMeta { return metav1.TypeMeta{Kind: "Status", APIVersion: "v1"} }

// statusOf is an error as a client is told it.
func statusOf(err error) metav1.Status {
	var api apierrors.APIStatus
	if !errors.As(err, &api) {
		api = apierrors.NewInternalError(err)
	}
	status := api.Status()
	status.TypeMeta = statusType()
	return status
}

func writeJSON(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(append(slices.Clip(text), '\n'))
	return err
}
