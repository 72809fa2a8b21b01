#!/bin/sh
# test.sh [FLAG OF GO TEST]… ./PACKAGE…: go test, never from its cache, with the race detector where goroutines meet, see test/suite.
set -eu
race=-race
# shellcheck disable=SC2046 # CC may have arguments
if [ "$(go env CGO_ENABLED)" != 1 ] || ! command -v $(go env CC) >/dev/null; then
    race=
    echo "no C compiler here, which the race detector needs: the tests run without it"
fi
exec go run ./test/suite $race "$@"
