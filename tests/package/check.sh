#!/usr/bin/env bash
# The packages, installed into a throw-away Debian 12: what is in them, what their scripts do, what stays.
#
#   tests/package/check.sh wardline_VERSION_ARCH.deb [OTHER_VERSION_ARCH.deb...]
#
# Needs root, network for apt and pip the first time, and wardline-lab in target/debug for the device at the bedside.
# Packages for arm64 are run by qemu-user, which is slower. Installs by itself: mmdebstrap, lintian, mandoc. The root
# file system is kept in $WARDLINE_PACKAGING (without it: ~/.cache/wardline-packaging).
#
# There is no systemd as process 1 in there: its `systemctl` is tests/package/systemctl, which writes down what it is
# asked, and starts and stops the daemon as the unit says.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] && [ -f "$1" ] || { sed -n '2,9p' "$0" | cut -c3- >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "check.sh: must be root: it makes a root file system" >&2; exit 2; }
# Mounts of its own: they end with it.
[ -n "${WARDLINE_CHECK_INSIDE-}" ] ||
    WARDLINE_CHECK_INSIDE=1 exec unshare --mount --propagation private "$here/${0##*/}" "$@"

packages=()
for package in "$@"; do packages+=("$(realpath "$package")"); done
main=${packages[0]}
arch=$(dpkg-deb -f "$main" Architecture) version=$(dpkg-deb -f "$main" Version)
cache=${WARDLINE_PACKAGING:-${XDG_CACHE_HOME:-$HOME/.cache}/wardline-packaging}
lab=$here/../../target/debug/wardline-lab
export LC_ALL=C.UTF-8

scratch=$(mktemp -d)
# Other users go through it: the daemon's, at the bus.
chmod 755 "$scratch"
root=$scratch/root
# end PID...: ends processes of this script.
end() { for pid in "$@"; do [ -z "$pid" ] || kill "$pid" 2>/dev/null || true; done; }
sim='' bus=''
cleanup() {
    [ ! -s "$root/run/wardline.pid" ] || end "$(cat "$root/run/wardline.pid")"
    end "$sim" "$bus"
    for mounted in dev/pts dev proc sys; do umount --lazy "$root/$mounted" 2>/dev/null || true; done
    rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT

fail() { printf 'check.sh: %s\n' "$*" >&2; exit 1; }
say() { printf -- '-- %s\n' "$*"; }
# same WHAT EXPECTED FOUND
same() { [ "$2" = "$3" ] || { diff <(printf '%s\n' "$2") <(printf '%s\n' "$3") >&2 || true; fail "$1: not as expected"; }; }
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
# soon SECONDS COMMAND...: waits until it says yes.
soon() {
    local until=$(($(date +%s) + $1))
    shift
    until "$@"; do [ "$(date +%s)" -lt $until ] || return 1; sleep 0.2; done
}

tools() {
    local missing=() pair
    for pair in mmdebstrap:mmdebstrap lintian:lintian mandoc:mandoc man:man-db; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} -eq 0 ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; }
    [ "$arch" = "$(dpkg --print-architecture)" ] || emulator
    if [ ! -e "$cache/root-$arch.tar" ]; then
        mkdir -p "$cache"
        mmdebstrap --quiet --mode=root --variant=apt --architectures="$arch" \
            --include=systemd,procps,udev,dbus,bluez,bash-completion bookworm "$cache/root-$arch.new.tar"
        mv "$cache/root-$arch.new.tar" "$cache/root-$arch.tar"
    fi
    if [ ! -e "$cache/dbus/ready" ]; then
        python3 -m venv "$cache/dbus"
        "$cache/dbus/bin/pip" install --quiet --disable-pip-version-check dbus-fast==5.2.0
        touch "$cache/dbus/ready"
    fi
}

