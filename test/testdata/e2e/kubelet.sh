#!/bin/bash
# Prints the path of a kubelet, built from the Go module proxy the first time (five minutes on two cores) and kept.
#
#   kubelet.sh --kept  only says whether there is one, and so whether the tests of deploy/kubernetes* run; exit status 1 if not
set -euo pipefail
version=v1.34.4
kubelet=$HOME/.cache/evolution-openai-patch/kubelet-$version
if [ "${1:-}" = --kept ]; then
    if [ -x "$kubelet" ]; then
        echo "the tests of deploy/kubernetes* run, as there is a kubelet in ${kubelet%/*}"
        exit
    fi
    echo "NOT RUN: the tests of deploy/kubernetes*, as there is no kubelet in ${kubelet%/*}; 'make e2e KUBELET=build' builds one"
    exit 1
fi
if [ ! -x "$kubelet" ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    cd "$dir"
    printf 'module kubelet\n\ngo 1.24.0\n' >go.mod
    source=$(GOFLAGS=-mod=mod go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    {
        printf 'require k8s.io/kubernetes %s\n\nreplace (\n' "$version"
        # Its own modules, which it takes from its own tree, are published as v0.MINOR.PATCH.
        sed -n "s,^\t\(k8s.io/[^ ]*\) => \./staging/.*,\t\1 => \1 v0.${version#v1.},p" "$source/go.mod"
        printf ')\n'
    } >>go.mod
    printf '//go:build tools\n\npackage tools\n\nimport _ "k8s.io/kubernetes/cmd/kubelet"\n' >tools.go
    GOFLAGS=-mod=mod go mod tidy >/dev/null 2>&1
    mkdir -p "${kubelet%/*}"
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$kubelet.new" k8s.io/kubernetes/cmd/kubelet
    mv "$kubelet.new" "$kubelet"
fi
echo "$kubelet"
