#!/usr/bin/env python3
"""Whether the documents say what the tree is: links, tests and files that they name, and everything a person can meet.

    tests/docs/check.py                  links and anchors, tests, paths, and that the operating manual leaves nothing out
    tests/docs/check.py config PROGRAM   every TOML block of docs/devices.md, as a configuration, to `PROGRAM check`;
                                         every driver and profile of `PROGRAM drivers` has one
    tests/docs/check.py book             docs/build makes one page of all of them, and every link in it leads somewhere

Standard library only. Ends with 1 and one line for each finding. `book` needs rustdoc.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OPERATING = "docs/operating.md"

# Enums of errors whose words a person can meet: the operating manual has to have each.
ERRORS = [
    ("src/fleet/refusal.rs", "Why"),
    ("src/fleet/dsse.rs", "EnvelopeFault"),
    ("src/fleet/folder.rs", "FolderError"),
    ("src/fleet/kept.rs", None),
    ("src/uplink/trouble.rs", "LinkError"),
    ("src/uplink/run.rs", None),
    ("src/uplink/tls.rs", "TlsError"),
    ("src/identity/est/trouble.rs", None),
    ("src/identity/est/issued.rs", None),
    ("src/store/mod.rs", "StoreError"),
    ("src/envelope/keys/mod.rs", "KeyError"),
    ("src/envelope/keys/trouble.rs", None),
    ("src/envelope/keys/uri.rs", None),
    ("src/host/status.rs", "StatusError"),
    ("src/host/audit.rs", "Trouble"),
    ("src/gateway.rs", "GatewayError"),
    ("src/gateway/changer.rs", "Refused"),
    ("src/gateway/roster.rs", None),
    ("src/policy/mod.rs", None),
    ("src/link/mod.rs", "LinkError"),
    ("src/link/ble/pairing/rule.rs", None),
    ("src/link/ble/pairing/proof.rs", None),
    ("src/link/ble/pairing/keys.rs", None),
    ("src/link/ble/pairing/client.rs", None),
    ("src/fleet/operator/keyfile.rs", None),
]

# Words of status, reports and lists: each arm `Self::X => "word"` of these files.
WORDS = [
    "src/policy/state.rs",
    "src/device/mod.rs",
    "src/fleet/documents/reported.rs",
    "src/fleet/health.rs",
    "src/identity/renewal.rs",
    "src/store/inspect/survey.rs",
    "src/store/inspect/verify.rs",
    "src/fleet/advisories/told.rs",
]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def tests_off(source):
    """Without the unit tests at the foot of a file."""
    return re.split(r"^#\[cfg\(test\)\]\nmod tests \{", source, maxsplit=1, flags=re.M)[0]


def squeezed(words):
    return re.sub(r"\s+", " ", words)


def literal(source):
    """What a string literal of Rust says."""
    source = re.sub(r"\\\n\s*", "", source)
    return source.replace('\\"', '"').replace("\\\\", "\\")


# --- Markdown ---------------------------------------------------------------------------------------------------


def unfenced(markdown):
    """The lines that are not code, each with its number."""
    fence = None
    for number, line in enumerate(markdown.splitlines(), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark:
            fence = None if fence and mark[1].startswith(fence) else (fence or mark[1])
            continue
        if fence is None:
            yield number, line


def slug(heading):
    """The anchor of a heading, as GitHub makes it."""
    heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    heading = re.sub(r"[`*]", "", heading).strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\- ]", "", heading))


def anchors(markdown):
    found = {}
    for _, line in unfenced(markdown):
        heading = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if heading:
            name = slug(heading[1])
            count = found.get(name, 0)
            found[name] = count + 1
            if count:
                found[f"{name}-{count}"] = 1
    return set(found)


def pages():
    return sorted(DOCS.glob("*.md")) + [ROOT / "README.md"]


def check_links(problems):
    for page in pages():
        shown = page.relative_to(ROOT)
        for number, line in unfenced(page.read_text(encoding="utf-8")):
            line = re.sub(r"`[^`]*`", "", line)
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                if not file.exists():
                    problems.append(f"{shown}:{number}: there is no {target}")
                elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
                    problems.append(f"{shown}:{number}: {path or shown} has no heading #{anchor}")


# --- what the tree has ------------------------------------------------------------------------------------------


def check_tests(problems):
    """`file.rs::test_name` names a test; a file may be given by its end."""
    named = re.compile(r"`([\w./-]+\.rs)::(\w+)`")
    files = [str(path.relative_to(ROOT)) for top in ("src", "tests") for path in (ROOT / top).rglob("*.rs")]
    for page in sorted(DOCS.glob("*.md")):
        for number, line in unfenced(page.read_text(encoding="utf-8")):
            for file, name in named.findall(line):
                found = [path for path in files if path == file or path.endswith("/" + file)]
                marked = re.compile(r"#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn " + name + r"\(")
                # Scenarios are made by a macro: the function is there without the mark.
                made = re.compile(r"^    async fn " + name + r"\(\w+: \w+\) \{", re.M)
                if not any(marked.search(text(path)) or (SCENARIOS in text(path) and made.search(text(path))) for path in found):
                    problems.append(f"{page.relative_to(ROOT)}:{number}: there is no test {file}::{name}")


SCENARIOS = "macro_rules!"


def check_paths(problems):
    """A path in backticks that begins with a folder of the tree exists."""
    tops = "src|tests|configs|systemd|docs|cross|fuzz|data"
    path = re.compile(rf"`((?:{tops})/[\w./*{{}},-]*)`")
    for page in sorted(DOCS.glob("*.md")):
        for number, line in unfenced(page.read_text(encoding="utf-8")):
            for shown in path.findall(line):
                there = list(ROOT.glob(shown)) if "*" in shown else (ROOT / shown).exists()
                if not there:
                    problems.append(f"{page.relative_to(ROOT)}:{number}: there is no {shown}")


# --- what a person can meet -------------------------------------------------------------------------------------


def exit_codes():
    table = re.search(r"const TABLE.*?=\s*\[(.*?)\];", text("src/cli/exit.rs"), re.S)[1]
    return re.findall(r"\(\s*Self::\w+,\s*(\d+),", table)


def event_rules():
    table = text("src/policy/event.rs").split("detections! {", 1)[1].split("\n}", 1)[0]
    return re.findall(r'= \d+, "([a-z-]+)"', table)


def audit_actions():
    found = set()
    for path in (ROOT / "src/cli").rglob("*.rs"):
        found.update(re.findall(r'note\((?:&log, )?"([a-z-]+)"', tests_off(path.read_text(encoding="utf-8"))))
    found.update(re.findall(r'"(bond-[a-z]+)"', tests_off(text("src/gateway/intake.rs"))))
    found.update(re.findall(r'\("(device-[a-z]+)"', tests_off(text("src/gateway/changer.rs"))))
    return found


def alerts():
    """The rules for Prometheus."""
    files = sorted((ROOT / "configs/prometheus").glob("*.rules.yml"))
    found = [name for file in files for name in re.findall(r"^\s*- alert: (\w+)$", file.read_text(encoding="utf-8"), re.M)]
    if not found:
        raise SystemExit("configs/prometheus: no rules file has an alert")
    return found


def error_words(file, enum):
    """Of each message the longest piece between its placeholders: that is what a person can search for."""
    source = tests_off(text(file))
    if enum:
        source = re.split(rf"enum {enum}\b", source, maxsplit=1)[1].split("\n}", 1)[0]
    for message in re.findall(r'#\[error\(\s*"((?:[^"\\]|\\.)*)"', source, re.S):
        pieces = [piece.strip(" :;,.()`") for piece in re.split(r"\{[^{}]*\}", literal(message))]
        piece = squeezed(max(pieces, key=len))
        if len(piece) > 3:
            yield piece


def words_of(file):
    return re.findall(r'Self::\w+(?: \{ \.\. \})? => "([a-z-]+)"', tests_off(text(file)))


def check_operating(problems):
    if not (ROOT / OPERATING).exists():
        problems.append(f"{OPERATING}: is not there")
        return
    manual = squeezed(text(OPERATING))

    def wants(what, words, mark="{}"):
        if mark.format(words) not in manual:
            problems.append(f"{OPERATING}: says nothing of {what} {words!r}")

    for code in exit_codes():
        if not re.search(rf"^\| {code} \|", text(OPERATING), re.M):
            problems.append(f"{OPERATING}: says nothing of exit code {code}")
    for rule in event_rules():
        wants("the event", rule, "`{}`")
    for attack in re.findall(r'Some\("([a-z -]+)"\)', text("src/fleet/refusal.rs")):
        wants("the attack", attack)
    for alert in alerts():
        if not re.search(rf"^\| `{alert}` \|", text(OPERATING), re.M):
            problems.append(f"{OPERATING}: has no row of the alert {alert}")
    # And none that is not raised any more.
    for alert in sorted(set(re.findall(r"`(Wardline[A-Z]\w+)`", text(OPERATING))) - set(alerts())):
        problems.append(f"{OPERATING}: names the alert {alert}, which no rule raises")
    for action in sorted(audit_actions()):
        wants("the audit action", action, "`{}`")
    for file, enum in ERRORS:
        for words in error_words(file, enum):
            wants(f"the error of {file}", words)
    for file in WORDS:
        for word in words_of(file):
            wants(f"the word of {file}", word, "`{}`")


# --- what docs/network.md says of listeners ---------------------------------------------------------------------

CONNECTS = {"src/uplink/mqtt/probe.rs", "src/identity/est/client.rs"}


def check_network(problems):
    """No listener but the lab's, and TCP connections from the named places alone."""
    for path in sorted((ROOT / "src").rglob("*.rs")):
        name = str(path.relative_to(ROOT))
        if name.startswith("src/lab/"):
            continue
        code = "\n".join(line.split("//", 1)[0] for line in tests_off(path.read_text(encoding="utf-8")).splitlines())
        if name == "src/dashboard/server.rs":
            if "Ipv4Addr::LOCALHOST" not in code or "UNSPECIFIED" in code:
                problems.append(f"{name}: docs/network.md says that it listens on the loopback alone")
            continue
        for word in re.findall(r"\b(TcpListener|TcpSocket|UdpSocket|UnixDatagram)\b", code):
            problems.append(f"{name}: names {word}: docs/network.md says that no port is opened")
        if re.search(r"\bTcpStream::connect", code) and name not in CONNECTS:
            problems.append(f"{name}: connects by itself: docs/network.md names who does")


