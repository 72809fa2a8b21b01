#!/bin/sh
# test.sh ARGUMENT…: go test, never from its cache, telling each test as it ends and how many there were.
set -eu
race=-race
# shellcheck disable=SC2046 # CC may have arguments
if [ "$(go env CGO_ENABLED)" != 1 ] || ! command -v $(go env CC) >/dev/null; then
    race=
    echo "no C compiler here, which the race detector needs: the tests run without it"
fi
exec go run gotest.tools/gotestsum@v1.13.0 --format testname -- $race -count=1 "$@"
