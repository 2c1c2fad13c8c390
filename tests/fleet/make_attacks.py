#!/usr/bin/env python3
"""Writes the stories under tests/fleet/attacks: documents of a fleet and what a gateway must say to each.

Signed by securesystemslib (the reference implementation of DSSE), not by this project. Keys are made of
fixed seeds, so the same program writes the same bytes: `make_attacks.py FOLDER` writes them anew,
`make_attacks.py --check FOLDER` says whether what is there is what it would write.

One folder for each attack of the TUF specification, section 1.5.2, that three documents leave room for:
there are no dependencies to add, and a mirror can do no more than a broker.
"""

import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

TYPE = "application/vnd.wardline.{}.v1+json"
NOON = "2026-11-22T12:00:00Z"


def signer(seed: int) -> CryptoSigner:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key = SSlibKey(hashlib.sha256(public).hexdigest(), "ed25519", "ed25519", {"public": public.hex()})
    return CryptoSigner(private, key)


ROOT, CONFIG, ONLINE, STRANGER = [1, 2, 3], [11, 12, 13], [21], [91, 92, 93]


def sign(kind: str, document: dict, seeds: list[int]) -> bytes:
    envelope = Envelope(json.dumps(document, indent=1).encode(), TYPE.format(kind), {})
    for seed in seeds:
        envelope.sign(signer(seed))
    return json.dumps(envelope.to_dict()).encode()


def root(version=1, config=CONFIG, online=ONLINE, by=(1, 2)) -> bytes:
    roles = {"root": (ROOT, 2), "config": (config, 2), "timestamp": (online, 1)}
    keys = {signer(seed).public_key.keyid: signer(seed).public_key for seeds, _ in roles.values() for seed in seeds}
    document = {
        "schema": 1, "organisation": "st-anna", "version": version, "expires": "2027-11-22T00:00:00Z",
        "keys": [{"id": keyid, "algorithm": "ed25519", "public": key.keyval["public"]}
                 for keyid, key in sorted(keys.items())],
        "roles": {name: {"keys": [signer(seed).public_key.keyid for seed in seeds], "threshold": threshold}
                  for name, (seeds, threshold) in roles.items()},
    }
    return sign("root", document, list(by))


def bundle(by=(11, 12), **changes) -> bytes:
    document = {
        "schema": 1, "organisation": "st-anna", "group": "icu-3", "version": 7, "min_agent": "0.1.0",
        "not_before": "2026-11-01T00:00:00Z", "expires": "2027-11-01T00:00:00Z", "members": ["gw-1", "gw-2"],
        "settings": {"daemon": {"log": "info"}},
        "devices": [{"id": "pump-1", "asset": "P-1", "driver": "alaris-asena",
                     "port": "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1.1:1.0-port0", "elements": "all",
                     "trust": "link-only", "gateways": ["gw-1"]}],
    }
    return sign("bundle", document | changes, list(by))


def timestamp(of: bytes, by=(21,), head=(), rollout=(), **changes) -> bytes:
    document = {
        "schema": 1, "organisation": "st-anna", "group": "icu-3", "version": 70,
        "issued_at": "2026-11-22T00:00:00Z", "expires": "2026-11-24T00:00:00Z",
        "head": {"version": 7, "sha256": hashlib.sha256(of).hexdigest(), "root": 1} | dict(head),
        "rollout": {"id": "r-7", "canaries": ["gw-1"], "waves": []} | dict(rollout),
    }
    return sign("timestamp", document | changes, list(by))


class Story:
    """Steps in order; each offers one document at one moment and says what must come of it."""

    def __init__(self, says: str):
        self.says, self.steps, self.files = says, [], {}

    def offer(self, kind: str, content: bytes, refused: str = "", attack: str = "", at: str = NOON, synced: bool = True):
        name = f"{len(self.steps) + 1:02}-{kind}.json"
        self.files[name] = content
        step = {"offer": kind, "file": name, "at": at, "synced": synced}
        if refused:
            step |= {"refused": refused, "attack": attack}
        self.steps.append(step)
        return self

    def start(self):
        """What every gateway has: the root that was put there by hand."""
        return self.offer("root", root())

    def running(self):
        """And the bundle that runs."""
        good = bundle()
        return self.start().offer("timestamp", timestamp(good)).offer("bundle", good)


