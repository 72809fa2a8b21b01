#!/bin/bash
# changelog.sh VERSION: prints the section of CHANGELOG.md for a version, such as 1.2.3 or v1.2.3. Fails if there is none, or if it
# has no date yet.
set -euo pipefail
version=${1:?usage: changelog.sh VERSION}
version=${version#v}
cd "$(dirname "$0")/.."
if ! grep -qE "^## \[${version//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}\$" CHANGELOG.md; then
    echo "CHANGELOG.md has no section '## [$version] - YYYY-MM-DD'" >&2
    exit 1
fi
awk -v heading="## [$version] " 'index($0, heading) == 1 { found = 1; next } /^## / { found = 0 } found' CHANGELOG.md | sed '/./,$!d'
