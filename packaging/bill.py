#!/usr/bin/env python3
"""What a program is built of, from cargo's own resolution: nothing is downloaded, nothing is guessed.

    packaging/bill.py sbom     PROGRAM TARGET [FEATURE...]   CycloneDX 1.6 on standard output
    packaging/bill.py licences PROGRAM TARGET [FEATURE...]   licences of what is linked, with their texts

Listed is what is linked into the program: normal dependencies for that target with these features, and the C
libraries that a crate brings along. What only runs while it is built (derive macros, build scripts) is not.
The same tree and SOURCE_DATE_EPOCH give the same bytes.
"""

import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
# C sources that crates bring along and link: crate, name, licence, file of the licence, how the version is found.
VENDORED = {
    "libdbus-sys": ("dbus", "AFL-2.1 OR GPL-2.0-or-later", "vendor/dbus/COPYING", "dbus"),
    "libsqlite3-sys": ("sqlite", "blessing", "sqlite3/sqlite3.h", "sqlite"),
    "zstd-sys": ("zstd", "BSD-3-Clause OR GPL-2.0-only", "zstd/LICENSE", "build metadata"),
}


def cargo(*arguments):
    return subprocess.run(
        ["cargo", *arguments, "--locked"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def linked(target, features):
    """The packages that are linked, by name and version, and for each the names and versions that it links.

    What is linked says `cargo tree`: `cargo metadata` also lists what only a feature that is off would link.
    """
    wanted = ["--features", ",".join(features)] if features else []
    tree = cargo("tree", "--edges", "normal,no-proc-macro", "--target", target, *wanted,
                 "--prefix", "depth", "--no-dedupe", "--format", " {p}")
    graph, above = {}, []
    for line in tree.splitlines():
        depth, name, version = line.split()[:3]
        key = name, version.removeprefix("v")
        del above[int(depth):]
        graph.setdefault(key, set())
        if above:
            graph[above[-1]].add(key)
        above.append(key)
    known = json.loads(cargo("metadata", "--format-version", "1", *wanted))["packages"]
    packages = {(one["name"], one["version"]): one for one in known}
    return next(iter(graph)), {key: packages[key] for key in graph}, graph


def licence(package):
    """The licence as an SPDX expression; the old way to write `or` is a slash."""
    return re.sub(r"\s*/\s*", " OR ", package["license"] or "")


def folder(package):
    return pathlib.Path(package["manifest_path"]).parent


def vendored(package):
    """The C library that a crate brings along: name, version, licence, its text."""
    if package["name"] not in VENDORED:
        return None
    name, terms, path, how = VENDORED[package["name"]]
    text = (folder(package) / path).read_text(errors="replace")
    if how == "sqlite":
        # Its terms are the first words of its header.
        return name, re.search(r'#define SQLITE_VERSION +"([^"]+)"', text)[1], terms, text.split("*****")[0]
    if how == "dbus":
        numbers = (folder(package) / "vendor/dbus/configure.ac").read_text()
        version = ".".join(
            re.search(rf"dbus_{part}_version\], \[(\d+)\]", numbers)[1] for part in ("major", "minor", "micro")
        )
    else:
        version = package["version"].split("+zstd.")[1]
    return name, version, terms, text


def component(package, checksums):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version.replace('+', '%2B')}"
    made = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    made["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    made["licenses"] = [{"expression": licence(package)}]
    if package["repository"]:
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    if brought := vendored(package):
        name, version, terms, _ = brought
        purl = f"pkg:generic/{name}@{version}"
        made["components"] = [
            {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
             "licenses": [{"expression": terms}]}
        ]
    return made


def sbom(program, target, features):
    start, packages, graph = linked(target, features)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(one["name"], one["version"]): one["checksum"] for one in lock["package"] if "checksum" in one}
    own = packages.pop(start)
    purl = f"pkg:generic/{program}@{own['version']}"
    parts = {key: component(package, checksums) for key, package in packages.items()}
    refs = {key: part["bom-ref"] for key, part in parts.items()} | {start: purl}
    moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application", "bom-ref": purl, "name": program, "version": own["version"], "purl": purl,
                "licenses": [{"expression": own["license"]}],
                "properties": [
                    {"name": "wardline:target", "value": target},
                    {"name": "wardline:features", "value": ",".join(features)},
                ],
            },
        },
        "components": sorted(parts.values(), key=lambda part: part["bom-ref"]),
        "dependencies": sorted(
            ({"ref": refs[key], "dependsOn": sorted(refs[one] for one in below)} for key, below in graph.items()),
            key=lambda one: one["ref"],
        ),
    }
    digest = hashlib.sha256(json.dumps(bom, sort_keys=True).encode()).digest()
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest.hex())}"
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    print()


def licences(program, target, features):
    start, packages, _ = linked(target, features)
    packages.pop(start)
    texts = {}
    print(f"What {program} links, and under which licence. Where a licence offers a choice, each of them may be taken.\n")
    for package in sorted(packages.values(), key=lambda one: (one["name"], one["version"])):
        name = f"{package['name']} {package['version']}"
        print(f"{name}\n  licence: {licence(package)}\n  source:  {package['repository'] or 'the crates registry'}")
        for file in sorted(folder(package).iterdir()):
            if re.match(r"(?i)(licen[cs]e|copying|notice|copyright)", file.name) and file.is_file():
                texts.setdefault(file.read_text(errors="replace").strip(), []).append(name)
        if brought := vendored(package):
            print(f"  with:    {brought[0]} {brought[1]}, {brought[2]}")
            texts.setdefault(brought[3].strip(), []).append(f"{brought[0]} {brought[1]}")
    for text, names in sorted(texts.items(), key=lambda one: one[1]):
        print(f"\n{'=' * 100}\n{', '.join(names)}\n{'-' * 100}\n{text}")


def main(arguments):
    if len(arguments) < 3 or arguments[0] not in ("sbom", "licences"):
        sys.exit(__doc__)
    what, program, target, *features = arguments
    (sbom if what == "sbom" else licences)(program, target, features)


if __name__ == "__main__":
    main(sys.argv[1:])
