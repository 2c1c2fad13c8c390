#!/usr/bin/env python3
"""Verifies and signs the fleet's documents by securesystemslib. Run by cross_check.sh.

    cross_check.py verify PUBLISHED              every document, by the keys and thresholds of its root
    cross_check.py sign PUBLISHED KEYS OUT       the next bundle and timestamp, with keys of wardline-fleet
    cross_check.py sign-one PUBLISHED KEYS OUT   the same, the bundle by one key alone
    cross_check.py digest FILE                   the SHA-256 of what a document signs
    cross_check.py type PASSPHRASE COMMAND...    countersigns at a terminal of its own, as a person does: types the
                                                 first digits that it is asked for, read from what is shown, and
                                                 then the passphrase; one that asks for more is stopped after a minute
"""

import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

TYPE = "application/vnd.wardline.{}.v1+json"


def read(path: Path) -> Envelope:
    return Envelope.from_dict(json.loads(path.read_bytes()))


def keys(root: dict, role: str) -> tuple[list[SSlibKey], int]:
    public = {key["id"]: key["public"] for key in root["keys"]}
    wanted = root["roles"][role]
    found = [SSlibKey(keyid, "ed25519", "ed25519", {"public": public[keyid]}) for keyid in wanted["keys"]]
    for key in found:
        assert key.keyid == hashlib.sha256(bytes.fromhex(key.keyval["public"])).hexdigest(), key.keyid
    return found, wanted["threshold"]


def verify(published: Path) -> None:
    root = json.loads(read(published / "root/1.json").payload)
    kinds = {"root": "root/*.json", "timestamp": "g/*/ts.json", "config": "g/*/bundle/*.json"}
    for role, pattern in kinds.items():
        files = sorted(published.glob(pattern))
        assert files, pattern
        for file in files:
            envelope, (known, threshold) = read(file), keys(root, role)
            assert envelope.payload_type == TYPE.format("bundle" if role == "config" else role), envelope.payload_type
            accepted = envelope.verify(known, threshold)
            print(f"  {file.relative_to(published)}: {len(accepted)} of {threshold} {role} keys")
            # And a verifier that says yes to everything is none.
            envelope.payload += b" "
            try:
                envelope.verify(known, threshold)
            except VerificationError:
                continue
            raise SystemExit(f"{file}: a changed payload verifies")


def signer(folder: Path, name: str) -> CryptoSigner:
    private = load_pem_private_key((folder / f"{name}.pem").read_bytes(), f"the passphrase of {name}".encode())
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return CryptoSigner(private, SSlibKey(hashlib.sha256(public).hexdigest(), "ed25519", "ed25519", {"public": public.hex()}))


def signed(kind: str, document: dict, signers: list[CryptoSigner]) -> bytes:
    envelope = Envelope(json.dumps(document).encode(), TYPE.format(kind), {})
    for one in signers:
        envelope.sign(one)
    return json.dumps(envelope.to_dict()).encode()


def sign(published: Path, folder: Path, out: Path, by: list[str]) -> None:
    shutil.copytree(published / "root", out / "root")
    stamp = json.loads(read(published / "g/icu-3/ts.json").payload)
    bundle = json.loads(read(published / f"g/icu-3/bundle/{stamp['head']['version']}.json").payload)
    bundle["version"] += 1
    content = signed("bundle", bundle, [signer(folder, name) for name in by])
    stamp["version"] += 1
    stamp["head"] |= {"version": bundle["version"], "sha256": hashlib.sha256(content).hexdigest()}
    (out / "g/icu-3/bundle").mkdir(parents=True)
    (out / f"g/icu-3/bundle/{bundle['version']}.json").write_bytes(content)
    (out / "g/icu-3/ts.json").write_bytes(signed("timestamp", stamp, [signer(folder, "timestamp-1")]))


def typed(passphrase: str, command: list[str]) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    shown, answered = b"", []
    while True:
        if not select.select([terminal], [], [], 60)[0]:
            os.kill(child, signal.SIGKILL)
            raise SystemExit(f"waits for more than it was given: {shown.decode(errors='replace')}")
        try:
            part = os.read(terminal, 4096)
        except OSError:  # EIO: the other end is closed.
            part = b""
        if not part:
            break
        shown += part
        asked = re.search(rb"SHA-256 ([0-9a-f]{64}): type its first (\d+) digits", shown)
        if asked and not answered:
            answered.append("digits")
            os.write(terminal, asked[1][: int(asked[2])] + b"\r")
        if answered == ["digits"] and shown.endswith(b": "):
            answered.append("passphrase")
            # A slip and its correction.
            os.write(terminal, passphrase.encode() + "x\u00e9\x7f\x7f\r".encode())
    _, status = os.waitpid(child, 0)
    print("  " + shown.decode().strip().splitlines()[-1])
    assert answered == ["digits", "passphrase"], (answered, shown)
    # Not what is signed after it was agreed to, and never the passphrase.
    before = shown[: re.search(rb"type its first", shown).start()]
    assert b"pump-1" in before, shown
    assert passphrase.encode() not in shown, shown
    raise SystemExit(os.waitstatus_to_exitcode(status))


def main() -> None:
    match sys.argv[1:]:
        case ["verify", published]:
            verify(Path(published))
        case ["sign", published, folder, out]:
            sign(Path(published), Path(folder), Path(out), ["config-2", "config-3"])
        case ["sign-one", published, folder, out]:
            sign(Path(published), Path(folder), Path(out), ["config-2"])
        case ["digest", file]:
            print(hashlib.sha256(read(Path(file)).payload).hexdigest())
        case ["type", passphrase, *command]:
            typed(passphrase, command)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
