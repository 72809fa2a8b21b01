#!/bin/bash
# Prints the folder of PostgreSQL's server programs: PG_BINDIR, or Debian's newest, installed through apt if need be.
# With arguments, makes sure of those further Debian packages too (name:file-that-shows-it).
set -euo pipefail

missing=()
newest() { for dir in /usr/lib/postgresql/*/bin; do [ -x "$dir/postgres" ] && echo "$dir"; done | sort -V | tail -n 1; }
bindir=${PG_BINDIR:-$(newest || true)}
[ -n "$bindir" ] || missing+=(postgresql)
for package in "$@"; do [ -e "${package#*:}" ] || missing+=("${package%%:*}"); done

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "please install: ${missing[*]}   (Debian, Ubuntu: sudo apt-get install ${missing[*]})" >&2
        exit 1
    fi
    if [ ! -e /usr/sbin/policy-rc.d ]; then # Debian's way to say that what is installed is not to be started
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } </dev/null >&2
    bindir=${PG_BINDIR:-$(newest)}
fi
echo "$bindir"
