#!/bin/bash
# `make e2e` from nothing: gets what is missing of Docker and both generations of compose, starts an engine where none
# answers, and stops what it started. What takes minutes to build is kept in ~/.cache/evolution-openai-patch.
set -euo pipefail
cd "$(dirname "$0")/.."
rig=$PWD/../shared/docker-rig # makes local stand-ins where no registry can be reached
cache=$HOME/.cache/evolution-openai-patch
compose=v2.40.3
dir=$(mktemp -d)
made=()

clean_up() {
    [ ${#made[@]} = 0 ] || docker rmi -f "${made[@]}" >/dev/null || true
    [ ! -e "$dir/engine/docker.pid" ] || "$rig/stop-dockerd.sh" "$dir/engine"
    rm -rf "$dir"
}
trap clean_up EXIT

need=()
for pair in docker.io:dockerd docker-compose:docker-compose iptables:iptables busybox-static:busybox containerd:containerd; do
    command -v "${pair#*:}" >/dev/null || need+=("${pair%%:*}")
done
if [ ${#need[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

# A newer docker may come first in PATH and want a buildx that is not there; Debian's brings all it needs.
if ! docker buildx version >/dev/null 2>&1; then
    mkdir "$dir/bin"
    ln -s /usr/bin/docker "$dir/bin/docker"
    export PATH=$dir/bin:$PATH
fi
DOCKER_HOST=$("$rig/start-dockerd.sh" "$dir/engine")
export DOCKER_HOST

if ! docker compose version >/dev/null 2>&1; then
    [ -x "$cache/compose-$compose" ] || "$rig/build-compose.sh" "$compose" "$cache/compose-$compose"
    export DOCKER_CONFIG=$dir/config # one of our own: the plugin is not to stay, and no login is needed
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    ln -s "$cache/compose-$compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"
fi

for image in golang:1.26-alpine postgres:17; do
    if ! docker image inspect "$image" >/dev/null 2>&1 && ! docker pull -q "$image" 2>/dev/null; then
        "$rig/mk-${image%%:*}-image.sh" "$image"
        made+=("$image")
    fi
done

make e2e
