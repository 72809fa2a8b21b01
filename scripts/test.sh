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
[ ${#race[@]} -gt 0 ] || meeting=' ' # none: one command for all
mapfile -t with < <(grep -E "$meeting" <<<"$packages")
mapfile -t without < <(grep -vE "$meeting" <<<"$packages")
functions=$(go list -f '{{range .TestGoFiles}}{{$.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$.Dir}}/{{.}} {{end}}' "${patterns[@]}" |
    xargs cat | grep -cE '^func Test\w+\(\w+ \*testing\.T\)')
echo "$functions test functions in $((${#with[@]} + ${#without[@]})) packages"
[ "${patterns[*]}" != ./... ] || echo "They take about 6 minutes on two cores, and longer where something else runs."

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
status=0
# run [-race] PACKAGE…: go test. The long lines of a failure are cut.
run() {
    local race=()
    [ "$1" != -race ] || { race=(-race); shift; }
    printf '\ngo test%s (%d packages)\n' "$(printf ' %s' "${flags[@]}" "${race[@]}")" $#
    local events
    events=$(mktemp -p "$log")
    go tool -modfile=tools/go.mod gotestsum --format pkgname-and-test-fails --hide-summary=output --jsonfile "$events" -- \
        "${flags[@]}" "${race[@]}" "$@" 2>&1 | cut -c 1-300 || { status=$?; outside "$events"; }
}
# outside prints what was printed outside tests, which gotestsum leaves out here, such as why a package's server did not start.
outside() {
    sed -nE '/"Test":/d; s/.*"Action":"output",.*"Output":"(.*)\\n"\}$/\1/p' "$1" | grep -vE '^(PASS|FAIL|ok  )' | cut -c 1-300 || true
}
[ ${#with[@]} = 0 ] || run "${race[@]}" "${with[@]}"
[ ${#without[@]} = 0 ] || run "${without[@]}"

printf '\nthe slowest test functions, which run side by side:\n'
# Go counts for a test neither its parallel subtests nor what it waited for them, so the longest of them counts; gotestsum's own list
# leaves out tests that have subtests.
cat "$log"/* | sed -nE 's,.*"Action":"(pass|fail)"\,"Package":"[^"/]*/([^"]*)"\,"Test":"([^"/]*).*"Elapsed":([0-9.]+).*,\4 \2 \3,p' |
    awk '{ test = $2 " " $3; if ($1 >= longest[test]) longest[test] = $1 } END { for (test in longest) printf "%8.2f s  %s\n", longest[test], test }' |
    LC_ALL=C sort -rn | awk 'NR <= 20'
verdict=''
[ "$status" = 0 ] || verdict=', FAILED: see above,'
printf '\nDONE %d tests%s in %d s\n' "$(cat "$log"/* | grep '"Test":' | grep -cE '"Action":"(pass|fail|skip)"')" "$verdict" "$SECONDS"
exit "$status"
