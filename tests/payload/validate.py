"""Samples against the R4 JSON schema, fhir.resources (R4B), the CDDL and OCSF; makes the broken copies."""

import copy
import json
import pathlib
import sys

import cbor2
import jsonschema
import pycddl
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.observation import Observation
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

payloads, findings, schema_path, cddl_path = map(pathlib.Path, sys.argv[1:5])
mutants = findings / "mutants"
schema = json.loads(schema_path.read_text())
failures = []


def of_schema(definition):
    return jsonschema.Draft6Validator({"$ref": f"#/definitions/{definition}", "definitions": schema["definitions"]})


def drop(*path):
    def change(resource):
        for step in path[:-1]:
            resource = resource[step]
        del resource[path[-1]]

    return change


def put(value, *path):
    def change(resource):
        for step in path[:-1]:
            resource = resource[step]
        resource[path[-1]] = value

    return change


MUTANTS = {
    "no-status": drop("status"),
    "status-of-another-word": put("finalised", "status"),
    "no-code": drop("code"),
    "time-without-zone": put("2026-11-21T23:40:00", "effectiveDateTime"),
    "no-time": drop("effectiveDateTime"),
    "no-subject": drop("subject"),
    "no-vital-signs-category": drop("category", 0),
    "unknown-field": put("x", "bed"),
    "unit-as-people-write-it": put("mmHg", "valueQuantity", "code"),
    "value-and-reason": put({"coding": [{"code": "unknown"}]}, "dataAbsentReason"),
    "two-values": put("97", "valueString"),
    "number-as-text": put("97", "valueQuantity", "value"),
    "neither-value-nor-reason": drop("valueQuantity"),
    "identifier-that-is-no-list": put({"value": "x"}, "identifier"),
    "extension-without-url": drop("extension", 0, "url"),
}

CBOR_MUTANTS = {
    "version": lambda p: p.update({0: 2}),
    "short-store-id": lambda p: p.update({1: b"123"}),
    "lane-that-is-none": lambda p: p.update({2: 3}),
    "device-with-a-name": lambda p: p[8].__setitem__(0, "BED!"),
    "link-of-another-word": lambda p: p[8].__setitem__(3, "tls"),
    "no-records": lambda p: p.update({9: []}),
    "short-record": lambda p: p[9][0].pop(),
    "negative-seq": lambda p: p[9][0].__setitem__(1, -1),
    "float-value": lambda p: p[9][0].__setitem__(13, 97.5),
    "absent-of-another-word": lambda p: p[9][0].__setitem__(13, [0, "gone"]),
    "value-that-is-none": lambda p: p[9][0].__setitem__(13, [3, 1]),
    "decimal-of-three": lambda p: p[9][0].__setitem__(13, cbor2.CBORTag(4, [-2, 1, 1])),
    "record-number-as-text": lambda p: p[9][0].__setitem__(14, "7"),
    "clock-as-text": lambda p: p[9][0].__setitem__(15, "+1h"),
    "location-that-is-no-text": lambda p: p.update({10: 7}),
    "patient": lambda p: p.update({11: "name"}),
}


def fhir():
    bundles = sorted(payloads.glob("*.json"))
    assert bundles, f"no *.json in {payloads}"
    vital = None
    for path in bundles:
        text = path.read_text()
        bundle = json.loads(text)
        for error in of_schema("Bundle").iter_errors(bundle):
            failures.append(f"{path.name}: JSON schema: {error.message[:200]}")
        try:
            Bundle.model_validate_json(text)
        except Exception as error:
            failures.append(f"{path.name}: R4B: {error}")
        for entry in bundle["entry"]:
            resource = entry["resource"]
            codes = [c["coding"][0]["code"] for c in resource.get("category", [])]
            if vital is None and "vital-signs" in codes and "valueQuantity" in resource:
                vital = resource
    assert vital, "no vital sign among the samples"
    rejected = []
    observation = of_schema("Observation")
    assert not list(observation.iter_errors(vital))
    for name, change in MUTANTS.items():
        broken = copy.deepcopy(vital)
        change(broken)
        (mutants / f"{name}.json").write_text(json.dumps(broken))
        schema_says_no = next(observation.iter_errors(broken), None) is not None
        try:
            Observation.model_validate(broken)
            model_says_no = False
        except Exception:
            model_says_no = True
        if schema_says_no or model_says_no:
            rejected.append(f"{name}.json")
    return rejected


