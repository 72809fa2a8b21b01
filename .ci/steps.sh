#!/bin/bash
# Functions of .ci/run: steps one after the other and one beside them, and a table of what they took when the script ends, however
# it ends.
began=$SECONDS
table=()   # a line for each step that has ended
not_run=() # what is to be said at the end
running='' # the step that runs, and when it began
since=$SECONDS
side='' side_name='' side_began='' side_log=''

# note SECONDS NAME: a line of the table.
note() { table+=("$(printf '%6d s  %s' "$1" "$2")"); }

# step NAME COMMAND…: runs a step. If it fails, so does the script.
step() {
    running=$1 since=$SECONDS
    printf '\n== %s (after %d s)\n' "$1" $((SECONDS - began))
    "${@:2}"
    note $((SECONDS - since)) "$1"
    running=''
}

# beside NAME COMMAND…: begins a step that runs beside the next ones, in a process group of its own so that nothing of it is left
# when it is stopped. joined waits for it and shows what it printed.
beside() {
    side_name=$1 side_began=$SECONDS side_log=$(mktemp)
    printf '\n== %s, beside what follows (after %d s)\n' "$1" $((SECONDS - began))
    set -m
    (trap - EXIT; status=0; "${@:2}" || status=$?; echo "$SECONDS" >"$side_log.ended"; exit "$status") >"$side_log" 2>&1 &
    side=$!
    set +m
}

joined() {
    local status=0 ended
    running=$side_name since=''
    wait "$side" || status=$?
    side=''
    printf '\n== %s, which ran beside (after %d s)\n' "$side_name" $((SECONDS - began))
    cat "$side_log"
    read -r ended <"$side_log.ended"
    note $((ended - side_began)) "$side_name, beside others"
    rm -f "$side_log" "$side_log.ended"
    [ "$status" = 0 ] || return "$status"
    running=''
}

# summary is what the script prints when it ends.
summary() {
    local status=$? failed=${running:-what comes before the first step}
    trap - EXIT
    [ -z "$running" ] || [ -z "$since" ] || note $((SECONDS - since)) "$running, which failed"
    if [ -n "$side" ]; then # the script ends before it was joined
        if [ -e "$side_log.ended" ]; then
            joined || failed+=", and $side_name"
        else
            kill -- "-$side" 2>/dev/null || true
            wait "$side" 2>/dev/null || true
            rm -f "$side_log" "$side_log.ended"
            not_run+=("$side_name, to the end")
        fi
    fi
    note $((SECONDS - began)) "in all"
    printf '\n== what each step took\n'
    printf '%s\n' "${table[@]}"
    [ ${#not_run[@]} = 0 ] || printf 'not run here: %s\n' "${not_run[@]}"
    if [ "$status" = 0 ]; then echo "== done"; else echo "== FAILED: $failed (exit status $status)"; fi
    exit "$status"
}
trap summary EXIT
