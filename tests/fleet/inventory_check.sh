#!/usr/bin/env bash
# What wardline-fleet exports as CycloneDX, judged by the specification's own JSON schema (cyclonedx-python-lib).
#
#   tests/fleet/inventory_check.sh SCRATCH BOM.json ...
#
# SCRATCH is made when it is not there; a virtual environment that is in it is used again.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6p' "$0"; exit 2; }
mkdir -p "$1"
scratch=$(cd "$1" && pwd)
shift

if [ ! -e "$scratch/cyclonedx/ready" ]; then
    python3 -m venv "$scratch/cyclonedx"
    "$scratch/cyclonedx/bin/pip" install --quiet --disable-pip-version-check \
        'cyclonedx-python-lib[json-validation]==11.12.0'
    touch "$scratch/cyclonedx/ready"
fi

"$scratch/cyclonedx/bin/python" - "$@" <<'PYTHON'
import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

judge = JsonStrictValidator(SchemaVersion.V1_6)
for path in sys.argv[1:]:
    text = open(path).read()
    if fault := judge.validate_str(text):
        raise SystemExit(f"{path}: {fault}")
    # And a validator that says yes to everything is none.
    for spoil in (
        lambda bom: bom["components"][0].pop("name"),
        lambda bom: bom["components"][0].update(type="ward"),
        lambda bom: bom["components"][0].update(serial="1"),
        lambda bom: bom["metadata"].update(timestamp="yesterday"),
        lambda bom: [one["analysis"].update(state="bad") for one in bom.get("vulnerabilities", [])] or bom.pop("bomFormat"),
    ):
        bom = json.loads(text)
        spoil(bom)
        if not judge.validate_str(json.dumps(bom)):
            raise SystemExit(f"{path}: a broken copy is taken")
    print(f"{path}: valid, its broken copies are not")
PYTHON
