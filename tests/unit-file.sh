#!/usr/bin/env bash
# The unit and its companions, as systemd itself reads them: no complaint, exposure at most 2.0, the
# user in its groups, the folders with their owners. Needs systemd's own tools, and root for the last.
set -euo pipefail
cd "$(dirname "$0")/../systemd"
fail() { printf 'unit-file: %s\n' "$1" >&2; exit 1; }

systemd-analyze security --offline=true --threshold=20 wardline.service >/dev/null ||
    fail "exposure is above 2.0: $(systemd-analyze security --offline=true --no-pager wardline.service | tail -1)"

systemd-analyze security --offline=true --threshold=20 wardline-metrics.service >/dev/null ||
    fail "exposure is above 2.0: $(systemd-analyze security --offline=true --no-pager wardline-metrics.service | tail -1)"

# The only word that is allowed: the program is not installed here.
complaints=$(systemd-analyze verify ./wardline.service ./wardline-metrics.service ./wardline-metrics.timer 2>&1 |
    grep -v 'service: Command /usr/bin/wardline is not executable' | grep -F wardline || true)
[ -z "$complaints" ] || fail "systemd-analyze verify says: $complaints"

# What the daemon relies on, by name: a key that was dropped would only show on a gateway.
for line in 'Wants=modprobe@usbserial.service modprobe@cdc_acm.service' 'After=modprobe@usbserial.service modprobe@cdc_acm.service' \
    Type=notify 'ExecReload=kill -HUP $MAINPID' WatchdogSec=30 LimitCORE=0 MemorySwapMax=0 Environment=MALLOC_MMAP_THRESHOLD_=524288 NoNewPrivileges=yes CapabilityBoundingSet= \
    'DeviceAllow=char-ttyUSB rw' 'DeviceAllow=char-ttyACM rw' 'DeviceAllow=/dev/ttyS0 rw' 'DeviceAllow=char-ttyAMA rw' \
    LoadCredentialEncrypted=kek:wardline.kek LoadCredentialEncrypted=ward:wardline.ward \
    LoadCredentialEncrypted=tls-key:wardline.tls-key Restart=always 'RestartPreventExitStatus=2 3 8' StateDirectory=wardline RuntimeDirectory=wardline; do
    grep -qxF -- "$line" wardline.service || fail "the unit has no line $line"
done

# The consoles have the number of the serial ports ttyS: a line for all of one is one for both.
! grep -q '^DeviceAllow=char-ttyS' wardline.service || fail "char-ttyS allows the consoles too"
# A call outside the filter ends the daemon: an error would be what a taken-over one goes on with.
! grep -q '^SystemCallErrorNumber=' wardline.service || fail "a call outside the filter is not killed"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/etc" "$root/usr/lib/sysusers.d" "$root/usr/lib/tmpfiles.d"
cp wardline.sysusers "$root/usr/lib/sysusers.d/wardline.conf"
cp wardline.tmpfiles "$root/usr/lib/tmpfiles.d/wardline.conf"
if [ "$(id -u)" -ne 0 ]; then
    echo "unit-file: the unit is well; users and folders need root and were not made"
    exit 0
fi
systemd-sysusers --root="$root" wardline.conf
grep -q '^wardline:.*:/usr/sbin/nologin$' "$root/etc/passwd" || fail "sysusers made no user wardline"
for group in dialout bluetooth; do
    grep -q "^$group:.*:wardline\$" "$root/etc/group" || fail "wardline is not in the group $group"
done
systemd-tmpfiles --root="$root" --create wardline.conf
[ "$(stat -c '%a %u' "$root/etc/wardline/devices.d")" = "750 0" ] || fail "/etc/wardline/devices.d has other permissions"
gid=$(grep '^wardline:' "$root/etc/group" | cut -d: -f3)
[ "$(stat -c %g "$root/etc/wardline")" = "$gid" ] || fail "/etc/wardline does not belong to the group wardline"
echo "unit-file: $(systemd-analyze security --offline=true --no-pager wardline.service | tail -1)"