# --- configurations ---------------------------------------------------------------------------------------------

GATEWAY = """[gateway]
organisation = "example-hospital"
group = "icu-2"
id = "gw-icu-2-03"

[uplink]
host = "broker.example.org"
authorities = "pki/broker-ca.pem"
certificate = "pki/gateway.pem"
"""


def blocks(page):
    found, lines, begins = [], None, 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if lines is None and line.strip() == "```toml":
            lines, begins = [], number
        elif lines is not None and line.strip() == "```":
            found.append((begins, "\n".join(lines) + "\n"))
            lines = None
        elif lines is not None:
            lines.append(line)
    return found


def check_config(program):
    found = [block for block in blocks(DOCS / "devices.md") if "[[device]]" in block[1]]
    if not found:
        return ["docs/devices.md: has no TOML block with a [[device]]"]
    problems = []

    def judged(what, devices):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            (Path(folder) / "devices.d").mkdir(mode=0o755)
            (Path(folder) / "gateway.toml").write_text(GATEWAY, encoding="utf-8")
            for place, device in enumerate(devices):
                (Path(folder) / "devices.d" / f"{place:03}.toml").write_text(device, encoding="utf-8")
            for file in Path(folder).rglob("*.toml"):
                os.chmod(file, 0o644)
            command = [program, "check", "--config", folder]
            clean = {name: value for name, value in os.environ.items() if not name.startswith("WARDLINE_")}
            ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean, check=False)
        if ran.returncode != 0:
            problems.append(f"docs/devices.md:{what}: {(ran.stdout + ran.stderr).strip()}")

    for begins, block in found:
        judged(str(begins), [block])
    judged("all blocks together", [block for _, block in found])
    problems += uncovered(program, "\n".join(block for _, block in found))
    if not problems:
        print(f"{len(found)} configurations of docs/devices.md are valid, each alone and all together")
    return problems


