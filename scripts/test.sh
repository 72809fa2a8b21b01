#!/bin/bash
# test.sh [FLAG OF GO TEST]… ./PACKAGE…: go test, never from its cache. The race detector runs where goroutines of the program meet,
# unless RACE=no; elsewhere a test mostly waits for programs, and the detector would only make it slower. Prints the lines of what
# fails, and at the end the slowest tests and the count.
set -euo pipefail
cd "$(dirname "$0")/.."
meeting='^[^/]+/(patch|test/fleet|test/connect)(/|$)'
flags=(-count=1) patterns=()
for argument; do case $argument in ./*) patterns+=("$argument") ;; *) flags+=("$argument") ;; esac; done

race=(-race)
[ "${RACE:-}" != no ] || race=()
# shellcheck disable=SC2046 # CC may have arguments
if [ ${#race[@]} -gt 0 ] && { [ "$(go env CGO_ENABLED)" != 1 ] || ! command -v $(go env CC) >/dev/null; }; then
    race=()
    echo "no C compiler here, which the race detector needs: the tests run without it"
fi
packages=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "${patterns[@]}")
mapfile -t with < <(grep -E "$meeting" <<<"$packages")
mapfile -t without < <(grep -vE "$meeting" <<<"$packages")
functions=$(go list -f '{{range .TestGoFiles}}{{$.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$.Dir}}/{{.}} {{end}}' "${patterns[@]}" |
    xargs cat | grep -cE '^func Test\w+\(\w+ \*testing\.T\)')
echo "$functions test functions in $((${#with[@]} + ${#without[@]})) packages"
[ "${patterns[*]}" != ./... ] || echo "They take about 4 minutes on two cores, and longer where something else runs."

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
gotestsum() { go tool -modfile=tools/go.mod gotestsum "$@"; }
status=0
# run [-race] PACKAGE…: go test. The long lines of a failure are cut.
run() {
    local race=()
    [ "$1" != -race ] || { race=(-race); shift; }
    printf '\ngo test%s (%d packages)\n' "$(printf ' %s' "${flags[@]}" "${race[@]}")" $#
    gotestsum --format pkgname-and-test-fails --hide-summary=output,skipped --jsonfile "$(mktemp -p "$log")" -- \
        "${flags[@]}" "${race[@]}" "$@" 2>&1 | cut -c 1-300 || status=$?
}
[ ${#with[@]} = 0 ] || run "${race[@]}" "${with[@]}"
[ ${#without[@]} = 0 ] || run "${without[@]}"

printf '\nthe slowest test functions, which run side by side:\n'
cat "$log"/* | gotestsum tool slowest --threshold 1us | awk '$2 !~ "/" && n++ < 20'
printf '\nDONE %d tests in %d s\n' "$(cat "$log"/* | grep '"Test":' | grep -cE '"Action":"(pass|fail|skip)"')" "$SECONDS"
exit "$status"
