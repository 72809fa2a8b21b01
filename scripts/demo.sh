#!/bin/bash
# The main job, for real: two instances, one key, refused before the patch and taken after it. Leaves nothing behind.
set -euo pipefail
program=${1:?usage: demo.sh PROGRAM}
bin=$(scripts/postgres.sh)
[ -x "$bin/psql" ] || bin=$(PG_BINDIR="" scripts/postgres.sh) # the servers of make test-matrix come without
dir=$(mktemp -d /tmp/demo.XXXXXX)

# PostgreSQL refuses to run as root.
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env LC_ALL=C "$@"; else env LC_ALL=C "$@"; fi; }
[ "$(id -u)" != 0 ] || chown nobody "$dir"
trap 'as "$bin/pg_ctl" -D "$dir/data" -m immediate -s stop 2>/dev/null || true; rm -rf "$dir"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
key=sk-proj-one-key-for-all
export PGPASSWORD=demo PGUSER=postgres PGDATABASE=postgres PGHOST=$dir PGPORT=54329 PGOPTIONS='-c search_path=evolution_api -c client_min_messages=warning'
sql() { "$bin/psql" --no-psqlrc -qAt -v ON_ERROR_STOP=1 "$@"; }

# What POST /openai/creds/{instance} sends: Evolution 2.3 asks first, every release then inserts.
register() {
    echo "instance $1 registers $key"
    if [ -n "$(sql -c "SELECT id FROM \"OpenaiCreds\" WHERE \"apiKey\" = '$key' LIMIT 1")" ]; then
        echo '  refused by Evolution: This API key is already registered'
    elif error=$(sql -c "INSERT INTO \"OpenaiCreds\"(id, name, \"apiKey\", \"updatedAt\", \"instanceId\")
            VALUES ('credential-$1', 'key of $1', '$key', now(), '$1')" 2>&1); then
        echo '  taken'
    else
        echo "  refused by PostgreSQL: $(head -n 1 <<<"$error")"
    fi
}

say "1. A throw-away PostgreSQL, with the tables of an Evolution API 2.3.7 in schema evolution_api"
echo demo >"$dir/password" && as "$bin/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile="$dir/password" -N >/dev/null
as "$bin/pg_ctl" -D "$dir/data" -s -w -l "$dir/log" -o "-p $PGPORT -k $dir -c listen_addresses=localhost -c fsync=off" start
sql -c 'CREATE SCHEMA evolution_api'
sql -c 'CREATE TABLE "_prisma_migrations" (migration_name text, finished_at timestamptz, rolled_back_at timestamptz)'
for migration in testdata/migrations/*.sql; do
    [[ $migration < testdata/migrations/20251122003044_z ]] || break
    sql -1 -f "$migration" -c "INSERT INTO \"_prisma_migrations\" VALUES ('$(basename "$migration" .sql)', now())"
done
sql -c "INSERT INTO \"Instance\"(id, name) VALUES ('sales', 'sales'), ('support', 'support')"
echo "two instances: sales and support"

say "2. Both are to use the same OpenAI key"
register sales
register support

say "3. The program, with the connection string that Evolution has"
export DATABASE_CONNECTION_URI="postgresql://postgres:demo@localhost:$PGPORT/postgres?schema=evolution_api"
export PATCH_FIXES=apikey-index,apikey-check PATCH_KEEP_INDEX_NAMES=true
echo "DATABASE_CONNECTION_URI=$DATABASE_CONNECTION_URI"
echo "PATCH_FIXES=$PATCH_FIXES"
echo "PATCH_KEEP_INDEX_NAMES=$PATCH_KEEP_INDEX_NAMES"
"$program"
echo "exit status $?"

say "4. Now the second instance has it too"
register support

say "5. Once more changes nothing"
PATCH_LOG_LEVEL=error "$program"

say "Done. The server is stopped and everything it wrote is removed."
