"""What the checks stand on: the guest with BlueZ, a broker with what it receives, the real daemon."""

import asyncio
import configparser
import glob
import json
import os
import signal
import socket
import subprocess
from collections import namedtuple
from decimal import Decimal

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.auth import AuthAnonymous
from dbus_fast.service import ServiceInterface, dbus_method

from radio import News

ADAPTER = "/org/bluez/hci0"
# A reading as the broker has it; a number with the digits that it was sent with.
Reading = namedtuple("Reading", "gateway device sort key run seq code value unit")


def free_port():
    """A port that is free at this moment; nobody else asks for it in the next."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Guest:
    """QEMU without KVM: Linux and BlueZ; its system bus on a TCP port, a shell on a serial port."""

    def __init__(self, image, folder):
        self.image = image
        self.folder = folder
        self.port = free_port()
        self.bus_address = f"tcp:host=127.0.0.1,port={self.port},family=ipv4"
        self.hci = os.path.join(folder, "hci.sock")
        self.console = os.path.join(folder, "console.log")
        # bluetoothd's own, /var/lib/bluetooth in the guest.
        self.state = os.path.join(folder, "bluetooth")
        self.process = None
        self.bus = None
        self._shell = None

    async def start(self):
        """Boots, and returns when its shell answers."""
        os.makedirs(self.state, mode=0o700)
        shell = os.path.join(self.folder, "shell.sock")
        state = f"local,id=state,path={self.state},security_model=none"
        devices = "-device virtio-rng-pci -device virtio-serial-pci".split()
        for name, path in (("hci", self.hci), ("shell", shell)):
            devices += ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]
            devices += ["-device", f"virtserialport,chardev={name},name={name}"]
        network = f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:5555"
        self.process = await asyncio.create_subprocess_exec(
            *"qemu-system-x86_64 -accel tcg,thread=multi,tb-size=256 -cpu max,la57=off -smp 1 -m 256".split(),
            *"-M q35 -display none -vga none -no-reboot -nodefaults -monitor none".split(),
            *["-kernel", f"{self.image}/vmlinuz", "-initrd", f"{self.image}/initrd.zst"],
            *["-append", "console=ttyS0 panic=-1 quiet mitigations=off cryptomgr.notests random.trust_cpu=on"],
            *["-serial", f"file:{self.console}", "-netdev", network],
            *["-fsdev", state, "-device", "virtio-9p-pci,fsdev=state,mount_tag=state"],
            *["-device", "virtio-net-pci,netdev=n,romfile=", *devices],
            stdin=subprocess.DEVNULL,
            stdout=open(os.path.join(self.folder, "qemu.log"), "wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while not (os.path.exists(self.hci) and os.path.exists(shell)):
            assert self.process.returncode is None, "qemu ended: see qemu.log"
            await asyncio.sleep(0.02)
        self._shell = await asyncio.open_unix_connection(shell)
        await asyncio.wait_for(self.run("true"), 120)

    async def run(self, command):
        """Runs a command in the guest's shell and gives what it says; AssertionError when it fails."""
        reader, writer = self._shell
        writer.write(command.encode() + b"\n")
        said = []
        while not (line := (await reader.readline()).decode()).startswith("=== "):
            assert line, "the guest's shell is gone: see console.log"
            said.append(line)
        assert line == "=== 0\n", f"in the guest: {command}: {''.join(said)}"
        return "".join(said)

    async def until_adapter(self, patience=60):
        """Waits until BlueZ has the adapter powered; gives a bus connection of its own."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                if self.bus is None or not self.bus.connected:
                    connecting = MessageBus(self.bus_address, auth=AuthAnonymous()).connect()
                    self.bus = await asyncio.wait_for(connecting, 5)
                if await asyncio.wait_for(self.get(ADAPTER, "Adapter1", "Powered"), 5):
                    return
            except (OSError, EOFError, RuntimeError, asyncio.TimeoutError):
                pass
            assert asyncio.get_running_loop().time() < deadline, "the adapter does not come up"
            await asyncio.sleep(0.2)

    async def call(self, path, interface, member, signature="", *arguments):
        """Calls a method of org.bluez; RuntimeError with the name and words of its error."""
        message = Message("org.bluez", path, interface, member, signature=signature, body=list(arguments))
        reply = await self.bus.call(message)
        if reply.message_type == MessageType.ERROR:
            raise RuntimeError(f"{reply.error_name}: {reply.body}")
        return reply.body[0] if reply.body else None

    async def call_bus(self, member, signature, *arguments):
        """Calls a method of the bus itself."""
        bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        await self.bus.call(Message(*bus, member, signature=signature, body=list(arguments)))

    async def get(self, path, interface, name):
        """A property."""
        properties = "org.freedesktop.DBus.Properties"
        return (await self.call(path, properties, "Get", "ss", f"org.bluez.{interface}", name)).value

    async def devices(self):
        """The addresses that BlueZ knows."""
        objects = await self.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        devices = (interfaces.get("org.bluez.Device1") for interfaces in objects.values())
        return [device["Address"].value for device in devices if device]

    async def discover(self, address):
        """Scans until BlueZ knows a device."""
        await self.call(ADAPTER, "org.bluez.Adapter1", "StartDiscovery")
        while address not in await self.devices():
            await asyncio.sleep(0.1)
        await self.call(ADAPTER, "org.bluez.Adapter1", "StopDiscovery")

    async def forget_devices(self):
        """Makes BlueZ forget every device, its bond included."""
        for address in await self.devices():
            await self.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", device_path(address))

    async def kill_bluetoothd(self):
        """Kills it, as a crash would."""
        await self.run("kill -9 $(cat /run/bluetoothd.pid)")

    async def start_bluetoothd(self):
        """Starts it again."""
        await self.run("start_bluetoothd")

    def bond(self, address):
        """What BlueZ keeps of a bond (settings-storage of BlueZ): how it was made, and the key's size."""
        kept = configparser.ConfigParser(interpolation=None)
        kept.read(glob.glob(f"{self.state}/*/{address}/info"))
        keys = [section for section in kept.sections() if "LongTermKey" in section]
        names = ("Authenticated", "EncSize")
        return {name: kept.getint(section, name) for section in keys for name in names}

    async def until_unbonded(self, address):
        """Waits until BlueZ keeps no key of it: its folder goes a moment after its object."""
        deadline = asyncio.get_running_loop().time() + 5
        while kept := self.bond(address):
            assert asyncio.get_running_loop().time() < deadline, f"BlueZ keeps keys of {address}: {kept}"
            await asyncio.sleep(0.05)

    async def stop(self):
        """Ends it."""
        if self.bus:
            self.bus.disconnect()
        await end(self.process)


