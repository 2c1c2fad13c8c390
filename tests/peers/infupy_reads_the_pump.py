"""Checks the simulated Alaris pump against an independent host: infupy (PyPI, ISC licence).

Usage: infupy_reads_the_pump.py PORT
The port is one on which a simulated pump with its default values answers. infupy reads the serial
number, the rate and the volume infused, and tries to take remote control every second: the pump has
to refuse that, and to go on answering queries. Exits with 0 when everything read is as expected.
"""

import os
import sys

from infupy.backends.alaris import AlarisComm, AlarisSyringe, Command, genCheckSum


def main(port):
    pump = AlarisSyringe(AlarisComm(port))
    pump.stopKeepAlive()
    expected = {
        Command.getserialno: b"8002-51733",
        Command.rate: b"3.50 ml/h",
        Command.queryvolume: b"0.969 ml",
    }
    wrong = 0
    for command, value in expected.items():
        # Its keep-alive thread, just stopped, may still take the answer to a first command.
        for _ in range(3):
            reply = pump.execCommand(command)
            if not reply.error:
                break
        ok = not reply.error and reply.value == value
        wrong += not ok
        print(f"{command.name}: {reply.value!r} {'as expected' if ok else f'instead of {value!r}'}")
    control = pump.execCommand(Command.remotectrl, [b"ENABLED", genCheckSum(b"8002-51733")])
    print(f"remote control: {'refused' if control.error else f'granted: {control.value!r}'}")
    wrong += not control.error
    start = pump.execCommand(Command.infstart)
    print(f"start: {'refused' if start.error else f'granted: {start.value!r}'}")
    wrong += not start.error
    again = pump.execCommand(Command.rate)
    wrong += again.error or again.value != expected[Command.rate]
    print(f"rate afterwards: {again.value!r}")
    sys.stdout.flush()
    # infupy's threads wait on the port for ever.
    os._exit(1 if wrong else 0)


if __name__ == "__main__":
    main(sys.argv[1])
