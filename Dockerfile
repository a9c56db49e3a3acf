# syntax=docker/dockerfile:1
# The sidecar alone: no shell, no package manager, not root.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 -t REGISTRY/sidecar:0.1.0 --push .

# The compiler runs on the machine that builds, for the machine that runs.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd cmd
COPY internal internal
COPY pkg pkg
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/sidecar ./cmd/sidecar
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/data /root-fs/tmp && chmod 1777 /root-fs/tmp && chown 65532:65532 /root-fs/data \
    && printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >/root-fs/etc/passwd \
    && printf 'root:x:0:\nnonroot:x:65532:\n' >/root-fs/etc/group \
    && cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/

FROM scratch
COPY --from=build /root-fs/ /
COPY --from=build /out/sidecar /sidecar
USER 65532:65532
# 9851 clients, 9861 clients beside a Tile38, 9850 probes and metrics.
EXPOSE 9851 9861 9850
VOLUME /data
ENTRYPOINT ["/sidecar"]
CMD ["run", "--data-dir=/data"]
