#!/bin/bash
# Prints THIRD_PARTY_NOTICES: the licences of what is compiled into the binary on the platforms that are released.
set -euo pipefail
cd "$(dirname "$0")/.."

modules=$(for arch in amd64 arm64 arm; do
    CGO_ENABLED=0 GOOS=linux GOARCH=$arch go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}	{{.Dir}}{{end}}{{end}}' .
done | sort -u)

# licence FOLDER: the text of the licence of the module in a folder.
licence() {
    local file
    for file in "$1"/LICENSE "$1"/LICENSE.md "$1"/LICENSE.txt "$1"/COPYING; do
        if [ -e "$file" ]; then
            tr -d '\r' <"$file"
            return
        fi
    done
    echo "no licence found in $1" >&2
    return 1
}

cat <<END
The binary of evolution-openai-patch contains the software below, each under its own licence. The licence of
evolution-openai-patch itself is in the file LICENSE. The versions are in go.mod and in the SBOM of each image.

The module golang.org/x/crypto/x509roots/fallback contains the root certificates of Mozilla's CA program, which Mozilla
publishes under the Mozilla Public License 2.0, https://mozilla.org/MPL/2.0/.
END
printf '\n%s\nThe Go standard library and runtime\n%s\n\n' "$(printf '=%.0s' {1..80})" "$(printf '=%.0s' {1..80})"
licence "$(go env GOROOT)"
while IFS=$'\t' read -r path dir; do
    printf '\n%s\n%s\n%s\n\n' "$(printf '=%.0s' {1..80})" "$path" "$(printf '=%.0s' {1..80})"
    licence "$dir"
done <<<"$modules"
