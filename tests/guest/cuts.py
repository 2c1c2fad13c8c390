"""Installs the package in the guest, looks at its sandbox, cuts its power, and judges what is left. See run."""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

from disk import Disk
from machine import Failed, Machine

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 400
STARTED = time.monotonic()

GATEWAY = """[gateway]
organisation = "lab"
group = "ward-7"
id = "gw-guest"
[uplink]
host = "broker.test"
port = {port}
authorities = "pki/broker-ca.pem"
certificate = "pki/gateway.pem"
backoff_first = "500ms"
backoff_most = "5s"
heartbeat = "10s"
[store]
cap = "512MiB"
"""

DEVICE = """[[device]]
id = "{id}"
asset = "ASSET-{id}"
driver = "{driver}"
port = "{port}"
elements = {elements}
expects = {{ serial = "{serial}" }}
"""

DEVICES = [
    ("analyser", "astm-lis", '["MDC_CONC_GLU_GEN"]', "SN4711"),
    ("oximeter", "masimo-ascii1", '"all"', "0000056661"),
]

ACL = """user gw-guest
topic write d/v1/lab/ward-7/gw-guest/#
topic write e/v1/lab/ward-7/gw-guest/#
topic write s/v1/lab/ward-7/gw-guest/#
topic write c/v1/lab/gw/gw-guest/#
user consumer
topic read d/v1/#
topic read e/v1/#
topic read s/v1/#
"""


