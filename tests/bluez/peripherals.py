"""The peripherals of the bench, written from the GATT Specification Supplement and the services' own
specifications, with nothing of the project's code: a heart-rate sensor (open, or one that demands
authenticated pairing), a thermometer that indicates, a glucose meter with stored records.

Each keeps in `shown`, for each connection, what a person would have read on it, as the broker must
have it.
"""

import asyncio
import secrets
import struct

from bumble.att import ATT_Error, ErrorCode
from bumble.gatt import Characteristic, Service
from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate

import radio
from radio import AUTHENTICATED_READ, READABLE, Peripheral, Property

MAKER = "Bumble Works"


def nothing_readable(uuid, properties):
    """A characteristic that only notifies or indicates."""
    return Characteristic(uuid, properties, Characteristic.Permissions(0))


class Display(PairingDelegate):
    """A device with a display and no keys: it shows a passkey, anew for each pairing."""

    def __init__(self, news):
        super().__init__(PairingDelegate.DISPLAY_OUTPUT_ONLY)
        self.news = news
        self.passkey = None
        self.pairings = 0

    async def generate_passkey(self):
        # Six digits; zero is left out, as Bumble takes it for none.
        self.passkey = 1 + secrets.randbelow(999_999)
        self.pairings += 1
        self.news.tell()
        return self.passkey

    async def display_number(self, number, digits):
        """Already told."""


class HeartRate(Peripheral):
    """A heart-rate sensor (0x180D). `guarded`: its values only over a link that an authenticated bond
    (LE Secure Connections, passkey entry) encrypts."""

    def __init__(self, world, name, address, serial, guarded=False):
        self.display = Display(world.news) if guarded else None
        identity = PairingConfig.AddressType.RANDOM
        pairing = guarded and PairingConfig(
            sc=True, mitm=True, bonding=True, delegate=self.display, identity_address_type=identity
        )
        super().__init__(world, name, address, pairing)
        if guarded:
            self.device.keystore = MemoryKeyStore()
        self.measurement = nothing_readable("2A37", Property.NOTIFY)
        if guarded:
            self.guarded_configuration(self.measurement)
        place = READABLE | (AUTHENTICATED_READ if guarded else 0)
        location = Characteristic("2A38", Property.READ, Characteristic.Permissions(place), bytes([1]))
        # Heart Rate Control Point: it would reset the energy. Nobody has to write it.
        self.add(Service("180D", [self.measurement, location, self.writable("2A39")]))
        self.add(radio.device_information(MAKER, "Belt 1", serial, "1.4.2"), advertised=False)

    async def beat(self, rate, energy=None, intervals=()):
        """One Heart Rate Measurement (2A37): flags, rate in one octet or two, energy in kJ, RR intervals
        in 1/1024 s. The sensor knows that it touches the skin (bits 1 and 2)."""
        flags = 0x06 | (rate > 255) | (0x08 if energy is not None else 0) | (0x10 if intervals else 0)
        value = bytes([flags]) + (struct.pack("<H", rate) if rate > 255 else bytes([rate]))
        if energy is not None:
            value += struct.pack("<H", energy)
        value += b"".join(struct.pack("<H", interval) for interval in intervals)
        assert self.is_subscribed(self.measurement), f"nobody listens to {self.name}"
        await self.device.notify_subscribers(self.measurement, value)
        self.shown[-1].append(rate)

    async def forget_bond(self):
        """A person resets the device."""
        await self.device.keystore.delete_all()


class Thermometer(Peripheral):
    """A thermometer (0x1809) that indicates its measurements."""

    def __init__(self, world, name, address, serial):
        super().__init__(world, name, address)
        self.measurement = nothing_readable("2A1C", Property.INDICATE)
        body = Characteristic("2A1D", Property.READ, READABLE, bytes([2]))
        self.add(Service("1809", [self.measurement, body]))
        self.add(radio.device_information(MAKER, "Thermo 2", serial, "0.9"), advertised=False)

    async def measure(self, tenths, at):
        """One Temperature Measurement (2A1C) in degrees Celsius with time and type; returns when the
        client confirmed it."""
        assert self.is_subscribed(self.measurement), f"nobody listens to {self.name}"
        mantissa_and_exponent = (tenths & 0xFFFFFF) | (0xFF << 24)
        value = struct.pack("<BI", 0x02 | 0x04, mantissa_and_exponent) + date_time(at) + bytes([6])
        await self.device.gatt_server.indicate_subscriber(self.connection, self.measurement, value)
        self.shown[-1].append(f"{tenths // 10}.{tenths % 10}")


def date_time(at):
    """Date Time (2A08)."""
    return struct.pack("<HBBBBB", at.year, at.month, at.day, at.hour, at.minute, at.second)


