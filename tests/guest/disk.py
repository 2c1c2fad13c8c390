"""The guest's disk, which forgets as a disk may when its power is cut.

A server of the Network Block Device protocol, over a file. What was written since the last flush is held in memory, as
a disk's own cache holds it. A flush makes it durable. When the power is cut, each block of it that was not made durable
is there, or is not, or is torn: whatever the order was in which it was written.

Killing an emulator whose disk is a plain file would cut nothing but the guest's own cache: all that had reached the
emulator would be kept, in order, by the host. A gateway that forgot an fsync would never be found out.
"""

import os
import random
import socket
import struct
import threading

BLOCK = 4096
SECTOR = 512

READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1
HAS_FLAGS, CAN_FLUSH, CAN_FUA = 1, 4, 8
OPTION_ABORT, OPTION_INFO, OPTION_GO = 2, 6, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 0x80000001


class Gone(Exception):
    """The other end went away."""


def take(connection, count):
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise Gone
        data += piece
    return bytes(data)


class Disk:
    """One file, one guest at a time."""

    def __init__(self, file, path, seed):
        self.file = os.open(file, os.O_RDWR)
        self.size = os.fstat(self.file).st_size
        self.random = random.Random(seed)
        self.unsynced = {}
        self.flushes = 0
        # A disk that says that it has flushed, and has not: what a promise is not worth on it has to show.
        self.lies = False
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        self.thread = None
        self.trouble = None

    def power_on(self):
        """Serves the next guest, until it is gone."""
        self.flushes = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def power_off(self):
        """After the guest is gone: forgets. Says how many blocks were kept, lost and torn."""
        self.thread.join(60)
        if self.thread.is_alive() or self.trouble:
            raise RuntimeError(f"the disk: {self.trouble or 'somebody still uses it'}")
        came = {"kept": 0, "lost": 0, "torn": 0}
        for number, data in sorted(self.unsynced.items()):
            fate = "lost" if self.lies else self.random.choices(("kept", "lost", "torn"), (5, 4, 1))[0]
            came[fate] += 1
            if fate == "kept":
                os.pwrite(self.file, data, number * BLOCK)
            elif fate == "torn":
                sectors = self.random.randrange(1, BLOCK // SECTOR)
                os.pwrite(self.file, data[: sectors * SECTOR], number * BLOCK)
        self.unsynced.clear()
        self.lies = False
        return came

    def _serve(self):
        connection, _ = self.listener.accept()
        try:
            with connection:
                self._agree(connection)
                while self._request(connection):
                    pass
        except (Gone, ConnectionError):
            pass
        except Exception as error:  # told of in power_off
            self.trouble = repr(error)

    def _agree(self, connection):
        connection.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
        take(connection, 4)
        while True:
            _, option, length = struct.unpack(">8sII", take(connection, 16))
            take(connection, length)

            def reply(kind, data=b""):
                connection.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)

            if option in (OPTION_INFO, OPTION_GO):
                reply(REPLY_INFO, struct.pack(">HQH", 0, self.size, HAS_FLAGS | CAN_FLUSH | CAN_FUA))
                reply(REPLY_ACK)
                if option == OPTION_GO:
                    return
            elif option == OPTION_ABORT:
                reply(REPLY_ACK)
                raise Gone
            else:
                reply(REPLY_UNSUPPORTED)

    def _request(self, connection):
        _, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", take(connection, 28))
        answer = b""
        if kind == READ:
            answer = self._read(offset, length)
        elif kind == WRITE:
            self._write(offset, take(connection, length))
            if flags & FUA:
                self._sync(range(offset // BLOCK, (offset + length - 1) // BLOCK + 1))
        elif kind == FLUSH:
            self.flushes += 1
            self._sync(list(self.unsynced))
        elif kind == DISCONNECT:
            return False
        else:
            raise ValueError(f"a request of kind {kind}")
        connection.sendall(struct.pack(">IIQ", 0x67446698, 0, handle) + answer)
        return True

    def _block(self, number):
        held = self.unsynced.get(number)
        return held if held is not None else os.pread(self.file, BLOCK, number * BLOCK)

    def _read(self, offset, length):
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        if not any(number in self.unsynced for number in range(first, last + 1)):
            return os.pread(self.file, length, offset)
        data = b"".join(self._block(number) for number in range(first, last + 1))
        return data[offset - first * BLOCK :][:length]

    def _write(self, offset, data):
        while data:
            number, at = divmod(offset, BLOCK)
            piece = data[: BLOCK - at]
            block = self._block(number) if len(piece) < BLOCK else b""
            self.unsynced[number] = block[:at] + piece + block[at + len(piece) :]
            offset, data = offset + len(piece), data[len(piece) :]

    def _sync(self, numbers):
        if self.lies:
            return
        for number in numbers:
            data = self.unsynced.pop(number, None)
            if data is not None:
                os.pwrite(self.file, data, number * BLOCK)
