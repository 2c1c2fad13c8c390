"""Checks the simulated Fresenius base against an independent host: infupy (PyPI, ISC licence).

Usage: infupy_reads_the_base.py PORT
The port is one on which a simulated base with its default values answers: modules on the places 1 and
2. infupy asks the base who it is and what stands on it, reads each module, gives the life signs that
the base asks for every second, and tries every command that would change a module: the base has to
refuse each, and to go on answering. Exits with 0 when everything is as expected.
"""

import os
import sys
import time

from infupy.backends.fresenius import (
    Command,
    CommandError,
    Error,
    FreseniusBase,
    FreseniusComm,
    VarId,
    parseVars,
)

# As long as the base needs to miss two life signs, and one more.
LIFE_SIGNS = 3

# What infupy has that writes, silences, subscribes or switches off.
WRITING = [
    (Command.mode, [b"2"]),
    (Command.reset, []),
    (Command.off, []),
    (Command.silence, []),
    (Command.setdrug, [b"1"]),
    (Command.showdrug, [b"1"]),
    (Command.setid, [b"OTHER"]),
    (Command.enspont, [b"dr"]),
    (Command.disspont, []),
    (Command.enspontadj, [b"d"]),
    (Command.disspontadj, []),
    (Command.setrate, [b"d03E8"]),
    (Command.setpause, []),
    (Command.setbolus, [b"k04B0"]),
    (Command.setempty, []),
    (Command.setlimvolume, [b"r00000BB8"]),
    (Command.resetvolume, []),
    (Command.pressurelim, [b"p01F4"]),
    (Command.dynpressure, []),
]


class Checks:
    """Says of every answer whether it is as expected, and counts those that are not."""

    def __init__(self):
        self.wrong = 0

    def same(self, what, said, expected):
        ok = said == expected
        self.wrong += not ok
        print(f"{what}: {said!r} {'as expected' if ok else f'instead of {expected!r}'}")

    def refused(self, what, attempt, error):
        """The attempt has to end in infupy's CommandError, for this reason."""
        try:
            said = attempt()
        except CommandError as refusal:
            said = refusal.args[0]
        self.same(what, said, error)


def answer(module, command, **more):
    """What a module answers: the text behind its status, or infupy's name for why it refuses."""
    return module.execCommand(command, **more).value


def is_unknown(reply):
    """Whether the answer is that there is no such command."""
    return reply.error and reply.value is Error.EUNKNOWN


def read_module(checks, module):
    place = f"module {module.index}"
    checks.same(f"{place}, type", module.readDeviceType(), b"b1D")
    checks.same(f"{place}, identification", answer(module, Command.readid), b"BA-2041-%d" % module.index)
    checks.same(f"{place}, drug", module.readDrug(), b"PROPOFOL 1%")
    checks.same(f"{place}, rate in mL/h", module.readRate(), 3.5)
    checks.same(f"{place}, volume in mL", module.readVolume(), 3.0)
    letters = [VarId.alarm, VarId.error, VarId.mode, VarId.rate, VarId.volume]
    state = parseVars(answer(module, Command.readvar, flags=letters))
    expected = dict(zip(letters, [b"0000", b"00", b"01", b"0023", b"00000BB8"]))
    checks.same(f"{place}, all at once", state, expected)


def main(port):
    checks = Checks()
    comm = FreseniusComm(port)
    base = FreseniusBase(comm, wait=False)
    checks.same("base, identification", answer(base, Command.readid), b"BA-2041")
    checks.same("base, type", base.readDeviceType(), b"b0A")
    places = base.listModules()
    checks.same("places", places, [1, 2])
    modules = [base.connectSyringe(place) for place in places]
    for module in modules:
        read_module(checks, module)
    checks.refused("an empty place", lambda: base.connectSyringe(3), Error.ECOMMODULEI)

    # Whose life signs do not count loses its sessions, and then reading fails.
    until = time.monotonic() + LIFE_SIGNS
    while time.monotonic() < until:
        rate = modules[0].readRate()
    checks.same(f"rate after {LIFE_SIGNS} s of life signs", rate, 3.5)

    for module in [base, *modules]:
        replies = [(command, module.execCommand(command, args=words)) for command, words in WRITING]
        granted = [command.name for command, reply in replies if not is_unknown(reply)]
        checks.same(f"place {module.index}, granted of {len(replies)} writing commands", granted, [])
    for module in modules:
        read_module(checks, module)

    base.disconnect()
    checks.refused("a module without its base's session", modules[0].readRate, Error.ECOMBASE)
    sys.stdout.flush()
    # infupy's threads wait on the port for ever.
    os._exit(1 if checks.wrong else 0)


if __name__ == "__main__":
    main(sys.argv[1])
