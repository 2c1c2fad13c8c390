#!/usr/bin/env bash
# What wardline-fleet signs, judged by the reference implementation of DSSE (securesystemslib), and the other
# way round; and whether the attacks under tests/fleet/attacks are what make_attacks.py writes.
#
#   tests/fleet/cross_check.sh SCRATCH PATH-OF-WARDLINE-FLEET
#
# SCRATCH is made when it is not there; a virtual environment that is in it is used again.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,7p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
scratch=$(cd "$1" && pwd) program=$(realpath "$2")

if [ ! -x "$scratch/venv/bin/python" ]; then
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check 'securesystemslib[crypto]==1.6.0'
fi
python=$scratch/venv/bin/python

cd "$(mktemp -d -p "$scratch")"
(
    umask 077
    for key in root-1 root-2 root-3 config-1 config-2 config-3 timestamp-1; do
        printf '%s = "the passphrase of %s"\n' "$key" "$key"
    done >passphrases.toml
)
secret=(--passphrase-file passphrases.toml)
"$program" init --organisation st-anna "${secret[@]}" fleet >/dev/null
"$program" gateway add gw-1 --group icu-3 fleet >/dev/null
"$program" gateway add gw-2 --group icu-3 fleet >/dev/null
"$program" bundle new --group icu-3 fleet >/dev/null
cat >>fleet/g/icu-3/draft.toml <<'DEVICE'
[[device]]
gateways = ["gw-1"]
id = "pump-1"
asset = "P-1"
driver = "alaris-asena"
port = "/dev/serial/by-path/one"
elements = "all"
expects = { serial = "1" }
DEVICE
"$program" bundle sign --group icu-3 --key config-1 "${secret[@]}" fleet >/dev/null
echo "-- countersigned at a terminal: what is signed is shown, its first digits are typed, and a passphrase that is not shown"
"$python" "$here/cross_check.py" type "the passphrase of config-2" \
    "$program" bundle countersign --group icu-3 --key config-2 fleet
"$program" publish --group icu-3 --canary gw-1 --to out "${secret[@]}" fleet >/dev/null

echo "-- what wardline-fleet signed, verified by securesystemslib"
"$python" "$here/cross_check.py" verify out

if command -v openssl >/dev/null; then
    echo "-- a key of wardline-fleet, read by openssl"
    openssl pkey -in fleet/keys/config-3.pem -passin "pass:the passphrase of config-3" -noout
fi

echo "-- what securesystemslib signed with the keys of wardline-fleet, believed by wardline-fleet verify"
"$python" "$here/cross_check.py" sign out fleet/keys theirs
"$program" verify theirs --as gw-1 --group icu-3 --root fleet/enrol/gw-1/root.json
echo "-- and what it signed with too few of them, refused"
"$python" "$here/cross_check.py" sign-one out fleet/keys few
outcome=0
"$program" verify few --as gw-1 --root fleet/enrol/gw-1/root.json || outcome=$?
[ $outcome -eq 6 ] || { echo "ended with $outcome, not with 6"; exit 1; }

echo "-- the attacks, written anew"
"$python" "$here/make_attacks.py" --check "$here/attacks"
