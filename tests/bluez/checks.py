"""The checks: what a peripheral shows is at the broker, whatever happens to the radio in between.

usage: checks.py --programs FOLDER --image FOLDER [--only GROUP,...] [--keep FOLDER]
Each check has a daemon, a store and peripherals of its own; guest and broker are the same for all.
"""

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import bench
from radio import World

CHECKS = []


def check(group, words, needs=None):
    """Lists a check. `needs`: a profile that `wardline drivers` must have, or a command (`pair`)."""

    def listed(story):
        CHECKS.append((group, words, needs, story))
        return story

    return listed


class Stage:
    """What a check is given."""

    def __init__(self, programs, guest, broker, world, folder):
        self.wardline = os.path.join(programs, "wardline")
        self.guest = guest
        self.broker = broker
        self.world = world
        self.folder = folder
        self.gateway = os.path.basename(folder)
        self.daemons = []
        self.watches = []
        self.notes = []

    async def daemon(self, *devices):
        """The daemon with these devices, started."""
        names = [self.wardline, self.guest, self.broker, self.folder, self.gateway]
        daemon = bench.Daemon(*names, "".join(devices))
        self.daemons.append(daemon)
        await self.start(daemon)
        return daemon

    async def start(self, daemon):
        """Starts it, anew if need be; that it ends by itself ends the check."""
        for watch in self.watches:
            watch.cancel()
        await daemon.start()
        self.watches = [asyncio.create_task(daemon.ended())]

    def values(self, device, code):
        """The values of a device at the broker, in its own order."""
        return [reading.value for reading in self.broker.of(self.gateway, device, code)]

    async def arrived(self, device, code, count, patience=30.0):
        """Waits until so many readings of a device are there."""
        have = lambda: len(self.values(device, code))  # noqa: E731
        what = f"{count} readings {code} of {device} at the broker"
        try:
            await self.broker.news.until(what, lambda: have() >= count, patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {have()}") from None

    def devices_at_broker(self):
        """Who has said anything there."""
        return {reading.device for reading in self.broker.readings if reading.gateway == self.gateway}

    async def play(self, story):
        """Runs a check to its end, or to that of one of its daemons."""
        playing = asyncio.create_task(story(self))
        try:
            while not playing.done():
                await asyncio.wait([playing, *self.watches], timeout=1, return_when=asyncio.FIRST_COMPLETED)
                for watch in self.watches:
                    if watch.done() and not playing.done():
                        watch.result()
            playing.result()
        finally:
            playing.cancel()

    async def clear(self):
        """Ends what the check began; what BlueZ knows of its peripherals, too."""
        for watch in self.watches:
            watch.cancel()
        for daemon in self.daemons:
            await daemon.kill()
        await self.world.clear()
        await self.guest.run("kill -0 $(cat /run/bluetoothd.pid) || start_bluetoothd")
        if self.world.adapter is None:
            await self.world.plug_in(self.guest.hci)
        await self.guest.until_adapter()
        await self.guest.forget_devices()


class Bench:
    """Guest and broker, for as long as the checks run; and what they can be run against."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.world = World()
        self.guest = bench.Guest(options.image, folder)
        self.broker = bench.Broker(folder)
        self.can = abilities(os.path.join(options.programs, "wardline"))

    @contextlib.asynccontextmanager
    async def running(self):
        began = time.monotonic()
        try:
            await asyncio.wait_for(self.broker.start(), 30)
            await self.guest.start()
            print(f"guest booted in {time.monotonic() - began:.1f} s", flush=True)
            await self.world.plug_in(self.guest.hci)
            await self.guest.until_adapter()
            print(f"adapter up after {time.monotonic() - began:.1f} s", flush=True)
            yield
        finally:
            await self.guest.stop()
            await self.broker.stop()

    async def run(self, name, story):
        """Runs one check; gives what went wrong, and what else is worth knowing."""
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        stage = Stage(self.options.programs, self.guest, self.broker, self.world, folder)
        wrong = None
        try:
            await asyncio.wait_for(stage.play(story), 240)
        except Exception as error:
            wrong = str(error) if isinstance(error, AssertionError) and str(error) else traceback.format_exc()
        try:
            await asyncio.wait_for(stage.clear(), 60)
        except Exception:
            wrong = (wrong or "") + "\nclearing up: " + traceback.format_exc()
        with open(self.guest.console, errors="replace") as console:
            if re.search(r"kernel BUG|Oops|Call Trace", console.read()):
                wrong = (wrong or "") + "\nthe guest's kernel reports a bug: see console.log"
        return wrong, stage.notes


def abilities(wardline):
    """The profiles and commands of the program under test."""
    said = subprocess.run([wardline, "drivers", "--json"], capture_output=True, check=True).stdout
    profiles = {profile["name"] for profile in json.loads(said)["ble"]}
    said = subprocess.run([wardline, "--help"], capture_output=True, check=True, text=True).stdout
    return profiles | set(re.findall(r"^  ([a-z]+) {2,}", said.partition("Commands:")[2], re.M))


async def run_all(options, folder):
    """Runs what was chosen, a line for each; gives the exit code."""
    wanted = [entry for entry in CHECKS if not options.only or entry[0] in options.only]
    passed, failed, absent = 0, 0, 0
    stage = Bench(options, folder)
    began = time.monotonic()
    async with stage.running():
        for number, (group, words, needs, story) in enumerate(wanted, 1):
            if needs and needs not in stage.can:
                absent += 1
                print(f"ABSENT  {group}: {words} (this program has no {needs})", flush=True)
                continue
            started = time.monotonic()
            wrong, notes = await stage.run(f"check-{number}", story)
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
            took = time.monotonic() - started
            print(f"{'FAILED' if wrong else 'ok    '}  {group}: {words} ({took:.1f} s)", flush=True)
            for line in notes + (wrong or "").splitlines():
                print(f"        | {line}", flush=True)
    print(f"{passed} passed, {failed} failed, {absent} absent in {time.monotonic() - began:.0f} s")
    # What was asked for by name must be there; without names, what this program cannot do is only told of.
    return 0 if passed and not failed and not (options.only and absent) else 1


def main():
    # Beside the checks themselves: importing them lists them.
    for name in ("heart_rate", "bonds", "pair", "thermometer", "glucose", "emulated"):
        importlib.import_module(f"check_{name}")

    groups = sorted({entry[0] for entry in CHECKS})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True, help="folder with wardline")
    parser.add_argument("--image", required=True, help="folder with vmlinuz and initrd.zst")
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"of {', '.join(groups)}")
    parser.add_argument("--keep", help="a folder for configurations, stores and logs, which stays")
    options = parser.parse_args()
    unknown = set(options.only or ()) - set(groups)
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(groups)}")
    # As for Ctrl-C: the guest and the broker must not outlive this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.keep:
        os.makedirs(options.keep)
        sys.exit(asyncio.run(run_all(options, os.path.abspath(options.keep))))
    with tempfile.TemporaryDirectory(prefix="wardline-bluez-") as folder:
        sys.exit(asyncio.run(run_all(options, folder)))


if __name__ == "__main__":
    # The lists of the checks' modules and of this one must be the same.
    sys.modules["checks"] = sys.modules["__main__"]
    main()