REASONS = {"not-a-number", "positive-infinity", "negative-infinity", "error", "unknown"}


def values_are_known(publish):
    """The CDDL validator takes any array where the schema chooses between a text and arrays."""

    def known(value):
        if isinstance(value, str):
            return True
        if hasattr(value, "as_tuple"):  # cbor2 makes a Decimal of tag 4
            return True
        if not isinstance(value, list) or not value:
            return False
        return (
            (value[0] == 0 and len(value) == 2 and value[1] in REASONS)
            or (value[0] == 1 and len(value) == 2 and isinstance(value[1], int))
            or (
                value[0] == 2
                and len(value) == 6
                and all(isinstance(part, str) for part in value[1:5])
                and isinstance(value[5], bool)
            )
            or (
                value[0] == 3
                and len(value) == 4
                and all(isinstance(part, int) for part in value[1:3])
                and all(part is None or isinstance(part, int) for part in value[3])
            )
        )

    return 8 not in publish or all(known(record[13]) for record in publish[9] if len(record) == 16)


def cbor():
    samples = sorted(payloads.glob("*.cbor"))
    assert samples, f"no *.cbor in {payloads}"
    cddl = pycddl.Schema(cddl_path.read_text())
    base = None
    for path in samples:
        data = path.read_bytes()
        try:
            cddl.validate_cbor(data)
        except Exception as error:
            failures.append(f"{path.name}: CDDL: {error}")
        publish = cbor2.loads(data)
        if not values_are_known(publish):
            failures.append(f"{path.name}: a value of no known shape")
        if base is None and 8 in publish:
            base = publish
    rejected = []
    for name, change in CBOR_MUTANTS.items():
        broken = copy.deepcopy(base)
        change(broken)
        data = cbor2.dumps(broken)
        (mutants / f"{name}.cbor").write_bytes(data)
        try:
            cddl.validate_cbor(data)
            if not values_are_known(broken):
                rejected.append(f"{name}.cbor")
        except Exception:
            rejected.append(f"{name}.cbor")
    return rejected


OCSF_MUTANTS = {
    "no-class": drop("class_uid"),
    "class-of-another-category": put(3, "category_uid"),
    "activity-that-is-none": put(17, "activity_id"),
    "time-as-text": put("now", "time"),
    "no-time": drop("time"),
    "no-finding": drop("finding_info"),
    "no-product": drop("metadata", "product"),
    "severity-as-a-word": put("high", "severity_id"),
    "field-of-our-own": put("x", "patient"),
}


def ocsf():
    samples = sorted(payloads.glob("*.ocsf"))
    assert samples, f"no *.ocsf in {payloads}"
    known = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.7.0"))
    validator = jsonschema.Draft202012Validator(known.get_class_schema(class_name="detection_finding"))
    findings_of = [(path, finding) for path in samples for finding in json.loads(path.read_text())]
    assert findings_of, "no event among the samples"
    for path, finding in findings_of:
        for error in validator.iter_errors(finding):
            failures.append(f"{path.name}: OCSF: {error.message[:200]}")
        if finding["type_uid"] != finding["class_uid"] * 100 + finding["activity_id"]:
            failures.append(f"{path.name}: OCSF: type_uid is not of its class and activity")
    rejected = []
    for name, change in OCSF_MUTANTS.items():
        broken = copy.deepcopy(findings_of[0][1])
        change(broken)
        (mutants / f"{name}.ocsf").write_text(json.dumps(broken))
        if next(validator.iter_errors(broken), None) is not None:
            rejected.append(f"{name}.ocsf")
    return rejected


rejected = fhir() + cbor() + ocsf()
(findings / "rejected-python.txt").write_text("".join(f"{name}\n" for name in rejected))
for failure in failures:
    print(failure, file=sys.stderr)
sys.exit(1 if failures else 0)
