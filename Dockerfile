# The exporter in an image of its own: one static binary, no shell, no package, no root.
#
#   docker build --build-arg VERSION=0.1.0 -t prefix_exporter:0.1.0 .
#
# docker-compose.yml builds and runs it together with Prometheus, Alertmanager and Grafana.

# The version of Go that the tests run with. The build runs on the builder's own kind of
# processor and compiles for the one that was asked for, so no emulator is involved.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26.8-bookworm AS build
WORKDIR /src
# Modules change less often than code: a layer of their own is fetched once.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH
ARG VERSION=unknown
ARG REVISION=unknown
# Static, for an image without a libc; -s -w leave out what only a debugger reads.
# There is no git history in here (.dockerignore), so the version is told, not found.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
	-ldflags "-s -w -X github.com/prometheus/common/version.Version=$VERSION -X github.com/prometheus/common/version.Revision=$REVISION" \
	-o /image/prefix_exporter ./cmd/prefix_exporter \
	# The folder of --storage.path: a new volume takes its owner from here.
	&& mkdir -p /image/data \
	# Certificate authorities, for `healthy https://…`. No time zones: the exporter knows UTC only.
	&& mkdir -p /image/etc/ssl/certs \
	&& cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
	# Users by name, so that what lists processes has one to show.
	&& echo 'prefix_exporter:x:65532:65532::/:/none' >/image/etc/passwd \
	&& echo 'prefix_exporter:x:65532:' >/image/etc/group

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="prefix_exporter" \
      org.opencontainers.image.description="Measures the round-trip time of every address of your own prefixes and exposes it to Prometheus." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image/etc /etc
COPY --from=build /image/prefix_exporter /prefix_exporter
COPY --from=build --chown=65532:65532 /image/data /data
# A number, so that an orchestrator can see that it is not root. 65532 is the
# "nonroot" of the distroless images.
USER 65532:65532
WORKDIR /
VOLUME /data
EXPOSE 10240
# Docker and podman remember this; the OCI format of images does not have it, so
# docker-compose.yml says it again. Starting takes a moment, an answer less than 1 ms.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["/prefix_exporter", "healthy"]
ENTRYPOINT ["/prefix_exporter"]
CMD ["--config.file=/etc/prefix_exporter/prefix_exporter.yml", "--storage.path=/data"]