async def end(process):
    """Kills a process, if it is one, and waits until it is gone."""
    if process and process.returncode is None:
        process.kill()
        await process.wait()


def device_path(address):
    """BlueZ's object of a device."""
    return f"{ADAPTER}/dev_{address.replace(':', '_')}"


class Person(ServiceInterface):
    """Pairs by hand with BlueZ's own means: an agent that types a passkey. For checks that are about
    bonded devices, not about `wardline pair`."""

    def __init__(self, guest, read_passkey):
        super().__init__("org.bluez.Agent1")
        self.guest = guest
        self.read_passkey = read_passkey

    @dbus_method()
    async def RequestPasskey(self, device: "o") -> "u":  # noqa: F821
        return await self.read_passkey()

    @dbus_method()
    def Cancel(self):
        pass

    async def pair(self, address):
        """Scans for it and pairs; RuntimeError when BlueZ says no."""
        bus, manager = self.guest.bus, "org.bluez.AgentManager1"
        bus.export("/person", self)
        try:
            await self.guest.call("/org/bluez", manager, "RegisterAgent", "os", "/person", "KeyboardOnly")
            await self.guest.discover(address)
            await self.guest.call(device_path(address), "org.bluez.Device1", "Pair")
            await self.guest.call(device_path(address), "org.bluez.Device1", "Disconnect")
        finally:
            await self.guest.call("/org/bluez", manager, "UnregisterAgent", "o", "/person")
            bus.unexport("/person")