# emulator: programs of arm64 run as if they were native (the kernel's binfmt_misc; F: also in a root of their own).
emulator() {
    [ "$arch" = arm64 ] || fail "$arch cannot be run here"
    command -v qemu-aarch64-static aarch64-linux-gnu-gcc >/dev/null || fail "cross/setup installs the emulator"
    local at=/proc/sys/fs/binfmt_misc
    mountpoint -q $at || mount -t binfmt_misc binfmt_misc $at
    [ -e $at/qemu-aarch64 ] || printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F' >$at/register
    aarch64-linux-gnu-gcc -shared -fPIC -O2 -o "$scratch/qemu_user.so" "$here/../fleet/qemu_user.c"
}

# --- What is in the packages.

contents() {
    local package name wrong
    for package in "${packages[@]}"; do
        name=$(dpkg-deb -f "$package" Package)
        # Everything root's; nothing that others may write, nothing setuid; executable is what is in /usr/bin and /usr/libexec.
        wrong=$(dpkg-deb -c "$package" | awk '
            $2 != "root/root" && $2 != "0/0" { print; next }
            $1 == "drwxr-xr-x" && $6 ~ /\/$/ { next }
            $1 == "-rwxr-xr-x" && $6 ~ /^\.\/usr\/(bin|libexec\/wardline)\// { next }
            $1 == "-rw-r--r--" && $6 !~ /^\.\/usr\/(bin|libexec)\// { next }
            { print }')
        [ -z "$wrong" ] || fail "$name: owner or mode: $wrong"
        same "$name: files" "$(cat "$here/$name.files")" "$(dpkg-deb -c "$package" | awk '$6 !~ /\/$/ { print substr($6, 2) }' |
            sed -E 's#/man1/[^/]+$#/man1/*#; s#/doc/wardline/docs/[^/]+$#/doc/wardline/docs/*#; s#/devices.d/[^/]+$#/devices.d/*#' | LC_ALL=C sort -u)"
    done
    say "files, owners and modes are as listed"
    lintian --allow-root --fail-on error,warning "${packages[@]}" || fail "lintian complains"
    say "lintian has no error and no warning but those overridden with a reason"
}

manuals() {
    local at=$scratch/unpacked page complaints
    for package in "${packages[@]}"; do dpkg-deb -x "$package" "$at"; done
    for page in "$at"/usr/share/man/man1/*.gz; do
        gunzip -k "$page"
        page=${page%.gz}
        # What mandoc says of `br` beside `sp` is of the generator, and has no effect.
        complaints=$(mandoc -T lint -W warning "$page" | grep -v 'skipping paragraph macro: br' || true)
        complaints+=$(man --warnings --local-file -Tutf8 -Z "$page" 2>&1 >/dev/null)
        [ -z "$complaints" ] || fail "$complaints"
        man --local-file "$page" | grep -q '^NAME' || fail "$page has no name"
    done
    say "$(find "$at"/usr/share/man/man1 -name '*.1' | wc -l) man pages have no complaint"
}

# --- A root file system, and a version before this one.

new_root() {
    mkdir "$root"
    tar -xf "$cache/root-$arch.tar" -C "$root"
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    mount --bind /dev/pts "$root/dev/pts"
    mount --bind -o ro /sys "$root/sys"
    mkdir -p "$root/run/systemd/system" "$root/packages"
    # Unlike those of the root file system, postinst has a manager to talk to here.
    rm -f "$root/usr/sbin/policy-rc.d"
    inside dpkg-divert --quiet --rename --add /bin/systemctl
    install -m 755 "$here/systemctl" "$root/bin/systemctl"
    cp "${packages[@]}" "$root/packages"
    [ ! -e "$scratch/qemu_user.so" ] || install -m 755 "$scratch/qemu_user.so" "$root/run/"
}

# older VERSION: the same with another number, and another conffile.
older() {
    local at=$scratch/older
    rm -rf "$at"
    dpkg-deb -R "$main" "$at"
    sed -i "s/^Version: .*/Version: $1/" "$at/DEBIAN/control"
    sed -i '1i # Of an older version.' "$at/etc/wardline/floor.toml" "$at/etc/wardline/gateway.toml"
    (cd "$at" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | sort | xargs -d '\n' md5sum >DEBIAN/md5sums)
    dpkg-deb --root-owner-group -b "$at" "$root/packages/older.deb" >/dev/null
}