# Record Access Control Point (2A52): op codes, operators, answers (GATT Specification Supplement).
REPORT, DELETE, ABORT, COUNT, COUNTED, ANSWER = range(1, 7)
NULL, ALL, UP_TO, FROM, WITHIN, FIRST, LAST = range(7)
SUCCESS, NO_OP_CODE, BAD_OPERATOR, NO_OPERATOR, BAD_OPERAND, NO_RECORDS = range(1, 7)
ABORT_FAILED, NOT_COMPLETED, NO_OPERAND = 7, 8, 9
# Attribute errors of every profile (Core Specification Supplement, Part B).
CCCD_IMPROPERLY_CONFIGURED, PROCEDURE_IN_PROGRESS = 0xFD, 0xFE


class GlucoseMeter(Peripheral):
    """A glucose meter (0x1808) with stored records and a Record Access Control Point.

    `cut_after`: it loses the link once, after so many records of a report.
    """

    # One record in each connection interval of a battery-powered device.
    PACE = 0.03

    def __init__(self, world, name, address, serial, records):
        super().__init__(world, name, address)
        self.records = dict(records)
        self.requests = []
        self.cut_after = None
        self.running = None
        self.measurement = nothing_readable("2A18", Property.NOTIFY)
        context = nothing_readable("2A34", Property.NOTIFY)
        features = Characteristic("2A51", Property.READ, READABLE, struct.pack("<H", 0))
        self.control = self.writable("2A52", then=self._asked)
        self.control.properties |= Property.INDICATE
        self.add(Service("1808", [self.measurement, context, features, self.control]))
        self.add(radio.device_information(MAKER, "Glyco 3", serial, "2.0"), advertised=False)

    def record(self, sequence):
        """One Glucose Measurement (2A18): capillary whole blood, finger; kg/L, as a 16-bit float with
        the exponent -5, which is milligrams in a decilitre."""
        at, milligrams = self.records[sequence]
        concentration = struct.pack("<HB", 0xB000 | milligrams, 0x11)
        return struct.pack("<BH", 0x02, sequence) + date_time(at) + concentration

    def _disconnected(self, reason):
        if self.running:
            self.running.cancel()
            self.running = None
        super()._disconnected(reason)

    def _asked(self, connection, request):
        if not all(map(self.is_subscribed, (self.measurement, self.control))):
            raise ATT_Error(ErrorCode(CCCD_IMPROPERLY_CONFIGURED))
        busy = self.running is not None
        if busy and request[:1] != bytes([ABORT]):
            raise ATT_Error(ErrorCode(PROCEDURE_IN_PROGRESS))
        self.requests.append(request)
        loop = asyncio.get_running_loop()
        if request[:1] == bytes([ABORT]):
            if busy:
                self.running.cancel()
                self.running = None
            loop.create_task(self._answer(ABORT, SUCCESS if busy else ABORT_FAILED))
        else:
            self.running = loop.create_task(self._do(connection, request))

    async def _do(self, connection, request):
        operation, operator, operand = request[0], request[1] if len(request) > 1 else NULL, request[2:]
        if operation not in (REPORT, DELETE, COUNT):
            await self._answer(operation, NO_OP_CODE)
            return
        chosen, wrong = self._choose(operator, operand)
        if wrong:
            await self._answer(operation, wrong)
        elif operation == COUNT:
            await self._indicate(struct.pack("<BBH", COUNTED, NULL, len(chosen)))
        elif not chosen:
            await self._answer(operation, NO_RECORDS)
        elif operation == DELETE:
            for sequence in chosen:
                del self.records[sequence]
            await self._answer(DELETE, SUCCESS)
        else:
            await self._report(connection, chosen)

    def _choose(self, operator, operand):
        """The sequence numbers that are meant, or what is wrong with the request."""
        stored = sorted(self.records)
        if operator in (ALL, FIRST, LAST):
            if operand:
                return [], BAD_OPERAND
            return {ALL: stored, FIRST: stored[:1], LAST: stored[-1:]}[operator], None
        if operator == NULL:
            return [], BAD_OPERATOR
        if operator > LAST:
            return [], NO_OPERATOR
        if operand[:1] != b"\x01":
            # Filter by sequence number is the only one that this meter has.
            return [], NO_OPERAND
        if len(operand) != (5 if operator == WITHIN else 3):
            return [], BAD_OPERAND
        limits = struct.unpack(f"<{len(operand) // 2}H", operand[1:])
        low, high = {UP_TO: (0, limits[0]), FROM: (limits[0], 0xFFFF), WITHIN: limits}[operator]
        return [sequence for sequence in stored if low <= sequence <= high], None if low <= high else BAD_OPERAND

    async def _report(self, connection, chosen):
        for count, sequence in enumerate(chosen, 1):
            await asyncio.sleep(self.PACE)
            await self.device.gatt_server.notify_subscriber(connection, self.measurement, self.record(sequence))
            self.shown[-1].append(sequence)
            if count == self.cut_after:
                self.cut_after = self.running = None
                self.lose_link()
                return
        await self._answer(REPORT, SUCCESS)

    async def _answer(self, operation, code):
        await self._indicate(bytes([ANSWER, NULL, operation, code]))

    async def _indicate(self, value):
        # The answer ends the procedure: whoever has it may ask anew.
        self.running = None
        if self.connection:
            await self.device.gatt_server.indicate_subscriber(self.connection, self.control, value)
        self.world.news.tell()
