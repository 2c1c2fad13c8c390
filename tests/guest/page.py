"""Follows docs/install.md in the guest: exactly its commands, in order, from a blank system to the first reading at the
hospital's side, within ten minutes of the power being switched on. See run.

How the page is read: every line of the ```text block below a block of commands has to be in what those say, in this
order (`...` stands for anything, spaces and colours count as one and none). The words after ```sh:

    dialogue    at a terminal; what a person types are the lines of the ```text block that begin with `>`
    repeat      again and again until it says so
    authority   on the machine of the hospital's authority, which reads and writes the same stick
    instead     another way to do the same: not run
"""

import argparse
import base64
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

from cuts import certificates, configure_broker, run, say
from disk import Disk
from machine import Failed, Machine

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.realpath(f"{HERE}/../../docs/install.md")
LIMIT = 600
STICK = "/media/usb"
HOST = "mqtt.st-anna.example"
# The page's names.
GATEWAY, READINGS = "gw-7", "d/v1/st-anna/icu-3/gw-7/pump-1/obs"
ACL = f"""user {GATEWAY}
topic write d/v1/st-anna/icu-3/{GATEWAY}/#
topic write e/v1/st-anna/icu-3/{GATEWAY}/#
topic write s/v1/st-anna/icu-3/{GATEWAY}/#
topic write c/v1/st-anna/gw/{GATEWAY}/#
user hospital
topic read d/v1/#
"""


def blocks():
    """The page's blocks of commands: line, words after the fence, commands, what stands below."""
    found, inside = [], None
    with open(PAGE) as page:
        for number, line in enumerate(page, 1):
            if inside is None and line.startswith("```sh"):
                found.append([number, line[5:].strip(), "", ""])
                inside = 2
            elif inside is None and line.startswith("```text"):
                inside = 3
            elif line.startswith("```"):
                if inside is None:
                    raise Failed(f"{PAGE}:{number}: a block that is neither sh nor text")
                inside = None
            elif inside is not None:
                found[-1][inside] += line
    if len(found) < 8:
        raise Failed(f"{PAGE}: {len(found)} blocks of commands")
    return found