def say(words):
    print(f"[{time.monotonic() - STARTED:4.0f} s] {words}", flush=True)


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificates(folder, whose=("broker", "consumer", "gw-guest"), hosts=("localhost", "broker.test")):
    """An authority, and everybody's certificate from it, good for these hosts."""
    os.mkdir(folder)
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    run(*new, "-subj", "/CN=Lab authority", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem")
    names = "subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts)
    for name in whose:
        run(
            *new, "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-extensions", "usr_cert",
            "-addext", names, "-subj", f"/CN={name}", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem",
        )  # fmt: skip


def configure_broker(folder, port):
    """mosquitto with mutual TLS: a client is who its certificate says, and may do what `acl` says."""
    pki = f"{folder}/pki"
    with open(f"{folder}/mosquitto.conf", "w") as conf:
        conf.write(
            f"user root\nlistener {port} 127.0.0.1\ncafile {pki}/ca.pem\ncertfile {pki}/broker.pem\n"
            f"keyfile {pki}/broker.key\nrequire_certificate true\nuse_identity_as_username true\n"
            f"acl_file {folder}/acl\nmax_queued_messages 0\nmax_inflight_messages 0\n"
            f"persistence true\npersistence_location {folder}/\n"
        )
    return [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", f"{folder}/mosquitto.conf"]


class World:
    """What stands around the gateway."""

    def __init__(self, folder, lab):
        self.folder = folder
        self.processes = []
        self.rest = b""
        pki = f"{folder}/pki"
        certificates(pki)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with open(f"{folder}/acl", "w") as acl:
            acl.write(ACL)
        self.broker = configure_broker(folder, self.port)
        self.broker_is_back()
        self._start(
            "lab",
            [lab, "guest", "--folder", folder, "--broker", str(self.port), "--authorities", f"{pki}/ca.pem",
             "--certificate", f"{pki}/consumer.pem", "--key", f"{pki}/consumer.key"],
        )  # fmt: skip
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        until = time.monotonic() + 30
        while True:
            try:
                self.control.connect(f"{folder}/control")
                break
            except OSError:
                self.check()
                if time.monotonic() > until:
                    raise Failed("wardline-lab does not answer") from None
                time.sleep(0.1)

    def broker_is_back(self):
        """With all that it has taken, for who subscribed."""
        self._start("mosquitto", self.broker)

    def broker_goes(self):
        """In order: what it has taken is not lost with it, as that would not be the gateway's fault."""
        name, process = next(pair for pair in self.processes if pair[0] == "mosquitto")
        self.processes.remove((name, process))
        process.terminate()
        process.wait()

    def _start(self, name, command):
        log = open(f"{self.folder}/{name}.log", "ab")
        self.processes.append((name, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)))

    def check(self):
        for name, process in self.processes:
            if process.poll() is not None:
                with open(f"{self.folder}/{name}.log", errors="replace") as log:
                    raise Failed(f"{name} ended: {log.read()[-2000:]}")

    def tell(self, line):
        """One line to the judge; what is known now."""
        self.check()
        self.control.settimeout(60)
        self.control.sendall(line.encode() + b"\n")
        while b"\n" not in self.rest:
            piece = self.control.recv(1 << 20)
            if not piece:
                raise Failed("wardline-lab went away")
            self.rest += piece
        answer, self.rest = self.rest.split(b"\n", 1)
        answer = json.loads(answer)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def end(self):
        for _, process in reversed(self.processes):
            process.terminate()
            process.wait()


def cargo(folder, package, port):
    """What a person carries to the gateway: the package, its configuration, its certificate. As a disk."""
    inside = f"{folder}/cargo"
    os.makedirs(f"{inside}/pki")
    shutil.copy(package, f"{inside}/wardline.deb")
    shutil.copy(f"{folder}/pki/ca.pem", f"{inside}/pki/broker-ca.pem")
    shutil.copy(f"{folder}/pki/gw-guest.pem", f"{inside}/pki/gateway.pem")
    shutil.copy(f"{folder}/pki/gw-guest.key", f"{inside}/gateway.key")
    shutil.copy(f"{HERE}/inside/sandbox", f"{inside}/sandbox")
    run("aarch64-linux-gnu-gcc", "-static", "-O1", "-o", f"{inside}/probe", f"{HERE}/inside/probe.c")
    with open(f"{inside}/gateway.toml", "w") as file:
        file.write(GATEWAY.format(port=port))
    with tarfile.open(f"{folder}/cargo.tar", "w") as tar:
        tar.add(inside, arcname=".")
    return f"{folder}/cargo.tar"


def fit_tpm(machine):
    """The board gets a TPM, from this boot on."""
    machine.ask(
        "modprobe tpm_vtpm_proxy && mkdir /var/lib/bench-tpm && "
        "{ swtpm chardev --vtpm-proxy --tpm2 --tpmstate dir=/var/lib/bench-tpm >/dev/null 2>&1 & } && "
        "until [ -e /dev/tpmrm0 ]; do sleep 0.1; done; kill $! && wait; sync\n"
        "systemctl enable --now bench-tpm 2>&1"
    )
    if "-firmware" not in machine.ask("systemd-creds has-tpm2", may_fail=True):
        raise Failed("its firmware knows of the TPM: not the board that is meant")


def provision(machine, port, with_tpm):
    """As docs/install.md says, by a person at the gateway."""
    machine.ask("mkdir /root/cargo && tar -xf /dev/vdb -C /root/cargo --no-same-owner")
    say("  " + machine.ask("dpkg -i /root/cargo/wardline.deb 2>&1 | tail -n 2").replace("\n", "\n           "))
    if machine.ask("systemctl is-active wardline", may_fail=True) != "inactive":
        raise Failed("installing started a daemon that nobody configured")
    ports = machine.ask("ls -1 /dev/serial/by-path/*").split("\n")
    # A port may have two names, of which one has the version of USB in it.
    ports = sorted(name for name in ports if "usbv2" not in name)
    if len(ports) != 2:
        raise Failed(f"udev names these ports: {ports}")
    machine.ask("cp /root/cargo/gateway.toml /etc/wardline/gateway.toml && cp -r /root/cargo/pki /etc/wardline/")
    for (name, driver, elements, serial), at in zip(DEVICES, ports):
        text = DEVICE.format(id=name, driver=driver, port=at, elements=elements, serial=serial)
        machine.ask(f"cat >/etc/wardline/devices.d/{name}.toml <<'END'\n{text}END")
    machine.ask("chown -R root:wardline /etc/wardline && chmod -R u=rwX,g=rX,o= /etc/wardline")
    made = json.loads(
        machine.ask(
            f"wardline init --yes --json --organisation lab --group ward-7 --id gw-guest --host broker.test --port {port} "
            "--certificate /root/cargo/pki/gateway.pem --key /root/cargo/gateway.key 2>/dev/null"
        )
    )
    protection = "credential-tpm2" if with_tpm else "credential-host"
    if made["protection"] != protection:
        raise Failed(f"wardline init says that keys are kept as {made['protection']}, not {protection}")
    say(f"  the keys: {protection}")
    machine.ask("shred -u /root/cargo/gateway.key")
    machine.ask("wardline check --config /etc/wardline")
    machine.ask("systemctl enable --now wardline 2>&1 || { journalctl -b -n 40 --no-pager; exit 1; }")
    # A person who has just set a gateway up sees it work before the power goes.
    machine.ask("sync")


def life(machine, world, cargo_disk=None):
    """Power, boot, the daemon ready, the first reading at the consumer. The figures of it."""
    if cargo_disk is None:
        machine.switch_on()
        boot = machine.up()
        figures = {"boot": boot, "up": machine.seconds()}
    else:
        figures = {"boot": machine.ask("cat /proc/sys/kernel/random/boot_id"), "up": None}
    machine.ask("until systemctl -q is-active wardline; do sleep 0.2; done", PATIENCE)
    figures["active"] = machine.seconds() if cargo_disk is None else None
    shown = machine.ask("systemctl show wardline -p ActiveEnterTimestampMonotonic -p NRestarts -p Result")
    shown = dict(line.split("=", 1) for line in shown.split("\n"))
    figures["active_by_its_clock"] = int(shown["ActiveEnterTimestampMonotonic"]) / 1e6
    figures["restarts"] = int(shown["NRestarts"])
    status = json.loads(ask_status(machine))
    figures["run"] = status["run"]
    figures["uptime_at_first_status_s"] = status["uptime_ms"] / 1000
    until = time.monotonic() + 120
    # A reading of a device: what the gateway says of itself would come from one that is deaf, too.
    while not world.tell("look")["lives"].get(status["run"], {}).get("arrived", {}).get("vital"):
        if time.monotonic() > until:
            raise Failed(f"nothing is published; {ask_status(machine)}\n{words_of(machine)}")
        time.sleep(0.25)
    figures["publishing"] = machine.seconds() if cargo_disk is None else None
    troubles = machine.ask("dmesg | grep -E 'EXT4-fs (error|warning)|I/O error|Oops|BUG:' || true")
    if troubles:
        raise Failed(f"the guest's kernel says:\n{troubles}")
    if figures["restarts"]:
        raise Failed(f"systemd had to start the daemon {figures['restarts']} times more\n{words_of(machine)}")
    return figures


def ask_status(machine):
    return machine.ask("until wardline status --json; do sleep 0.2; done 2>/dev/null", 60)


def words_of(machine):
    return machine.ask("journalctl -u wardline -b --no-pager | tail -n 30; systemctl status wardline --no-pager", may_fail=True)


def work_and_cut(machine, world, seconds, in_outage):
    """It works for so long, and says all the time what is durable; then the power goes. What was promised last. In an
    outage all of it is on the disk and nowhere else."""
    if in_outage:
        world.broker_goes()
    until = time.monotonic() + seconds
    said = None
    # Asked again and again, so that the last word is as near to the cut as it can be.
    while said is None or time.monotonic() < until:
        status = json.loads(ask_status(machine))
        said, left = status, until - time.monotonic()
        world.tell("status " + json.dumps(status))
        time.sleep(max(0.0, min(0.3, left)))
    forgot = machine.cut()
    if in_outage:
        world.broker_is_back()
    return said, forgot


def durable(status):
    return sum(lane["durable_total"] for lane in status["lanes"])


def cut_in_boot(machine, draw):
    """The power comes back, and goes while the gateway boots."""
    machine.switch_on()
    moment = draw.uniform(2, 25)
    time.sleep(moment)
    return {"after": round(moment, 1), "forgot": machine.cut()}


def settle(machine, world):
    """The devices fall silent, the store runs empty: the last verdict. Both are heard until the end."""
    before, until = world.tell("look")["acknowledged"], time.monotonic() + 120
    while world.tell("look")["acknowledged"] == before:
        if time.monotonic() > until:
            raise Failed(f"the analyser is not heard any more; {ask_status(machine)}\n{words_of(machine)}")
        time.sleep(0.5)
    world.tell("quiet")
    until = time.monotonic() + 120
    while True:
        status = json.loads(ask_status(machine))
        verdict = world.tell("status " + json.dumps(status))
        if verdict["holds"] and all(lane["records"] == 0 for lane in status["lanes"]):
            return verdict
        if time.monotonic() > until:
            return verdict
        time.sleep(1)


def table(lives):
    rows = ["   cut  worked  durable  not sent  forgot k/l/t   boot  active  publishing  from active"]
    for life in lives:
        forgot = "/".join(str(life["forgot"][fate]) for fate in ("kept", "lost", "torn"))
        again = life["again"]
        rows.append(
            f"  {life['number']:>4}  {life['worked']:>4.1f} s  {life['promised']:>7}  {life['only_on_disk']:>8}  {forgot:>12}  {again['up']:>4.0f} s"
            f"  {again['active']:>4.0f} s  {again['publishing']:>8.0f} s  {again['publishing'] - again['active']:>9.1f} s"
        )
    return "\n".join(rows)


def spread(numbers):
    return {"least": round(min(numbers), 1), "median": round(statistics.median(numbers), 1), "most": round(max(numbers), 1)}


def bench(options, folder):
    draw = random.Random(options.seed)
    # Ctrl-C: no more cuts; what there is, is judged.
    enough = []
    signal.signal(signal.SIGINT, lambda *_: enough.append(True))
    shutil.copyfile(f"{options.image}/disk.raw", f"{folder}/disk.raw")
    world = World(folder, options.lab)
    disk = Disk(f"{folder}/disk.raw", f"{folder}/disk", options.seed + 1)
    machine = Machine(options.image, folder, disk, [f"{folder}/analyser", f"{folder}/oximeter"])
    try:
        say("first boot")
        machine.switch_on(cargo(folder, options.package, world.port))
        machine.up()
        if machine.ask("cat /sys/block/vda/queue/write_cache") != "write back":
            raise Failed("the guest does not flush this disk: nothing would be proved")
        say("provisioning, as by hand")
        if options.tpm:
            fit_tpm(machine)
        provision(machine, world.port, options.tpm)
        life(machine, world, "cargo")
        keys = machine.ask("wardline doctor --only keys", may_fail=True)
        if ("TPM encrypts" if options.tpm else "own disk") not in keys:
            raise Failed(f"wardline doctor says of the keys:\n{keys}")
        say("  it publishes; the sandbox from inside:")
        looked = machine.ask("bash /root/cargo/sandbox /root/cargo/probe", may_fail=True)
        print("\n".join("           " + line for line in looked.split("\n")), flush=True)
        if "WRONG" in looked or not looked.strip().split("\n")[-1].startswith("ok"):
            raise Failed("the sandbox is not what the unit says")
        lives, in_boot = [], []
        for number in range(1, options.cuts + 1):
            if enough:
                break
            seconds, in_outage = draw.uniform(0.5, 12), number % 2 == 0
            disk.lies = options.lie
            said, forgot = work_and_cut(machine, world, seconds, in_outage)
            waited = sum(lane["records"] for lane in said["lanes"])
            if options.in_boot and number % options.in_boot == 0:
                in_boot.append(cut_in_boot(machine, draw))
            again = life(machine, world)
            lives.append(
                {"number": number, "worked": seconds, "run": said["run"], "in_outage": in_outage, "promised": durable(said),
                 "only_on_disk": waited, "forgot": forgot, "again": again}
            )
            verdict = world.tell("look")
            say(
                f"  cut {number}: after {seconds:.1f} s, {durable(said)} durable, {waited} of them not sent; active {again['active']:.0f} s and publishing"
                f" {again['publishing']:.0f} s after power; {verdict['records']} arrived, {verdict['acknowledged']} acknowledged to the analyser"
            )
        say("the devices fall silent; what is stored is sent")
        verdict = settle(machine, world)
        machine.ask("systemctl stop wardline && wardline --version >/dev/null")
        sound = machine.ask(
            "systemd-run --quiet --pipe --wait -p LoadCredentialEncrypted=kek:wardline.kek wardline spool verify --config /etc/wardline 2>&1",
            may_fail=True,
        )
        return {
            "seed": options.seed,
            "cuts": len(lives),
            "cuts_in_boot": in_boot,
            "lives": lives,
            "boot_s": spread([life["again"]["up"] for life in lives]),
            "active_s": spread([life["again"]["active"] for life in lives]),
            "publishing_s": spread([life["again"]["publishing"] for life in lives]),
            "promised": sum(life["promised"] for life in lives),
            "only_on_disk": sum(life["only_on_disk"] for life in lives),
            "verdict": verdict,
            "sandbox": looked.split("\n"),
            "store": sound.split("\n"),
            "took_s": round(time.monotonic() - STARTED),
        }
    finally:
        if machine.process and machine.process.poll() is None:
            machine.process.kill()
            machine.process.wait()
        world.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", required=True)
    parser.add_argument("--package", required=True)
    parser.add_argument("--lab", required=True)
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--in-boot", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--lie", action="store_true")
    parser.add_argument("--tpm", action="store_true")
    parser.add_argument("--keep")
    parser.add_argument("--json")
    options = parser.parse_args()
    say(f"seed {options.seed}")
    if options.keep:
        os.makedirs(options.keep)
    folder = os.path.abspath(options.keep) if options.keep else tempfile.mkdtemp(prefix="wardline-guest-")
    try:
        figures = bench(options, folder)
    except Failed as failed:
        say(f"FAILED (seed {options.seed}): {failed}")
        return 1
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        elif os.path.exists(f"{folder}/disk.raw"):
            os.unlink(f"{folder}/disk.raw")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)
            file.write("\n")
    verdict = figures["verdict"]
    print(table(figures["lives"]))
    for name in ("boot_s", "active_s", "publishing_s"):
        print(f"  {name[:-2]:<11} {figures[name]['least']} / {figures[name]['median']} / {figures[name]['most']} s after power (least, median, most)")
    shown = {name: verdict[name] if not isinstance(verdict[name], list) else len(verdict[name]) for name in verdict if name != "lives"}
    print("  " + ", ".join(f"{name} {value}" for name, value in shown.items()))
    print("  " + "\n  ".join(figures["store"][-3:]))
    if not verdict["holds"]:
        print(json.dumps(verdict, indent=1))
        say(f"A PROMISE DID NOT HOLD (seed {options.seed})")
        return 1
    say(f"every promise held over {figures['cuts']} cuts and {len(figures['cuts_in_boot'])} in the boot")
    return 0


if __name__ == "__main__":
    sys.exit(main())
