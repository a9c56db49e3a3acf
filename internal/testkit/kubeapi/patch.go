package kubeapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// patched is old with a patch of one of the three types.
func patched(k *kind, old object, how types.PatchType, patch []byte) (object, error) {
	before, err := json.Marshal(old)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	after, err := patchJSON(k, before, how, patch)
	if err != nil {
		return nil, err
	}
	obj := k.empty()
	if err := json.Unmarshal(after, obj); err != nil {
		return nil, unprocessable(err)
	}
	if obj.GetName() != old.GetName() || obj.GetNamespace() != old.GetNamespace() {
		return nil, apierrors.NewBadRequest("the name and the namespace of the object do not match the URL")
	}
	return obj, nil
}

func patchJSON(k *kind, before []byte, how types.PatchType, patch []byte) ([]byte, error) {
	switch how {
	case types.JSONPatchType:
		ops, err := jsonpatch.DecodePatch(patch)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		after, err := ops.Apply(before)
		if err != nil { // also a test that does not hold
			return nil, unprocessable(err)
		}
		return after, nil
	case types.MergePatchType:
		after, err := jsonpatch.MergePatch(before, patch)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return after, nil
	case types.StrategicMergePatchType:
		after, err := strategicpatch.StrategicMergePatch(before, patch, k.empty())
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return after, nil
	}
	return nil, unsupported(fmt.Sprintf("the body of the request was in an unknown format - accepted media types include: %s, %s, %s",
		types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType))
}

func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

func unsupported(why string) error {
	return apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "", schema.GroupResource{}, "", why, 0, false)
}