installs() { inside dpkg --force-confdef --force-confold -i "$@" >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; fail "dpkg -i $*"; }; }
asked() { cat "$root/run/systemctl.log" 2>/dev/null || true; }
forget() { : >"$root/run/systemctl.log"; }
mode_of() { inside stat -c '%a %U:%G' "$1"; }

first_install() {
    older 0.0.9-1
    forget
    installs /packages/older.deb
    grep -q 'not started: it has to be told' "$scratch/dpkg.log" || fail "nothing says what to do next"
    asked | grep -Eq 'start|enable' && fail "an unconfigured daemon was started: $(asked)"
    same "groups of the user" "bluetooth dialout wardline" "$(inside id -nG wardline | tr ' ' '\n' | sort | paste -sd ' ')"
    same "/etc/wardline" "750 root:wardline" "$(mode_of /etc/wardline)"
    same "devices.d" "750 root:wardline" "$(mode_of /etc/wardline/devices.d)"
    same "credentials" "700 root:root" "$(mode_of /etc/credstore.encrypted)"
    same "version" "wardline ${version%-*}" "$(inside wardline --version)"
    local verdict code=0
    verdict=$(inside wardline check --config /etc/wardline --json) || code=$?
    same "wardline check of what is installed" 3 "$code"
    same "what is missing" "gateway.group gateway.id gateway.organisation uplink.host" "$(printf '%s' "$verdict" |
        python3 -c 'import json, sys; print(*sorted(p["key"] for p in json.load(sys.stdin)["problems"]))')"
    say "installed as an older version: user, folders, words; not started; its configuration says what is missing"
}

