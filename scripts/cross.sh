#!/bin/bash
# cross.sh: builds the binary for every platform that is released, and runs each: natively, or with qemu's user emulation.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for platform in linux/amd64 linux/arm64 linux/arm/v7; do
    IFS=/ read -r os arch variant <<<"$platform"
    binary=$dir/$arch
    GOOS=$os GOARCH=$arch GOARM=${variant#v} scripts/build.sh "$binary" cross
    case $arch in
        "$(go env GOHOSTARCH)") run=() ;;
        amd64) run=(qemu-x86_64-static) ;;
        arm64) run=(qemu-aarch64-static) ;;
        arm) run=(qemu-arm-static) ;;
    esac
    version=$("${run[@]}" "$binary" version)
    status=0
    env -i PATH="$PATH" "${run[@]}" "$binary" 2>"$dir/log" || status=$?
    if [ "$version" != cross ] || [ "$status" != 2 ] || ! grep -q "DATABASE_CONNECTION_URI: is not set" "$dir/log"; then
        echo "$platform: version $version, exit status $status without a configuration" >&2
        cat "$dir/log" >&2
        exit 1
    fi
    echo "$platform: $(stat -c %s "$binary") bytes, runs"
done