class Broker:
    """mosquitto with mutual TLS, and mosquitto_sub as the consumer."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.news = News()
        self.readings = []
        self.other = []
        self._processes = []
        self._reading = None

    def path(self, name):
        return os.path.join(self.folder, name)

    async def start(self):
        """Makes the certificates, starts both, and returns when the consumer is subscribed."""
        make_certificates(self.folder, ["broker", "consumer", "gateway"])
        with open(self.path("mosquitto.conf"), "w") as file:
            file.write(f"user root\nlistener {self.port} 127.0.0.1\nrequire_certificate true\n")
            for option, name in (("cafile", "ca.pem"), ("certfile", "broker.pem"), ("keyfile", "broker.key")):
                file.write(f"{option} {self.path(name)}\n")
            file.write("use_identity_as_username true\npersistence false\nmax_queued_messages 0\n")
        await self._spawn("mosquitto", "-c", self.path("mosquitto.conf"))
        # -d says, on standard output too, when the subscription is confirmed.
        arguments = ["-h", "localhost", "-p", str(self.port), "-V", "5", "-q", "1", "-d"]
        for option, name in (("--cafile", "ca.pem"), ("--cert", "consumer.pem"), ("--key", "consumer.key")):
            arguments += [option, self.path(name)]
        arguments += ["-t", "d/v1/#", "-t", "e/v1/#", "-F", "%t %p"]
        for _ in range(50):
            # Into a pipe it would keep its words back until a buffer is full.
            consumer = await self._spawn("stdbuf", "-oL", "mosquitto_sub", *arguments)
            async for line in consumer.stdout:
                if b"Subscribed (mid" in line:
                    self._reading = asyncio.create_task(self._read(consumer))
                    return
            await asyncio.sleep(0.1)
        raise AssertionError("the consumer cannot subscribe: see mosquitto.log")

    async def _spawn(self, program, *arguments):
        log = open(self.path(f"{program}.log"), "ab")
        path = os.environ["PATH"] + ":/usr/sbin"
        process = await asyncio.create_subprocess_exec(
            program, *arguments, env={**os.environ, "PATH": path}, limit=1 << 26, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "stdbuf" else log, stderr=log, start_new_session=True
        )  # fmt: skip
        self._processes.append(process)
        return process

    async def _read(self, consumer):
        async for line in consumer.stdout:
            topic, _, payload = line.decode().rstrip("\n").partition(" ")
            if topic.startswith("d/v1/") and topic.endswith(("/obs", "/alarm")):
                self.readings += read_bundle(topic, json.loads(payload, parse_float=Decimal))
            elif topic[:5] in ("d/v1/", "e/v1/"):
                self.other.append((topic, payload))
            self.news.tell()

    def of(self, gateway, device, code):
        """The readings of a device, in its own order; a reading that came twice is there twice."""
        found = [r for r in self.readings if (r.gateway, r.device, r.code) == (gateway, device, code)]
        return sorted(found, key=lambda reading: (reading.run, reading.seq))

    async def stop(self):
        """Ends both."""
        for process in self._processes:
            await end(process)


def read_bundle(topic, bundle):
    """The readings of a FHIR transaction, as README.md describes it."""
    *_, gateway, device, sort = topic.split("/")
    for entry in bundle["entry"]:
        resource = entry["resource"]
        parts = next(e["extension"] for e in resource["extension"] if e["url"] == "urn:wardline:context")
        context = {part["url"]: part.get("valueString", part.get("valueCode")) for part in parts}
        codings = {coding["system"]: coding["code"] for coding in resource["code"]["coding"]}
        code = codings["urn:iso:std:iso:11073:10101"]
        quantity = resource.get("valueQuantity", {})
        key = resource["identifier"][0]["value"]
        yield Reading(
            gateway, device, sort, key, context.get("run"), int(context.get("seq", 0)), int(code),
            quantity.get("value"), quantity.get("code", quantity.get("unit"))
        )  # fmt: skip


def make_certificates(folder, names):
    """An authority and a certificate for each name; the names are also what a client is called."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench", "-days", "30")
    for serial, name in enumerate(names, 1):
        with open(os.path.join(folder, f"{name}.ext"), "w") as file:
            file.write("basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n")
            file.write("keyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30",
                "-set_serial", str(serial), "-extfile", f"{name}.ext", "-out", f"{name}.pem")  # fmt: skip