files_of_the_system() {
    local complaints
    complaints=$(inside systemd-analyze verify /usr/lib/systemd/system/wardline.service 2>&1 | grep -F wardline || true)
    [ -z "$complaints" ] || fail "systemd-analyze verify: $complaints"
    # systemd 254 and later have `udevadm verify`; before, a rule that is not understood is told of when it is read.
    if inside udevadm verify --help >/dev/null 2>&1; then
        inside udevadm verify /usr/lib/udev/rules.d/61-wardline.rules >/dev/null || fail "udevadm verify"
    else
        complaints=$(inside udevadm test --action=add "$(ls -d /sys/class/tty/tty0 /sys/class/tty/ttyS0 2>/dev/null | head -n 1)" 2>&1)
        grep -q 'Reading rules file: .*/61-wardline.rules' <<<"$complaints" || fail "udev did not read the rules: $complaints"
        complaints=$(grep '61-wardline.rules:' <<<"$complaints" || true)
        [ -z "$complaints" ] || fail "udev: $complaints"
    fi
    say "systemd and udev understand their files"
    # Completions as bash loads them: by the name of the command.
    local words
    words=$(inside bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader wardline
        COMP_WORDS=(wardline spo) COMP_CWORD=1; _wardline wardline spo wardline; echo "${COMPREPLY[@]}"')
    same "completion of spo" spool "$words"
    say "bash completes wardline spo to spool"
}

bus_policy() {
    mkdir -p "$root/run/dbus"
    inside dbus-daemon --system --nofork --nopidfile >"$scratch/dbus.log" 2>&1 &
    bus=$!
    soon 30 test -S "$root/run/dbus/system_bus_socket" || fail "no bus: $(cat "$scratch/dbus.log")"
    grep -i 'wardline' "$scratch/dbus.log" && fail "dbus-daemon complains of the policy"
    inside useradd --system --no-create-home --groups bluetooth control
    timeout 200 "$cache/dbus/bin/python" "$here/policy.py" "$root/run/dbus/system_bus_socket" \
        "$(inside id -u wardline)" "$(inside id -u control)" "$(inside getent group bluetooth | cut -d: -f3)" || fail "the policy of the bus"
    end "$bus"
    bus=''
}

# --- A daemon with a device, over upgrade, downgrade, a configuration that the new version refuses, and removal.

configure() {
    sed -i -E 's/^# (organisation|group|id|host) = /\1 = /' "$root/etc/wardline/gateway.toml"
    printf '%s\n' '[[device]]' 'id = "oximeter-bed-7b"' 'asset = "OXI-00213"' 'driver = "nonin"' 'port = "/run/bedside"' \
        'allow_unstable_port = true' 'elements = "all"' 'trust = "link-only"' >"$root/etc/wardline/devices.d/nonin.toml"
    echo '# By the site.' >>"$root/etc/wardline/floor.toml"
    mkdir -p "$root/run/credentials/wardline.service"
    for key in kek ward; do head -c 32 /dev/urandom >"$root/run/credentials/wardline.service/$key"; done
    inside chown -R wardline: /run/credentials/wardline.service
    chmod -R u=rX,go= "$root/run/credentials/wardline.service"
    as_daemon wardline check --config /etc/wardline >"$scratch/check.log" ||
        { cat "$scratch/check.log"; fail "what the site wrote is not valid"; }
    [ -x "$lab" ] || fail "cargo build --features lab,operator --bin wardline-lab"
    "$lab" sim nonin --port "$root/run/bedside" >/dev/null 2>"$scratch/sim.log" &
    sim=$!
    soon 30 test -e "$root/run/bedside" || fail "no simulator: $(cat "$scratch/sim.log")"
    chown -h "$(inside id -u wardline)" "$root/run/bedside"
    chmod 666 "$(readlink "$root/run/bedside")"
}

# as_daemon COMMAND...: as its user, with its keys.
as_daemon() { inside setpriv --reuid wardline --regid wardline --init-groups env CREDENTIALS_DIRECTORY=/run/credentials/wardline.service "$@"; }
spool() { as_daemon wardline spool list --json --config /etc/wardline 2>>"$scratch/spool.log"; }
# Records that are durable. Nothing is sent here: the number may only grow.
durable() { spool | python3 -c 'import json, sys; print(sum(lane.get("waiting", 0) for lane in json.load(sys.stdin)["lanes"]))'; }
holds_more_than() { local now; now=$(durable) && [ "$now" -gt "$1" ]; }
gaps() { spool | python3 -c 'import json, sys; print(sum(s.get("told", 0) for lane in json.load(sys.stdin)["lanes"] for s in lane["segments"]))'; }
pid() { cat "$root/run/wardline.pid"; }

running_daemon() {
    local before old_pid
    configure
    inside systemctl start wardline.service
    soon 60 holds_more_than 5 || { cat "$root/run/wardline.log" "$scratch/spool.log"; spool || true; fail "the daemon stores nothing"; }

    before=$(durable) old_pid=$(pid)
    forget
    installs "/packages/$(basename "$main")"
    same "what an upgrade asks of systemd" $'daemon-reload\nis-active wardline.service\ntry-restart wardline.service\nis-active wardline.service\ntry-restart wardline-metrics.timer' "$(asked)"
    [ "$(pid)" != "$old_pid" ] || fail "the upgrade did not restart the daemon"
    grep -q 'By the site' "$root/etc/wardline/floor.toml" || fail "the upgrade changed floor.toml"
    [ -e "$root/etc/wardline/floor.toml.dpkg-dist" ] || fail "the new floor.toml is nowhere"
    soon 60 holds_more_than "$before" || fail "after the upgrade it holds $(durable), before $before"
    say "upgrade: restarted once; $before records before, all there and more after; conffiles of the site kept"

    # A configuration that the new program refuses: the old one goes on.
    before=$(durable) old_pid=$(pid)
    echo 'nonsense = 1' >>"$root/etc/wardline/devices.d/nonin.toml"
    forget
    installs "/packages/$(basename "$main")"
    grep -q 'does not take the configuration' "$scratch/dpkg.log" || fail "nothing says that the configuration is refused"
    asked | grep -q "restart wardline.service" && fail "restarted into a configuration that is refused"
    kill -0 "$old_pid" || fail "the daemon does not run any more"
    sed -i '/^nonsense/d' "$root/etc/wardline/devices.d/nonin.toml"
    soon 60 holds_more_than "$before" || fail "the old program stores nothing any more"
    say "a configuration that the new version refuses: said so, the daemon goes on as it was"

    before=$(durable)
    forget
    installs /packages/older.deb
    asked | grep -qx 'try-restart wardline.service' || fail "the downgrade did not restart the daemon"
    same "version after the downgrade" 0.0.9-1 "$(inside dpkg-query -W -f '${Version}' wardline)"
    soon 60 holds_more_than "$before" || fail "after the downgrade it holds $(durable), before $before"
    same "lost records" 0 "$(gaps)"
    say "downgrade: $before records before, all there and more after"
}

# A removal that is given up half-way, as by Ctrl-C while the daemon drains: dpkg then calls postinst abort-remove.
removal_given_up() {
    local before prerm=$root/var/lib/dpkg/info/wardline.prerm
    cp -p "$prerm" "$scratch/prerm"
    echo 'exit 1' >>"$prerm"
    before=$(durable)
    : >"$root/run/wardline.enabled"
    inside dpkg -r wardline >"$scratch/dpkg.log" 2>&1 && fail "removed although prerm failed"
    grep -q 'given up: the daemon runs' "$scratch/dpkg.log" || { cat "$scratch/dpkg.log"; fail "a removal that was given up does not say that the daemon runs"; }
    soon 60 holds_more_than "$before" || fail "after a removal that was given up it holds $(durable), before $before"
    # One that nobody enabled is not started by a package.
    rm "$root/run/wardline.enabled"
    inside dpkg -r wardline >"$scratch/dpkg.log" 2>&1 && fail "removed although prerm failed"
    grep -q 'NOTHING IS READ until: systemctl start wardline' "$scratch/dpkg.log" || { cat "$scratch/dpkg.log"; fail "nothing says that the daemon does not run"; }
    [ ! -s "$root/run/wardline.pid" ] || fail "a daemon that is not enabled was started"
    cp -p "$scratch/prerm" "$prerm"
    same "marks that are left" "" "$(cd "$root/run" && ls -d wardline*.ran 2>/dev/null)"
    same "state of the package" installed "$(inside dpkg-query -W -f '${db:Status-Status}' wardline)"
    before=$(durable)
    inside systemctl start wardline.service
    soon 60 holds_more_than "$before" || fail "it stores nothing any more"
    say "a removal that is given up: an enabled daemon runs again, of another it is said that nothing is read"
}

removal() {
    local before left
    before=$(durable)
    forget
    inside dpkg -r wardline >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; fail "dpkg -r"; }
    asked | grep -qx 'stop wardline.service' || fail "removed without stopping the daemon"
    [ ! -s "$root/run/wardline.pid" ] || fail "the daemon still runs"
    same "marks that are left" "" "$(cd "$root/run" && ls -d wardline*.ran 2>/dev/null)"
    grep -q 'var/lib/wardline/store stays' "$scratch/dpkg.log" || fail "a removal does not say that the store stays"
    [ -e "$root/etc/wardline/devices.d/nonin.toml" ] && grep -q 'By the site' "$root/etc/wardline/floor.toml" || fail "a removal took configuration"

    # It can be taken up again: everything is there, the store is sound.
    installs "/packages/$(basename "$main")"
    grep -q 'NOTHING IS READ until: systemctl start wardline' "$scratch/dpkg.log" || fail "nothing says that the daemon does not run"
    [ "$(durable)" -ge "$before" ] || fail "$(durable) of $before records after removal and installation"
    as_daemon wardline spool verify --config /etc/wardline >"$scratch/verify.log" ||
        { cat "$scratch/verify.log"; fail "the store is not sound"; }
    say "removed: stopped, store and configuration kept; installed again: $(durable) records, the store is sound"

    # Keys as wardline init leaves them: encrypted, or in the clear with a drop-in of the unit that finds them.
    local keys=(/etc/credstore.encrypted/wardline.tls-key /etc/credstore/wardline.kek /etc/credstore/wardline.ward)
    local drop_in=/etc/systemd/system/wardline.service.d/keys.conf
    for left in "${keys[@]}" "$drop_in"; do
        mkdir -p "$root${left%/*}"
        echo secret >"$root$left"
    done
    inside dpkg --purge wardline >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; fail "dpkg --purge"; }
    for left in "${keys[@]}"; do
        [ -e "$root$left" ] || fail "a purge deleted $left"
        grep -qF "shred -u $left" "$scratch/dpkg.log" || fail "a purge does not name the key $left"
    done
    [ -e "$root$drop_in" ] && grep -qF "not deleted: $drop_in" "$scratch/dpkg.log" || fail "a purge does not name $drop_in"
    [ -n "$(ls -A "$root/var/lib/wardline/store")" ] || fail "a purge deleted the store"
    grep -q 'NOT deleted: /var/lib/wardline' "$scratch/dpkg.log" || fail "a purge does not say what is left"
    grep -q 'wardline wipe' "$scratch/dpkg.log" || fail "a purge does not say what destroys it"
    same "what a purge leaves in /etc/wardline" "devices.d/nonin.toml" "$(cd "$root/etc/wardline" && find . -type f -printf '%P\n')"
    same "files that are left" "" "$(inside find /usr -path /usr/share/doc -prune -o -name '*wardline*' -not -name '*wardline-fleet*' -print)"
    say "purged: the store, the keys and what the site wrote are left, and named"

    # Where nothing was ever stored, nothing is left.
    rm -rf "$root/var/lib/wardline" "$root/etc/wardline" "$root${drop_in%/*}" "${keys[@]/#/$root}"
    installs "/packages/$(basename "$main")"
    inside dpkg --purge wardline >"$scratch/dpkg.log" 2>&1
    grep -qi 'not deleted' "$scratch/dpkg.log" && fail "a purge of nothing says that something is left"
    [ ! -e "$root/etc/wardline" ] && [ ! -e "$root/var/lib/wardline" ] || fail "empty folders are left"
    say "purged where nothing was stored: nothing is left"
}

others() {
    local package name
    for package in "${packages[@]:1}"; do
        name=$(dpkg-deb -f "$package" Package)
        if [ "$name" = wardline-dashboard ]; then
            # It is only there for what the daemon's package holds.
            inside dpkg -i "/packages/$(basename "$package")" >"$scratch/dpkg.log" 2>&1 && fail "$name: installed without wardline"
            inside dpkg --purge "$name" >/dev/null
            installs "/packages/$(basename "$main")" "/packages/$(basename "$package")"
            inside wardline dashboard --help >/dev/null
            inside dpkg --purge "$name" wardline >/dev/null 2>&1
        else
            installs "/packages/$(basename "$package")"
            inside "$name" --help >/dev/null
            inside dpkg --purge "$name" >/dev/null
        fi
        same "files that $name leaves" "" "$(inside find /usr /etc /var/lib -name "*$name*" -not -path '*/dpkg/*')"
        say "$name: installed, runs, purged without a trace"
    done
}

tools
contents
manuals
new_root
first_install
files_of_the_system
bus_policy
running_daemon
removal_given_up
removal
others
echo "check.sh: $arch $version: all is well"
