# The image contains one static binary: no shell, no libraries, no CA bundle (the root certificates are compiled in).
# The binary is cross-compiled on the builder's own architecture, so that building arm images needs no emulation.
FROM --platform=$BUILDPLATFORM golang:1.26-alpine AS build
WORKDIR /src
COPY . .
ARG VERSION=dev
ARG TARGETOS
ARG TARGETARCH
ARG TARGETVARIANT
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} scripts/build.sh /evolution-openai-patch "$VERSION"

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="evolution-openai-patch" \
      org.opencontainers.image.description="Lets the instances of an Evolution API share one OpenAI API key: waits for PostgreSQL, patches, exits" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /evolution-openai-patch /evolution-openai-patch
# An unprivileged user, given by number because Kubernetes' runAsNonRoot cannot check a name.
USER 65532:65532
ENTRYPOINT ["/evolution-openai-patch"]
