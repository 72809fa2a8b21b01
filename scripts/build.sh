#!/bin/sh
# build.sh OUTPUT VERSION: the binary, as the image has it. The same sources give the same bytes, in whatever folder they are, so the
# state of a repository is left out.
set -eu
CGO_ENABLED=0 exec go build -trimpath -buildvcs=false -ldflags "-s -w -X evolution-openai-patch/patch.version=$2" -o "$1" .
