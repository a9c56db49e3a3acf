package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"sync/atomic"

	"evenkeel/pkg/inject"
)

// maxReview bounds a request: an object of the API server is at most 3 MiB, and an
// update has two.
const maxReview = 8 << 20

// maxWarning is what clients show of a warning, by Kubernetes' own rules.
const maxWarning = 256

// review is an AdmissionReview of admission.k8s.io/v1, as much of it as is needed.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID  string `json:"uid"`
	Kind struct {
		Group string `json:"group"`
		Kind  string `json:"kind"`
	} `json:"kind"`
	SubResource string          `json:"subResource,omitempty"`
	Operation   string          `json:"operation"`
	Namespace   string          `json:"namespace"`
	Object      json.RawMessage `json:"object"`
}

type response struct {
	UID       string   `json:"uid"`
	Allowed   bool     `json:"allowed"`
	Patch     []byte   `json:"patch,omitempty"` // base64 in JSON
	PatchType string   `json:"patchType,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

const (
	reviewVersion = "admission.k8s.io/v1"
	reviewKind    = "AdmissionReview"
)

// Injector answers AdmissionReviews, and counts what became of them.
type Injector struct {
	opt    inject.Options
	logger *slog.Logger

	injected, skipped, refused, malformed atomic.Uint64
}

// NewInjector returns one that injects as o says.
func NewInjector(o inject.Options, logger *slog.Logger) *Injector {
	return &Injector{opt: o, logger: logger}
}

// Reviews are the requests since an Injector was made, by what became of them.
type Reviews struct {
	Injected  uint64 // pods that got a sidecar
	Skipped   uint64 // pods, and other objects, that need none
	Refused   uint64 // pods that were to have one and could not, or could not be read
	Malformed uint64 // requests that were no AdmissionReviews
}

// Reviews returns the counts now.
func (i *Injector) Reviews() Reviews {
	return Reviews{Injected: i.injected.Load(), Skipped: i.skipped.Load(), Refused: i.refused.Load(), Malformed: i.malformed.Load()}
}

// Handler answers POST /inject.
func (i *Injector) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /inject", func(w http.ResponseWriter, req *http.Request) {
		in, status, err := readReview(req)
		if err != nil {
			i.malformed.Add(1)
			i.logger.Warn("a request that is no AdmissionReview", "from", req.RemoteAddr, "err", err)
			http.Error(w, err.Error(), status)
			return
		}
		out := review{APIVersion: reviewVersion, Kind: reviewKind, Response: i.admit(in.Request)}
		text, err := json.Marshal(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text) // who is gone needs no answer
	})
	return mux
}

func readReview(req *http.Request) (r review, status int, err error) {
	if how, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || how != "application/json" {
		return r, http.StatusUnsupportedMediaType, errors.New("want application/json")
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxReview+1))
	switch {
	case err != nil:
		return r, http.StatusBadRequest, err
	case len(body) > maxReview:
		return r, http.StatusRequestEntityTooLarge, fmt.Errorf("more than %d bytes", maxReview)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, http.StatusBadRequest, fmt.Errorf("no AdmissionReview: %w", err)
	}
	if r.APIVersion != reviewVersion || r.Kind != reviewKind || r.Request == nil || r.Request.UID == "" {
		return r, http.StatusBadRequest, fmt.Errorf("no request of an %s of %s", reviewKind, reviewVersion)
	}
	return r, 0, nil
}

// admit decides about one object; it is allowed whatever happens.
func (i *Injector) admit(r *request) *response {
	out := &response{UID: r.UID, Allowed: true}
	if r.Operation != "CREATE" || r.Kind.Group != "" || r.Kind.Kind != "Pod" || r.SubResource != "" {
		i.skipped.Add(1)
		return out
	}
	patch, report, err := inject.Patch(r.Object, i.opt)
	if err != nil {
		report = inject.Report{Outcome: inject.Refused, Why: err.Error()}
	}
	args := []any{"namespace", r.Namespace, "pod", report.Name, "outcome", report.Outcome, "why", report.Why}
	switch report.Outcome {
	case inject.Injected:
		i.injected.Add(1)
		i.logger.Info("pod", append(args, "notes", report.Notes)...)
		out.Patch, out.PatchType = patch, "JSONPatch"
	case inject.Refused:
		i.refused.Add(1)
		i.logger.Warn("pod", args...)
		warning := "evenkeel: not injected: " + report.Why
		if len(warning) > maxWarning {
			warning = warning[:maxWarning-3] + "..."
		}
		out.Warnings = []string{warning}
	default:
		i.skipped.Add(1)
		i.logger.Debug("pod", args...)
	}
	return out
}
