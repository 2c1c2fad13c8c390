"""Checks the simulated Alaris pump against an independent host: infupy (PyPI, ISC licence).

Usage: infupy_reads_the_pump.py PORT
The port is one on which a simulated pump with its default values answers. infupy reads the serial
number, the rate and the volume infused, and tries to take remote control every second: the pump has
to refuse that, and to go on answering queries. Exits with 0 when everything read is as expected.
"""

import os
import queue
import sys
import threading

from infupy.backends.alaris import AlarisComm, AlarisSyringe, Command, Looper, genCheckSum


def ask(pump, command):
    """The pump's reply to a query. A machine that is busy may be later than the half second that infupy waits."""
    for _ in range(5):
        # What came too late for the command before would be taken for the reply to this one.
        try:
            while True:
                pump.comm.recvq.get_nowait()
        except queue.Empty:
            pass
        reply = pump.execCommand(command)
        if not reply.error:
            break
    return reply


def main(port):
    pump = AlarisSyringe(AlarisComm(port))
    pump.stopKeepAlive()
    # Its keep-alive thread says goodbye to remote control, and takes replies meant for others until it has ended.
    for thread in threading.enumerate():
        if isinstance(thread, Looper):
            thread.join()
    expected = {
        Command.getserialno: b"8002-51733",
        Command.rate: b"3.50 ml/h",
        Command.queryvolume: b"0.969 ml",
    }
    wrong = 0
    for command, value in expected.items():
        reply = ask(pump, command)
        ok = not reply.error and reply.value == value
        wrong += not ok
        print(f"{command.name}: {reply.value!r} {'as expected' if ok else f'instead of {value!r}'}")
    control = pump.execCommand(Command.remotectrl, [b"ENABLED", genCheckSum(b"8002-51733")])
    print(f"remote control: {'refused' if control.error else f'granted: {control.value!r}'}")
    wrong += not control.error
    start = pump.execCommand(Command.infstart)
    print(f"start: {'refused' if start.error else f'granted: {start.value!r}'}")
    wrong += not start.error
    again = ask(pump, Command.rate)
    wrong += again.error or again.value != expected[Command.rate]
    print(f"rate afterwards: {again.value!r}")
    sys.stdout.flush()
    # infupy's threads wait on the port for ever.
    os._exit(1 if wrong else 0)


if __name__ == "__main__":
    main(sys.argv[1])