def uncovered(program, entries):
    """Drivers and profiles of the program of which the page has no entry."""
    ran = subprocess.run([program, "drivers", "--json"], capture_output=True, text=True, timeout=60, check=True)
    known = json.loads(ran.stdout)
    for name in sorted(row["name"] for rows in known.values() for row in rows):
        if f'"{name}"' not in entries:
            yield f"docs/devices.md: has no entry with {name!r}"


def check_book():
    """The one page: each part is in it, and each link within leads to something."""
    with tempfile.TemporaryDirectory() as folder:
        built = subprocess.run([DOCS / "build", folder], capture_output=True, text=True)
        if built.returncode or built.stderr:
            return [f"docs/build: {built.stderr.strip() or built.returncode}"]
        page = Path(folder, "book.html").read_text(encoding="utf-8")
    found = set(re.findall(r'id="([^"]+)"', page))
    wanted = set(re.findall(r'href="#([^"]+)"', page))
    problems = [f"docs/build: a link to #{name}, which is not on the page" for name in sorted(wanted - found)]
    # A link to a file would lead nowhere from a page that lies alone.
    local = re.findall(r'href="((?!#|https?:)[^"]+)"', page)
    problems += [f"docs/build: a link to {path}, which is not in the page" for path in sorted(set(local))]
    pictures = len(re.findall(r"!\[[^]]+\]\(", "".join(name.read_text(encoding="utf-8") for name in DOCS.glob("*.md"))))
    if (inside := len(re.findall(r'<img src="data:image/png;base64,iVBORw0KGgo', page))) != pictures:
        problems.append(f"docs/build: {inside} pictures are in the page, and the chapters show {pictures}")
    parts = [name for name in pages() if name.parent == DOCS and name.stem != "README"]
    problems += [f"docs/build: {part.stem} is not in it" for part in parts if f'id="part-{part.stem.lower()}' not in page.lower()]
    if not problems:
        print(f"the book: {len(parts)} parts, {len(wanted)} links within")
    return problems


def main(arguments):
    if arguments == ["book"]:
        problems = check_book()
    elif arguments[:1] == ["config"] and len(arguments) == 2:
        problems = check_config(arguments[1])
    elif not arguments:
        problems = []
        for check in (check_links, check_tests, check_paths, check_operating, check_network):
            check(problems)
        if not problems:
            print(f"{len(pages())} pages: links, tests, paths and the operating manual are as the tree")
    else:
        print(__doc__, file=sys.stderr)
        return 2
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