def stories() -> dict[str, Story]:
    good, found = bundle(), {}

    story = Story("Somebody without the keys wants a gateway to run what he likes.").running()
    wild = bundle(by=STRANGER, version=8)
    named = {"version": 8, "sha256": hashlib.sha256(wild).hexdigest()}
    story.offer("timestamp", timestamp(wild, by=STRANGER, version=71, head=named), "signed by 0 of the 1 timestamp keys", "arbitrary installation")
    story.offer("timestamp", timestamp(wild, version=71, head=named))
    story.offer("bundle", wild, "signed by 0 of the 2 config keys", "arbitrary installation")
    retyped = json.loads(bundle(version=8))
    retyped["payloadType"] = TYPE.format("root")
    story.offer("bundle", json.dumps(retyped).encode(), "is of type", "arbitrary installation")
    story.offer("root", root(version=2, by=STRANGER), "signed by 0 of the 2 root keys", "arbitrary installation")
    found["arbitrary-installation"] = story

    story = Story("A document that never ends, or that would keep the gateway busy for ever.").running()
    for kind, most in (("root", 64), ("timestamp", 64), ("bundle", 256)):
        endless = b'{"payload":"' + b"A" * (most * 1024) + b'","payloadType":"x","signatures":[]}'
        story.offer(kind, endless, "bytes long, at most", "endless data")
    many = json.loads(timestamp(good, version=71))
    many["signatures"] *= 40
    story.offer("timestamp", json.dumps(many).encode(), "40 signatures, at most 32", "endless data")
    found["endless-data"] = story

    story = Story("The key that is online was stolen; its thief uses up the numbers, so that nothing newer can follow.").running()
    last = 2**64 - 1
    story.offer("timestamp", timestamp(good, version=last), f"speaks of version {last}, but 70 is the last seen", "fast-forward")
    story.offer("timestamp", timestamp(good, version=71, head={"version": last}), f"speaks of version {last}, but 7 is the last seen", "fast-forward")
    story.offer("timestamp", timestamp(good, version=10_070))
    story.offer("root", root(version=2, online=[22]))
    story.offer("timestamp", timestamp(good, version=10_071), "signed by 0 of the 1 timestamp keys", "arbitrary installation")
    story.offer("timestamp", timestamp(good, by=[22], version=1, head={"root": 2}))
    found["fast-forward"] = story

    story = Story("Somebody holds back what is new and shows what was current long ago.").running()
    late = "2026-11-25T00:00:00Z"
    story.offer("timestamp", timestamp(good), "expired at 2026-11-24", "indefinite freeze", at=late)
    newer = bundle(version=8)
    stamp = timestamp(newer, version=71, issued_at="2026-11-26T00:00:00Z", expires="2026-11-28T00:00:00Z", head={"version": 8})
    story.offer("timestamp", stamp, at="1970-01-01T00:00:20Z", synced=False)
    story.offer("timestamp", timestamp(newer, version=72, issued_at="2026-11-23T00:00:00Z", expires="2026-11-25T00:00:00Z", head={"version": 8}),
                "expired at 2026-11-25", "indefinite freeze", at="1970-01-01T00:00:30Z", synced=False)
    found["indefinite-freeze"] = story

    story = Story("The first thing that a gateway set up anew is shown is long out of date, and its clock says 1970.").start()
    story.offer("timestamp", timestamp(good), "the clock follows no reference", at="1970-01-01T00:00:20Z", synced=False)
    story.offer("timestamp", timestamp(good), "expired at 2026-11-24", "indefinite freeze", at=late)
    found["indefinite-freeze-at-first-sight"] = story

    story = Story("Parts of different days are put together.").running()
    eight, other = bundle(version=8), bundle(version=8, devices=[])
    story.offer("timestamp", timestamp(eight, version=71, head={"version": 8}))
    story.offer("bundle", other, "the timestamp names", "mix-and-match")
    story.offer("bundle", good, "the timestamp names", "mix-and-match")
    story.offer("bundle", eight)
    story.offer("timestamp", timestamp(other, version=72, head={"version": 8}), "like one seen before, but other content", "mix-and-match")
    story.offer("timestamp", timestamp(good, version=73, head={"version": 9}))
    story.offer("bundle", good, "has version 7, the timestamp says 9", "mix-and-match")
    found["mix-and-match"] = story

    story = Story("What was current once, and was withdrawn, is shown again.").running()
    eight = bundle(version=8)
    story.offer("timestamp", timestamp(eight, version=71, head={"version": 8}))
    story.offer("bundle", eight)
    story.offer("timestamp", timestamp(good), "has version 70, but 71 was seen", "rollback")
    story.offer("timestamp", timestamp(good, version=72), "names bundle 7, but 8 was seen", "rollback")
    story.offer("root", root(version=2))
    story.offer("root", root(version=1, by=(1, 3)), "has version 1, but 2 was seen", "rollback")
    found["rollback"] = story

    story = Story("One of three config keys was stolen. It is not enough, and the next root drops it.").running()
    wild = bundle(by=(13,), version=8, devices=[])
    story.offer("timestamp", timestamp(wild, version=71, head={"version": 8}))
    story.offer("bundle", wild, "signed by 1 of the 2 config keys", "arbitrary installation")
    twice = json.loads(wild)
    twice["signatures"] *= 2
    twice = json.dumps(twice).encode()
    story.offer("timestamp", timestamp(twice, version=72, head={"version": 8}))
    story.offer("bundle", twice, "signed by 1 of the 2 config keys", "arbitrary installation")
    story.offer("root", root(version=2, config=[11, 12, 14], by=(2, 3)))
    old = bundle(by=(12, 13), version=9)
    story.offer("timestamp", timestamp(old, version=73, head={"version": 9, "root": 2}))
    story.offer("bundle", old, "signed by 1 of the 2 config keys that root 2 wants", "arbitrary installation")
    new = bundle(by=(12, 14), version=9)
    story.offer("timestamp", timestamp(new, version=74, head={"version": 9, "root": 2}))
    story.offer("bundle", new)
    found["key-compromise"] = story

    story = Story("What is right for others is shown to this gateway.").running()
    for version, (change, words) in enumerate([
        ({"group": "icu-4"}, 'group "icu-4", this gateway is of "icu-3"'),
        ({"organisation": "st-bernd"}, 'organisation "st-bernd", this gateway is of "st-anna"'),
        ({"members": ["gw-2", "gw-3"]}, "neither lists nor transfers"),
    ], start=8):
        theirs = bundle(version=version, **change)
        story.offer("timestamp", timestamp(theirs, version=64 + version, head={"version": version}))
        story.offer("bundle", theirs, words, "wrong recipient")
    story.offer("timestamp", timestamp(good, version=80, group="icu-4"), 'group "icu-4"', "wrong recipient")
    found["wrong-recipient"] = story
    return found


def files() -> dict[Path, bytes]:
    written = {}
    for name, story in stories().items():
        for file, content in story.files.items():
            written[Path(name) / file] = content
        told = {"says": story.says, "organisation": "st-anna", "group": "icu-3", "gateway": "gw-1", "steps": story.steps}
        written[Path(name) / "story.json"] = (json.dumps(told, indent=1) + "\n").encode()
    return written


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    folder, wanted = Path(arguments[0]), files()
    if "--check" in sys.argv:
        there = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.json")}
        wrong = sorted(str(path) for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))
        print(f"{len(wanted)} files of {len(stories())} stories, {len(wrong)} differ", *wrong, sep="\n  ")
        return 1 if wrong else 0
    for path, content in wanted.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
