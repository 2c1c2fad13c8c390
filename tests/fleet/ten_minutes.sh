#!/usr/bin/env bash
# Follows docs/fleet-in-ten-minutes.md: runs exactly the page's commands, in order, and compares what they say with
# what the page shows.
#
#   tests/fleet/ten_minutes.sh [--programs FOLDER] [--arm64 PROGRAM] [--show]
#
#   --programs FOLDER   wardline, wardline-fleet and wardline-lab are there; otherwise they are built as the page does
#   --arm64 PROGRAM     the second gateway is this arm64 wardline, under qemu-aarch64-static; otherwise both are native
#   --show              prints what every command said
#
# How the page is read: what a block of commands says is taken together, and every line of the ```text block that stands
# below it must be in that, in this order (`...` stands for anything, spaces count as one). The words after ```sh:
#   repeat     again and again until it says so, for PATIENCE seconds (180)
#   refused    it ends with 6
#   packages, build     left out where --programs is given; nobody else's machine is changed without being asked
#   native, arm64       one of the two: by --arm64
#   build arm64         left out: that program is given
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
page=$tree/docs/fleet-in-ten-minutes.md
programs='' arm64='' show='' patience=${PATIENCE:-180}
while [ $# -gt 0 ]; do
    case $1 in
    --programs) programs=$(realpath "${2:?--programs needs a folder}") && shift 2 ;;
    --arm64) arm64=$(realpath "${2:?--arm64 needs a program}") && shift 2 ;;
    --show) show=yes && shift ;;
    *) sed -n '2,9p' "$0" | cut -c3- && exit 2 ;;
    esac
done

# The page makes its folder by `mktemp -d`: below this one.
scratch=$(mktemp -d)
export TMPDIR=$scratch
before=$(date +%s) where='the beginning'

# What was waited for and what the programs said last, unless all went well.
finish() {
    local outcome=$? log
    trap - EXIT
    if [ $outcome -ne 0 ]; then
        printf '\nFAILED after %d s at %s\n' $(($(date +%s) - before)) "$where"
        for log in "$scratch/said" "$scratch"/*/*.log; do
            [ -s "$log" ] || continue
            printf -- '-- the last lines of %s:\n' "${log##*/}"
            tail -n 25 "$log"
        done
    fi >&2
    # Those that do not end when told to are ended.
    jobs -pr | xargs -r kill 2>/dev/null || true
    for _ in $(seq 100); do
        [ -n "$(jobs -pr)" ] || break
        sleep 0.1
    done
    jobs -pr | xargs -r kill -9 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$scratch"
    exit $outcome
}
trap finish EXIT
trap 'where="$where: told to stop" && exit 130' INT TERM

# lacks TEXT FILE: prints the first line of TEXT that FILE lacks behind those before it; fails when there is none.
lacks() {
    local line said found at=0 number pattern
    mapfile -t said < <(tr -s ' \t' ' ' <"$2")
    while IFS= read -r line; do
        [ -n "$line" ] || continue
        # Each part between `...` word for word.
        pattern=$(printf '%s' "$line" | tr -s ' \t' ' ' | sed 's/[][*?\\]/\\&/g; s/ *\.\.\. */*/g')
        found=''
        for ((number = at; number < ${#said[@]}; number++)); do
            # shellcheck disable=SC2053
            if [[ ${said[number]} == *$pattern* ]]; then
                found=yes at=$((number + 1))
                break
            fi
        done
        [ -n "$found" ] || { printf '%s\n' "$line" && return 0; }
    done <<<"$1"
    return 1
}

# The page's blocks: words after the fence, first line, commands, what stands below.
kinds=() lines=() commands=() expected=()
read_page() {
    local line number=0 inside='' kind
    while IFS= read -r line; do
        number=$((number + 1))
        case $inside:$line in
        :'```sh'*)
            kind=${line#\`\`\`sh}
            kinds+=("${kind# }") lines+=("$number") commands+=('') expected+=('') inside=sh
            ;;
        :'```text') inside=text ;;
        :'```'*) printf '%s:%d: a block that is neither sh nor text\n' "$page" "$number" >&2 && return 1 ;;
        sh:'```' | text:'```') inside='' ;;
        sh:*) commands[-1]+=$line$'\n' ;;
        text:*) expected[-1]+=$line$'\n' ;;
        esac
    done <"$page"
    [ -z "$inside" ] || { printf '%s: a block has no end\n' "$page" >&2 && return 1; }
    [ ${#kinds[@]} -gt 10 ] || { printf '%s: %d blocks\n' "$page" ${#kinds[@]} >&2 && return 1; }
}

# again COMMANDS TEXT: until it says that.
again() {
    local until=$(($(date +%s) + patience)) missing
    while :; do
        (eval "$1") >"$scratch/said" 2>&1 </dev/null || true
        missing=$(lacks "$2" "$scratch/said") || return 0
        if [ "$(date +%s)" -ge $until ]; then
            where="$where: waited $patience s for \"$missing\""
            return 1
        fi
        sleep 0.3
    done
}

# The programs, as the page's first blocks would have them.
if [ -n "$programs" ]; then
    PATH=$programs:$PATH
fi
if [ -n "$arm64" ]; then
    echo "gw-1 runs natively, gw-2 is $arm64 under qemu-aarch64-static"
else
    echo "both gateways run natively: --arm64 PROGRAM makes gw-2 an arm64 one"
fi
# Free at this moment; nobody else asks for it in the next.
while port=$((20000 + RANDOM % 20000)) && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done

read_page
cd "$tree"
for block in "${!kinds[@]}"; do
    kind=${kinds[block]} text=${commands[block]} wanted=${expected[block]}
    where="line ${lines[block]} of ${page#"$tree/"}"
    case $kind in
    packages) [ -n "$programs" ] && continue ;;
    build) [ -n "$programs" ] && continue ;;
    native) [ -z "$arm64" ] || continue ;;
    arm64) [ -n "$arm64" ] || continue ;;
    'build arm64') continue ;;
    '' | repeat | refused) ;;
    *) where="$where: a block of kind \"$kind\"" && exit 1 ;;
    esac
    from=$(date +%s)
    case $kind in
    repeat) again "$text" "$wanted" ;;
    refused)
        outcome=0
        (eval "$text") >"$scratch/said" 2>&1 </dev/null || outcome=$?
        [ $outcome -eq 6 ] || { where="$where: it ended with $outcome, not with 6" && exit 1; }
        ;;
    *) eval "$text" >"$scratch/said" 2>&1 </dev/null ;;
    esac
    if missing=$(lacks "$wanted" "$scratch/said"); then
        where="$where: it did not say \"$missing\""
        exit 1
    fi
    printf '%4d s  %s: %s\n' $(($(date +%s) - from)) "$where" "$(head -n 1 <<<"$text" | cut -c 1-80)"
    [ -z "$show" ] || sed 's/^/        | /' "$scratch/said"
done
[ -z "$(jobs -pr)" ] || { where="the end: a program still runs" && exit 1; }
printf 'the page is true: %d blocks in %d s\n' ${#kinds[@]} $(($(date +%s) - before))
