#!/bin/bash
# The program at work: two instances, one key, refused before the patch and taken after it; a connection string with the wrong schema;
# and the way back. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(scripts/postgres.sh)
[ -x "$bin/psql" ] || bin=$(PG_BINDIR="" scripts/postgres.sh) # the servers of make test-matrix come without
dir=$(mktemp -d /tmp/demo.XXXXXX)

# PostgreSQL refuses to run as root.
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env LC_ALL=C "$@"; else env LC_ALL=C "$@"; fi; }
[ "$(id -u)" != 0 ] || chown nobody "$dir"

clean_up() {
    status=$?
    if [ "$status" != 0 ]; then
        printf '\nThe demo failed. The log of its PostgreSQL:\n' >&2
        cat "$dir/log" >&2 2>/dev/null || echo "(none)" >&2
    fi
    [ ! -e "$dir/data/postmaster.pid" ] || as "$bin/pg_ctl" -D "$dir/data" -m immediate -s stop || true
    rm -rf "$dir"
}
trap clean_up EXIT

bold='' plain=''
[ ! -t 1 ] || bold=$'\033[1m' plain=$'\033[0m'
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
key=sk-proj-one-key-for-all
export PGPASSWORD=demo PGUSER=postgres PGDATABASE=postgres PGHOST=$dir PGPORT PGOPTIONS='-c search_path=evolution_api -c client_min_messages=warning'
sql() { "$bin/psql" --no-psqlrc -qAt -v ON_ERROR_STOP=1 "$@"; }

# What POST /openai/creds/{instance} does since 2.3.0: the application looks for the key first.
register() {
    echo "instance $1 registers $key"
    if [ -n "$(sql -c "SELECT id FROM \"OpenaiCreds\" WHERE \"apiKey\" = '$key' LIMIT 1")" ]; then
        echo '  refused by Evolution, as its query finds the key: This API key is already registered'
    else
        insert "$1"
    fi
}

# What it did before 2.3.0: it inserts, and the database decides.
insert() {
    if error=$(sql -c "INSERT INTO \"OpenaiCreds\"(id, name, \"apiKey\", \"updatedAt\", \"instanceId\")
            VALUES ('credential-$1', 'key of $1', '$key', now(), '$1')" 2>&1); then
        echo '  taken'
    else
        echo "  refused by PostgreSQL: $(head -n 1 <<<"$error")"
    fi
}

stored() { sql -c "SELECT format('  %s: [%s]', \"instanceId\", \"apiKey\") FROM \"OpenaiCreds\" ORDER BY 1"; }

# Runs the program as compose or docker run would, and prints all that it says but the time.
patch() {
    local schemas=${PATCH_SCHEMAS:+" PATCH_SCHEMAS='$PATCH_SCHEMAS'"}
    echo "\$ DATABASE_CONNECTION_URI='$DATABASE_CONNECTION_URI'$schemas evolution-openai-patch${*:+ $*}"
    status=0
    "$dir/evolution-openai-patch" "$@" 2>&1 | tee "$dir/output" | sed -E 's/^time=[^ ]+ //' | fold -s -w 130 | sed 's/^/  /' || status=$?
    echo "  exit status $status"
}

say "1. A throw-away PostgreSQL, with the tables of an Evolution API 2.3.7 in schema evolution_api"
scripts/build.sh "$dir/evolution-openai-patch" demo
echo demo >"$dir/password" && as "$bin/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile="$dir/password" -N >/dev/null
for attempt in 1 2 3 4 5; do
    PGPORT=$((RANDOM % 12000 + 20000)) # below the range that the kernel takes for outgoing connections
    ! as "$bin/pg_ctl" -D "$dir/data" -s -w -l "$dir/log" -o "-p $PGPORT -k $dir -c listen_addresses=127.0.0.1 -c fsync=off" start 2>"$dir/start" || break
    if [ "$attempt" = 5 ] || ! grep -q "could not bind" "$dir/log"; then # what is wrong is not the port
        cat "$dir/start" >&2
        exit 1
    fi
done
sql -c 'CREATE DATABASE evolution'
PGDATABASE=evolution
sql -c 'CREATE SCHEMA evolution_api'
sql -c 'CREATE TABLE "_prisma_migrations" (migration_name text, finished_at timestamptz, rolled_back_at timestamptz)'
for migration in test/testdata/migrations/*.sql; do
    [[ $migration < test/testdata/migrations/20251122003044_z ]] || break
    sql -1 -f "$migration" -c "INSERT INTO \"_prisma_migrations\" VALUES ('$(basename "$migration" .sql)', now())"
done
sql -c "INSERT INTO \"Instance\"(id, name) VALUES ('sales', 'sales'), ('support', 'support')"
echo "two instances: sales and support"

say "2. Both are to use the same OpenAI key, and two things forbid it"
register sales
register support
echo "an Evolution before 2.3.0 does not look first, and support inserts the key"
insert support

say "3. The program, with Evolution's connection string, but without its ?schema=: a warning names the schema that holds the table"
export DATABASE_CONNECTION_URI="postgresql://postgres:demo@127.0.0.1:$PGPORT/evolution"
patch
register support

say "4. With the very connection string that Evolution has, and nothing else"
DATABASE_CONNECTION_URI="$DATABASE_CONNECTION_URI?schema=evolution_api"
patch
register support

say "5. How: the unique index is a plain one, and each key is stored with a space behind it, so Evolution's query does not find it"
stored

say "6. Once more, as at the next boot, changes nothing"
patch

say "7. The way back is refused while the two share the key, which the unique index would forbid"
patch revert

say "8. That line ends with SQL, which gives support a key of its own. Then revert restores what was there, and with PATCH_SCHEMAS='*' takes
   away the guard that step 3 left in schema public"
sql -c "$(sed -n 's/.* remedy: //p' "$dir/output")"
PATCH_SCHEMAS='*' patch revert
stored

say "Done. The server is stopped and everything it wrote is removed."