def ble_device(name, profile, peripheral, serial, security="open"):
    """A section of devices.d."""
    return (
        f'[[device]]\nid = "{name}"\nasset = "ASSET-{name}"\nprofiles = ["{profile}"]\n'
        f'address = "{peripheral.address}"\nsecurity = "{security}"\nelements = "all"\n'
        f'expects = {{ serial = "{serial}" }}\n\n'
    )


class Daemon:
    """`wardline run`, with a configuration folder and a store of its own."""

    def __init__(self, program, guest, broker, folder, gateway, devices):
        self.program = program
        self.folder = folder
        self.gateway = gateway
        self.process = None
        self.stopping = False
        # Whatever else is set here must not become a part of its configuration.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WARDLINE_")}
        self.environment = {**kept, "DBUS_SYSTEM_BUS_ADDRESS": guest.bus_address}
        os.makedirs(os.path.join(folder, "devices.d"))
        self.socket = os.path.join(folder, "status.sock")
        for name in ("kek", "ward"):
            self._write(name, os.urandom(32).hex())
        self._write(
            "gateway.toml",
            f'[gateway]\norganisation = "bench"\ngroup = "ward"\nid = "{gateway}"\n\n'
            f'[uplink]\nhost = "localhost"\nport = {broker.port}\nauthorities = "{broker.path("ca.pem")}"\n'
            f'certificate = "{broker.path("gateway.pem")}"\nkey = "{broker.path("gateway.key")}"\n\n'
            f'[store]\nfolder = "{folder}/store"\ncap = "256MiB"\nalarm_reserve = "16MiB"\n\n'
            f'[keys]\nkek = "kek"\nward = "ward"\n\n[status]\nsocket = "{self.socket}"\n\n[daemon]\nlog = "debug"\n',
        )
        self._write("devices.d/bench.toml", devices)

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    async def start(self):
        """Starts it, for the first time or again."""
        self.stopping = False
        log = open(os.path.join(self.folder, "daemon.log"), "ab")
        self.process = await asyncio.create_subprocess_exec(
            self.program, "run", "--config", self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True
        )  # fmt: skip

    async def ended(self):
        """Waits until it ends by itself, which is always wrong."""
        code = await self.process.wait()
        while self.stopping:
            await asyncio.sleep(3600)
        with open(os.path.join(self.folder, "daemon.log"), errors="replace") as log:
            last = "".join(log.readlines()[-10:])
        raise AssertionError(f"the daemon ended with {code}:\n{last}")

    async def command(self, *arguments, stdin=None):
        """Another command of the same program: its process, with pipes."""
        return await asyncio.create_subprocess_exec(
            self.program, *arguments, env=self.environment, stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )  # fmt: skip

    async def status(self):
        """What the daemon says of itself; None while it does not answer."""
        asked = await self.command("status", "--json", "--socket", self.socket)
        said, _ = await asked.communicate()
        return json.loads(said) if asked.returncode == 0 else None

    async def until(self, what, condition, patience=60):
        """Asks until the condition holds of its status; gives the status."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            status = await self.status()
            if status and condition(status):
                return status
            if asyncio.get_running_loop().time() > deadline:
                devices = json.dumps(status and status["devices"])
                raise AssertionError(f"not within {patience} s: {what}: {devices}")
            await asyncio.sleep(0.2)

    async def stop(self):
        """Stops it as systemd does; it must end well."""
        self.stopping = True
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), 30)
        assert code == 0, f"the daemon ended with {code}"

    async def kill(self):
        """Ends it, as the power does."""
        self.stopping = True
        await end(self.process)
