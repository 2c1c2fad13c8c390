#!/usr/bin/env python3
"""Whether the lists of the Debian packages agree, without building one: the assets in Cargo.toml, what packaging/build
makes for them, the files of the tree, and what check.sh expects of the packages (*.files). And that a shell can read
the maintainer scripts.

    tests/package/lists.py

Standard library only, Python 3.11. Ends with 1 and one line for each finding.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STAGE = "target/package/stage/"
# As in check.sh: what there are many of stands in the lists as one.
MANY = ("/man1/", "/doc/wardline/docs/", "/devices.d/")
# dpkg's names.
SCRIPTS = {"preinst", "postinst", "prerm", "postrm", "config", "triggers", "templates"}


def packages():
    """Of each package its table in Cargo.toml."""
    deb = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["metadata"]["deb"]
    return [deb, *deb["variants"].values()]


def staged(name, pattern):
    """What packaging/build makes of a pattern below the stage: the names, or the pattern where they are many."""
    build = (ROOT / "packaging/build").read_text(encoding="utf-8")
    made = set(re.findall(r'"\$stage/\$package/([\w.-]+)"', build))
    last = pattern.rsplit("/", 1)[-1]
    if pattern == f"{STAGE}{name}/*.gz":
        return sorted(file for file in made if file.endswith(".gz"))
    if pattern.startswith(f"{STAGE}{name}/") and "/" not in pattern.removeprefix(f"{STAGE}{name}/"):
        return [last] if last in made else []
    return [last]


def installed(name, assets, problems):
    """Where the files of a package go, each with its mode."""
    for source, target, mode in assets:
        if source.startswith(STAGE):
            files = staged(name, source)
        else:
            files = sorted(path.name for path in ROOT.glob(source) if path.is_file())
        if not files:
            what = "packaging/build does not make it" if source.startswith(STAGE) else "it is not there"
            problems.append(f"Cargo.toml: {name}: {source}: {what}")
        for file in files:
            yield ("/" + target + file if target.endswith("/") else "/" + target), mode


def listed(path):
    """As the lists have it."""
    return next((path[: path.index(part) + len(part)] + "*" for part in MANY if part in path), path)


def check(package, problems):
    name = package["name"]
    files = list(installed(name, package["assets"], problems))
    for path, mode in files:
        is_program = path.startswith(("/usr/bin/", "/usr/libexec/"))
        if mode != ("755" if is_program else "644"):
            problems.append(f"Cargo.toml: {name}: {path} has mode {mode}")
    found = {listed(path) for path, _ in files}
    expected = set((HERE / f"{name}.files").read_text(encoding="utf-8").split())
    for path in sorted(found - expected):
        problems.append(f"tests/package/{name}.files: has no {path}, which Cargo.toml installs")
    for path in sorted(expected - found):
        problems.append(f"tests/package/{name}.files: has {path}, which Cargo.toml does not install")
    for path in package["conf-files"]:
        if path not in {path for path, _ in files}:
            problems.append(f"Cargo.toml: {name}: the conf-file {path} is not installed")
    return len(files)


def check_scripts(problems):
    """cargo-deb takes every file with dpkg's name; another one would be left out without a word."""
    scripts = sorted((ROOT / "packaging/scripts").iterdir())
    for script in scripts:
        if script.name not in SCRIPTS:
            problems.append(f"packaging/scripts/{script.name}: is no name of a maintainer script")
    shells = [("sh", script) for script in [*scripts, HERE / "systemctl"]]
    shells += [("bash", ROOT / file) for file in ("packaging/build", "packaging/twice", "tests/package/check.sh")]
    for shell, script in shells:
        ran = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
        if ran.returncode:
            problems.append(f"{script.relative_to(ROOT)}: {ran.stderr.strip()}")
    return len(scripts)


def main():
    problems = []
    files = sum(check(package, problems) for package in packages())
    scripts = check_scripts(problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{len(packages())} packages: {files} files as listed, {scripts} maintainer scripts that a shell can read")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
