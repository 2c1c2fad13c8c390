#!/usr/bin/env bash
# The pages of metrics, judged by the parsers of Prometheus' own Python client (OpenMetrics, and the text format 0.0.4) and
# by promtool; the alert rules by promtool and by their own tests, in which each of them has to fire.
#
#   tests/metrics/check.sh SCRATCH PAGES
#   tests/metrics/check.sh SCRATCH rules      the alert rules alone
#
# SCRATCH   a folder for the tools; kept between runs it saves their installation
# PAGES     full.txt, full.prom, away.txt, away.prom, as `wardline-lab sample-payloads` writes them
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,9p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
scratch=$(cd "$1" && pwd) pages=''
[ "$2" = rules ] || pages=$(cd "$2" && pwd)

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

if [ ! -e "$scratch/ready" ]; then
    python3 -m venv "$scratch/python"
    "$scratch/python/bin/pip" install --quiet --disable-pip-version-check prometheus-client==0.26.0
    # Unpacked and not installed: a server that starts by itself is not wanted here.
    (
        cd "$scratch"
        apt-get download -qq prometheus 2>/dev/null || { as_root apt-get update -qq && apt-get download -qq prometheus; }
        dpkg-deb -x prometheus_*.deb unpacked
        rm prometheus_*.deb
    )
    touch "$scratch/ready"
fi
promtool=$scratch/unpacked/usr/bin/promtool

judge_pages() {
    local page
    "$scratch/python/bin/python" - "$pages" <<'PYTHON'
import sys
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format

pages = Path(sys.argv[1])


def samples(parse, text):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in parse(text) for s in family.samples}


for name, least in (("full", 60), ("away", 1)):
    new, old = (pages / f"{name}.txt").read_text(), (pages / f"{name}.prom").read_text()
    found = samples(open_metrics, new)
    assert found == samples(text_format, old), name
    assert len(found) >= least, (name, len(found))
    kinds = {family.type for family in open_metrics(new)}
    assert "unknown" not in kinds, kinds
    print(f"  {name}: {len(found)} samples, the same in both formats, of {sorted(kinds)}")

# And a parser that says yes to everything is none.
new = (pages / "full.txt").read_text()
lines = new.splitlines(keepends=True)
counter = next(line for line in lines if "_total" in line)
for what, broken in {
    "no end": new.removesuffix("# EOF\n"),
    "a family in two parts": new.replace("# EOF\n", lines[3] + "# EOF\n"),
    "a counter without its suffix": new.replace(counter, counter.replace("_total", "")),
    "a wrong unit": new.replace("_seconds seconds", "_seconds bytes", 1),
}.items():
    try:
        samples(open_metrics, broken)
    except ValueError:
        continue
    raise SystemExit(f"accepted although broken: {what}")
PYTHON

    for page in "$pages"/*.prom; do
        # Its advice on names is for those who may still change them; what it cannot read is an error.
        "$promtool" check metrics <"$page" || [ $? -eq 3 ]
    done
}
[ -z "$pages" ] || judge_pages

cd "$here/../../configs/prometheus"
"$promtool" check rules wardline.rules.yml
"$promtool" test rules wardline.rules*.test.yml

# Each of them fires in its tests: with an expression that is never true in its place they have to fail.
changed=$scratch/rules
rm -rf "$changed"
mkdir "$changed"
cp wardline.rules*.test.yml "$changed"
alerts=$(sed -n 's/^ *- alert: //p' wardline.rules.yml)
for alert in $alerts; do
    awk -v alert="$alert" '/- alert:/ { of = $3 } of == alert && /^ *expr:/ { sub(/expr:.*/, "expr: vector(0) > 1"); n++ } { print }
        END { exit n != 1 }' wardline.rules.yml >"$changed/wardline.rules.yml" || { echo "check.sh: $alert has no expression of one line" >&2; exit 1; }
    if (cd "$changed" && "$promtool" test rules wardline.rules*.test.yml >/dev/null 2>&1); then
        echo "check.sh: $alert fires in no test of configs/prometheus" >&2
        exit 1
    fi
done
echo "  $(wc -w <<<"$alerts") alert rules, and each of them fires in its tests"