def lacks(expected, said):
    """The first line that is not there behind those before it."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", said)
    lines = [re.sub(r"\s+", " ", line) for line in said.split("\n")]
    at = 0
    for line in expected.split("\n"):
        line = re.sub(r"\s+", " ", line).strip()
        if not line or line.startswith(">"):
            continue
        parts = [re.sub(r"([][*?])", r"[\1]", part.strip()) for part in line.split("...")]
        pattern = "*" + "*".join(parts) + "*"
        where = next((n for n in range(at, len(lines)) if fnmatch.fnmatchcase(lines[n], pattern)), None)
        if where is None:
            return line
        at = where + 1
    return None


class Bench:
    """The guest, the hospital around it, and the stick that is carried between them."""

    def __init__(self, options, folder):
        self.folder, self.stick = folder, f"{folder}/stick"
        os.mkdir(self.stick)
        certificates(f"{folder}/pki", ("broker", "hospital"), ("localhost", HOST))
        shutil.copy(f"{folder}/pki/ca.pem", f"{self.stick}/broker-ca.pem")
        for package in ("wardline", "wardline-lab"):
            shutil.copy(package_of(options.packages, package), self.stick)
        with open(f"{folder}/acl", "w") as acl:
            acl.write(ACL)
        # The port that a broker has, as a person who types nothing means it.
        self.broker = subprocess.Popen(
            configure_broker(folder, 8883), stdout=open(f"{folder}/mosquitto.log", "wb"), stderr=subprocess.STDOUT
        )
        shutil.copyfile(f"{options.image}/disk.raw", f"{folder}/disk.raw")
        # A card of 8 GB, as small as they are sold: the store's default cap has room on it.
        for command in (("truncate", "-s", "8G"), ("e2fsck", "-fy"), ("resize2fs",)):
            run(*command, f"{folder}/disk.raw")
        disk = Disk(f"{folder}/disk.raw", f"{folder}/disk", 1)
        self.machine = Machine(options.image, folder, disk, [])
        self.hospital = None

    def switch_on(self):
        with tarfile.open(f"{self.folder}/stick.tar", "w") as tar:
            tar.add(self.stick, arcname=".")
        self.machine.switch_on(f"{self.folder}/stick.tar")
        self.machine.up()
        # The stick is plugged in, and the hospital's network knows its broker.
        self.machine.ask(f"mkdir -p {STICK} && tar -xf /dev/vdb -C {STICK} --no-same-owner")
        self.machine.ask(f"echo 10.0.2.2 {HOST} >>/etc/hosts")
        if self.broker.poll() is not None:
            raise Failed(f"mosquitto ended (is port 8883 in use?): {read(f'{self.folder}/mosquitto.log')[-1000:]}")
        pki = f"{self.folder}/pki"
        self.hospital = subprocess.Popen(
            ["mosquitto_sub", "-V", "mqttv5", "-h", "localhost", "-p", "8883", "--cafile", f"{pki}/ca.pem",
             "--cert", f"{pki}/hospital.pem", "--key", f"{pki}/hospital.key", "-t", "d/v1/#", "-F", "%t"],
            stdout=open(f"{self.folder}/hospital", "wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip

    def do(self, kind, commands, text):
        """One block of the page; what it said."""
        if kind == "authority":
            return self.authority(commands)
        if kind == "dialogue":
            typed = "".join(line[2:] + "\n" for line in text.split("\n") if line.startswith(">"))
            return self.machine.ask(f"printf %s {shlex.quote(typed)} | script -qec {shlex.quote(commands)} /dev/null")
        return self.machine.ask(f"cd /root\nset -e\n{commands}", may_fail=kind == "repeat")

    def authority(self, commands):
        """The stick is carried there and back."""
        for name in self.machine.ask(f"ls {STICK}").split():
            if name.endswith(".csr"):
                with open(f"{self.stick}/{name}", "wb") as file:
                    file.write(base64.b64decode(self.machine.ask(f"base64 {STICK}/{name}")))
        done = subprocess.run(
            ["bash", "-ec", commands.replace(STICK, self.stick)],
            cwd=f"{self.folder}/pki", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"at the authority: {commands}\n{done.stdout}")
        for name in os.listdir(self.stick):
            if name.endswith(".pem"):
                text = base64.b64encode(read(f"{self.stick}/{name}").encode()).decode()
                self.machine.ask(f"base64 -d <<<{text} >{STICK}/{name}")
        return done.stdout

    def readings(self):
        return read(f"{self.folder}/hospital").split("\n").count(READINGS)

    def end(self):
        for process in (self.machine.process, self.hospital, self.broker):
            if process and process.poll() is None:
                process.kill()
                process.wait()


def read(path):
    with open(path, errors="replace") as file:
        return file.read()


def package_of(folder, name):
    found = sorted(file for file in os.listdir(folder) if re.fullmatch(rf"{name}_[^_]+_arm64\.deb", file))
    if not found:
        raise Failed(f"{folder}: no {name}_VERSION_arm64.deb: packaging/build --arch arm64 --profile light makes it")
    return f"{folder}/{found[-1]}"


def follow(bench):
    """All blocks; the seconds from the power being switched on to the first reading at the hospital's side."""
    bench.switch_on()
    say(f"  a blank system is up after {bench.machine.seconds():.0f} s")
    until = time.monotonic() + LIMIT
    for number, kind, commands, text in blocks():
        if kind == "instead":
            continue
        while True:
            said = bench.do(kind, commands, text)
            with open(f"{bench.folder}/said", "a") as log:
                log.write(f"$ {commands.strip()}\n{said}\n\n")
            missing = lacks(text, said)
            if missing is None:
                break
            if kind != "repeat" or time.monotonic() > until:
                raise Failed(f"{PAGE}:{number}: it does not say: {missing}\nIt says:\n{said}")
            time.sleep(0.5)
        first = commands.strip().split("\n")[0]
        say(f"  line {number}, {bench.machine.seconds():4.0f} s after power: {first[:90]}")
    while not bench.readings():
        if time.monotonic() > until:
            raise Failed(f"no reading at the hospital's side\n{bench.machine.ask('journalctl -u wardline -b | tail -n 30')}")
        time.sleep(0.2)
    return bench.machine.seconds()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", required=True)
    parser.add_argument("--packages", required=True)
    parser.add_argument("--keep")
    options = parser.parse_args()
    if options.keep:
        os.makedirs(options.keep)
    folder = os.path.abspath(options.keep) if options.keep else tempfile.mkdtemp(prefix="wardline-page-")
    bench = None
    try:
        bench = Bench(options, folder)
        took = follow(bench)
    except Failed as failed:
        say(f"FAILED: {failed}")
        return 1
    finally:
        if bench:
            bench.end()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        elif os.path.exists(f"{folder}/disk.raw"):
            os.unlink(f"{folder}/disk.raw")
    say(f"from a blank system to a reading at the hospital's side: {took:.0f} s of {LIMIT}")
    if took > LIMIT:
        say("FAILED: that is more than ten minutes")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
