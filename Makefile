# Everything that CI runs is a target here. `make help` lists them.

GO         ?= go
BIN        := bin
GROUPS     ?= keys search fences scripting expiry server transports
FUZZTIME   ?= 10s
SIMTIME    ?= 30s
BENCHFLAGS ?=
# The kit that builds helm, promtool and their like, makes images without a daemon, and runs a
# Kubernetes cluster for tests.
CLUSTER    ?= ../shared/cluster/cluster
IMAGE      ?= localhost/evenkeel:dev
VERSION    ?= dev
# v2.12.2 is built from source, so that it knows the Go version in use: about
# three minutes, once.
GOLANGCI_VERSION := v2.12.2
GOLANGCI         := $(BIN)/golangci-lint-$(GOLANGCI_VERSION)

.DEFAULT_GOAL := build
.PHONY: help build test race vet fmt lint tools conformance bench bench-proxy simulation fuzz chart chart-check image dashboards rules-check e2e ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{ printf "  %-12s %s\n", $$1, $$2 }'

build: ## build bin/sidecar (the default)
	$(GO) build -o $(BIN)/sidecar ./cmd/sidecar

test: ## run the tests
	$(GO) test ./...

race: ## run the tests with the race detector (needs a C compiler)
	$(GO) test -race ./...

vet: ## go vet
	$(GO) vet ./...

fmt: ## fail when a file is not formatted, or holds the marks of a merge
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted:"; echo "$$files"; exit 1; }
	@! grep -rnIE '^(<<<<<<<|>>>>>>>) ' --exclude-dir=.git --exclude-dir=$(BIN) . || { echo "marks of a merge"; exit 1; }

# The linters' cache is the checkout's own: the common one serves findings with the paths of
# another checkout of the same files, which no rule of this one's config matches any more.
lint: fmt $(GOLANGCI) ## formatting and linters (installs golangci-lint into bin/)
	GOLANGCI_LINT_CACHE=$(CURDIR)/$(BIN)/lint-cache $(GOLANGCI) run ./...

tools: $(GOLANGCI) ## install the linters into bin/

$(GOLANGCI):
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@

conformance: build ## replay recorded conversations: GROUPS="keys search", CONFORMANCE=folder
	.ci/conformance $(GROUPS)

bench: build ## measure, beside TILE38_SERVER=path when given; FENCES=1: fences; BENCHFLAGS="--points 20000"
	$(GO) build -o $(BIN)/bench ./cmd/bench
	$(BIN)/bench --sidecar $(BIN)/sidecar $(if $(TILE38_SERVER),--tile38 $(TILE38_SERVER)) $(if $(FENCES),--fences) $(BENCHFLAGS)

bench-proxy: build ## ways to one server, TILE38_SERVER=path or our own: direct, our proxy, HAProxy, twemproxy; BENCHFLAGS
	$(GO) build -o $(BIN)/bench ./cmd/bench
	$(BIN)/bench --proxy $(if $(TILE38_SERVER),--tile38 $(TILE38_SERVER),--sidecar $(BIN)/sidecar) --points 50000 $(BENCHFLAGS)

simulation: ## seeds of the simulation for two times SIMTIME=30s, and 2000 of the metamorphic test
	@$(GO) test -v -count=1 $(SIMFLAGS) ./test/simulation -simulation.time $(SIMTIME)
	@$(GO) test -v -count=1 $(SIMFLAGS) ./test/metamorphic -metamorphic.seeds 2000

fuzz: ## run every fuzz target for FUZZTIME=10s
	@set -e; for dir in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		for name in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | sed 's/^func //'); do \
			echo "$$dir $$name"; $(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) ./$$dir; \
		done; \
	done

chart: ## write values.schema.json and README.md of the chart from values.yaml
	$(GO) run ./internal/tools/chartdocs

chart-check: ## lint, render and validate the chart; CLUSTER=path of the kit, OUT=folder for what is rendered
	@CLUSTER="$(CLUSTER)" .ci/chart $(OUT)

image: ## IMAGE=localhost/evenkeel:dev for the kit's cluster; for registries there is the Dockerfile
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/image/sidecar ./cmd/sidecar
	$(CLUSTER) image $(IMAGE) /sidecar $(BIN)/image/sidecar=/sidecar $(wildcard /etc/ssl/certs/ca-certificates.crt)$(if $(wildcard /etc/ssl/certs/ca-certificates.crt),=/etc/ssl/certs/ca-certificates.crt)

dashboards: ## write deploy/helm/dashboards anew, from internal/tools/dashboards
	$(GO) run ./internal/tools/dashboards -out deploy/helm/dashboards

rules-check: ## promtool over the rules and their tests, dashboard-linter over the dashboards
	@CLUSTER="$(CLUSTER)" .ci/rules-check

e2e: ## the chart on a real cluster, the kit's or KUBECONFIG's: RUN=regexp, KEEP=yes; see .ci/e2e
	@CLUSTER="$(CLUSTER)" .ci/e2e

ci: ## what CI runs
	.ci/run

clean: ## remove what the targets made
	rm -rf $(BIN)
