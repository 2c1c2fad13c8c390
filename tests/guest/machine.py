"""The emulated gateway: a board with a disk, two USB serial ports and a network cable, and somebody inside who does
what is said."""

import base64
import os
import socket
import subprocess
import time


class Failed(Exception):
    """Something is not as it should be: the words say what."""


class Machine:
    """One machine, switched on and off again and again."""

    def __init__(self, image, folder, disk, ports, memory=1024):
        self.image, self.folder, self.disk, self.ports, self.memory = image, folder, disk, ports, memory
        self.process = self.agent = None
        self.number = 0
        self.rest = b""
        self.boots = 0
        self.on_since = 0.0

    def _command(self, cargo):
        folder = self.folder
        command = [
            "qemu-system-aarch64", "-nodefaults", "-nographic", "-no-reboot", "-monitor", "none",
            "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", str(self.memory), "-accel", "tcg,thread=multi",
            "-kernel", f"{self.image}/vmlinuz", "-initrd", f"{self.image}/initrd.zst",
            "-append", "console=ttyAMA0 panic=-1 quiet systemd.show_status=0",
            # A real-time clock, as a gateway has one: right from the first moment on.
            "-rtc", "base=utc,clock=host", "-device", "virtio-rng-pci",
            "-serial", f"file:{folder}/console-{self.boots}.log",
            # cache=writeback: the guest sees a disk with a cache of its own, and has to flush it. The disk is
            # disk.py, which forgets what was not.
            "-drive", f"file=nbd+unix:///?socket={folder}/disk,format=raw,if=none,id=disk,cache=writeback",
            "-device", "virtio-blk-pci,drive=disk",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={folder}/agent,server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=agent",
            "-netdev", "user,id=net,restrict=off,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-device", "qemu-xhci,id=usb",
        ]  # fmt: skip
        for number, port in enumerate(self.ports, 1):
            # An adapter between USB and RS-232 (FTDI) in a socket of its own.
            command += ["-chardev", f"serial,id=port{number},path={os.path.realpath(port)}"]
            command += ["-device", f"usb-serial,bus=usb.0,port={number},chardev=port{number}"]
        if cargo:
            command += ["-drive", f"file={cargo},format=raw,if=none,id=cargo,readonly=on"]
            command += ["-device", "virtio-blk-pci,drive=cargo"]
        return command

    def switch_on(self, cargo=None):
        """Power. Returns at once."""
        self.boots += 1
        self.disk.power_on()
        agent = f"{self.folder}/agent"
        if os.path.exists(agent):
            os.unlink(agent)
        log = open(f"{self.folder}/qemu.log", "ab")
        self.on_since = time.monotonic()
        self.process = subprocess.Popen(self._command(cargo), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not os.path.exists(agent):
            self._alive()
            time.sleep(0.05)
        self.agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        for _ in range(100):
            try:
                self.agent.connect(agent)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        self.rest = b""

    def up(self, patience=400):
        """Waits until somebody inside listens. Says the kernel's id of this boot."""
        words = self._line(time.monotonic() + patience).split()
        if words[0] != "ready":
            raise Failed(f"the guest said {words}")
        return words[1]

    def seconds(self):
        """Since the power is on."""
        return time.monotonic() - self.on_since

    def cut(self):
        """The power goes. Says what the disk made of it."""
        self.process.kill()
        self.process.wait()
        self.agent.close()
        return self.disk.power_off()

    def ask(self, command, patience=300, may_fail=False):
        """Runs a command in the guest, as root; what it said."""
        self.number += 1
        sent = base64.b64encode(command.encode()).decode()
        self.agent.sendall(f"{self.number} {sent}\n".encode())
        until = time.monotonic() + patience
        while True:
            words = self._line(until).split(" ", 2)
            if words[0] == str(self.number):
                break
        said = base64.b64decode(words[2]).decode(errors="replace").rstrip("\n")
        if int(words[1]) != 0 and not may_fail:
            raise Failed(f"in the guest, exit {words[1]}: {command}\n{said}")
        return said

    def _line(self, until):
        while b"\n" not in self.rest:
            self._alive()
            left = until - time.monotonic()
            if left <= 0:
                raise Failed(f"the guest says nothing; its console:\n{self.console()}")
            self.agent.settimeout(min(left, 1))
            try:
                self.rest += self.agent.recv(65536)
            except TimeoutError:
                pass
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode(errors="replace")

    def _alive(self):
        if self.process.poll() is not None:
            with open(f"{self.folder}/qemu.log", errors="replace") as log:
                raise Failed(f"the emulator ended: {log.read()[-2000:]}\n{self.console()}")

    def console(self):
        """The last lines of the console."""
        try:
            with open(f"{self.folder}/console-{self.boots}.log", errors="replace") as log:
                return "".join(log.readlines()[-25:])
        except OSError:
            return ""
