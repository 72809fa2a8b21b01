#!/bin/bash
# `make e2e` from nothing: uses the Docker engine that answers, or starts one of its own, gets what is missing of compose,
# and removes what it made. What takes minutes to build is kept in ~/.cache/evolution-openai-patch.
#
#   docker.sh          runs the tests
#   docker.sh --check  only says what they will use; exit status 1 and one line if they cannot run
set -euo pipefail
cd "$(dirname "$0")/.."
rig=$PWD/../shared/docker-rig # starts an engine, and makes local stand-ins where no registry can be reached
cache=$HOME/.cache/evolution-openai-patch
compose=v2.40.3

answers() { command -v docker >/dev/null && timeout 10 docker version >/dev/null 2>&1; }
has_compose() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

if answers; then
    engine="the Docker engine that answers${DOCKER_HOST:+ at $DOCKER_HOST}"
    has_compose || [ -d "$rig" ] || { echo "please install Docker Compose, which the tests of the stacks need" >&2; exit 1; }
elif [ -d "$rig" ]; then
    engine="a Docker engine of its own"
    [ "$(id -u)" = 0 ] || { echo "please start Docker, or run this as root: no Docker engine answers, and starting one needs root" >&2; exit 1; }
else
    echo "please start Docker or set DOCKER_HOST: no Docker engine answers, and the tests of the image and the stacks need one" >&2
    exit 1
fi
if [ "${1:-}" = --check ]; then
    echo "$engine"
    exit
fi

dir=$(mktemp -d)
made=()
clean_up() {
    [ ${#made[@]} = 0 ] || docker rmi -f "${made[@]}" >/dev/null || true
    [ ! -e "$dir/engine/docker.pid" ] || "$rig/stop-dockerd.sh" "$dir/engine"
    rm -rf "$dir"
}
trap clean_up EXIT

need=()
if ! answers; then
    for pair in docker.io:dockerd iptables:iptables busybox-static:busybox; do command -v "${pair#*:}" >/dev/null || need+=("${pair%%:*}"); done
fi
for pair in docker-compose:docker-compose containerd:containerd; do
    [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || command -v "${pair#*:}" >/dev/null || need+=("${pair%%:*}")
done
if [ ${#need[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

# A newer docker may come first in PATH and want a buildx that is not there; Debian's brings all it needs.
if ! docker buildx version >/dev/null 2>&1 && [ -x /usr/bin/docker ]; then
    mkdir "$dir/bin"
    ln -s /usr/bin/docker "$dir/bin/docker"
    export PATH=$dir/bin:$PATH
fi
if ! answers; then
    DOCKER_HOST=$("$rig/start-dockerd.sh" "$dir/engine")
    export DOCKER_HOST
fi

if ! docker compose version >/dev/null 2>&1 && [ -d "$rig" ]; then
    [ -x "$cache/compose-$compose" ] || "$rig/build-compose.sh" "$compose" "$cache/compose-$compose"
    DOCKER_HOST=${DOCKER_HOST:-$(docker context inspect -f '{{.Endpoints.docker.Host}}')}
    export DOCKER_HOST DOCKER_CONFIG=$dir/config # one of our own: the plugin is not to stay, and no login is needed
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    ln -s "$cache/compose-$compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"
fi

for image in golang:1.26-alpine postgres:17; do
    if ! docker image inspect "$image" >/dev/null 2>&1 && ! docker pull -q "$image" 2>/dev/null; then
        [ -d "$rig" ] || { echo "the image $image cannot be pulled" >&2; exit 1; }
        "$rig/mk-${image%%:*}-image.sh" "$image"
        made+=("$image")
    fi
done

make e2e
