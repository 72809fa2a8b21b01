#!/bin/bash
# real.sh: starts compose.example.yml with the newest Evolution API, or with EVOLUTION_IMAGE, and checks what this project relies on:
# two instances store one key, it arrives at OpenAI, whose place test/real takes, and the release is one that the program knows.
# Needs the image of `make image`, Docker, Go, and the free ports 8080 and 8090.
set -euo pipefail
cd "$(dirname "$0")/.."
POSTGRES_PASSWORD=$(openssl rand -hex 24)
AUTHENTICATION_API_KEY=$(openssl rand -hex 24)
export POSTGRES_PASSWORD AUTHENTICATION_API_KEY EVOLUTION=${EVOLUTION:-http://127.0.0.1:8080} OPENAI_ADDRESS=${OPENAI_ADDRESS:-0.0.0.0:8090}
compose() { docker compose -p evolution-openai-patch-real -f compose.example.yml -f test/real/compose.yml "$@"; }

clean_up() {
    status=$?
    [ "$status" = 0 ] || compose logs --no-color --tail 100 evolution evolution-openai-patch || true
    compose down -v --remove-orphans || true
    exit "$status"
}
trap clean_up EXIT

compose pull evolution
compose up -d
go run ./test/real
line=$(compose run --rm evolution-openai-patch status)
echo "$line"
if [[ $line == *" or later"* ]]; then
    echo "this release of Evolution has migrations that the program does not know: see releases in patch/plan/evolution.go" >&2
    exit 1
fi
