"""A glucose meter: stored records over the Record Access Control Point, copied and never deleted."""

import contextlib
from datetime import datetime, timedelta

from bench import ble_device
from checks import check
from peripherals import ABORT, COUNT, FROM, REPORT, GlucoseMeter

PROFILE = "glucose"
ADDRESS, SERIAL = "F4:00:00:00:00:01", "GLY-0001"
# ISO/IEEE 11073-10101: MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD.
GLUCOSE = 160184
FIRST, STORED = 101, 40
BEGAN = datetime(2026, 3, 1, 6, 0)
# What may be written to a meter at all.
ALLOWED = {REPORT, ABORT, COUNT}


def stored(first, count):
    """Records by sequence number: when, and mg/dL, none of them twice."""
    return {number: (BEGAN + timedelta(minutes=number), number) for number in range(first, first + count)}


async def meter(stage, count=STORED):
    device = GlucoseMeter(stage.world, "glucose meter", ADDRESS, SERIAL, stored(FIRST, count))
    await device.switch_on()
    daemon = await stage.daemon(ble_device("glucose-1", PROFILE, device, SERIAL))
    return device, daemon


def milligrams(stage):
    """What is at the broker, as whole milligrams in a decilitre."""
    readings = stage.broker.of(stage.gateway, "glucose-1", GLUCOSE)
    factors = {"mg/dL": 1, "kg/L": 100_000, "g/L": 100, None: 1}
    return [round(reading.value * factors[reading.unit]) for reading in readings]


async def all_there(stage, device, count):
    """Every record that is stored is at the broker, once, and nothing was asked that may not be."""
    have = lambda: set(device.records) <= set(milligrams(stage))  # noqa: E731
    try:
        await stage.broker.news.until("every record is at the broker", have, 90)
    except AssertionError as error:
        missing = sorted(set(device.records) - set(milligrams(stage)))
        asked = [request.hex() for request in device.requests]
        raise AssertionError(f"{error}: {missing} are missing; the meter was asked {asked}") from None
    assert sorted(milligrams(stage)) == sorted(device.records), f"twice or foreign: {milligrams(stage)}"
    assert len(device.records) == count, "records were deleted"
    forbidden = [request.hex() for request in device.requests if request[0] not in ALLOWED]
    assert not forbidden, f"asked for {forbidden}"
    uuids = {uuid for uuid, _ in device.writes}
    assert uuids == {"2A52"}, f"written to {uuids}"


def assert_asked_for_new(device, asked):
    """Of what was asked since, the first report is of the end of what is known, not of everything: at most
    two known records again, by which a meter that was reset is found out."""
    reports = [request.hex() for request in device.requests[asked:] if request[0] == REPORT]
    numbers = range(FIRST + STORED - 2, FIRST + STORED + 1)
    # Filter 1: by sequence number.
    new = [(bytes([REPORT, FROM, 0x01]) + number.to_bytes(2, "little")).hex() for number in numbers]
    assert reports and reports[0] in new, f"asked {reports}, first of all not one of {new}"


@check("glucose", f"{STORED} stored records are at the broker, once and in order, and stay on the meter", PROFILE)
async def everything(stage):
    device, daemon = await meter(stage)
    await all_there(stage, device, STORED)
    assert milligrams(stage) == sorted(device.records)
    stage.notes.append(f"asked: {[request.hex() for request in device.requests]}")
    await daemon.stop()


@check("glucose", "the link is lost in the middle of a transfer: the rest comes over the next one", PROFILE)
async def cut(stage):
    device = GlucoseMeter(stage.world, "glucose meter", ADDRESS, SERIAL, stored(FIRST, STORED))
    device.cut_after = 17
    await device.switch_on()
    daemon = await stage.daemon(ble_device("glucose-1", PROFILE, device, SERIAL))
    await all_there(stage, device, STORED)
    assert device.connections >= 2 and device.cut_after is None, "it was not cut off"
    stage.notes.append(f"asked: {[request.hex() for request in device.requests]}")
    await daemon.stop()


@check("glucose", "a meter that comes back is asked only for what is new, and that arrives", PROFILE)
async def newer(stage):
    device, daemon = await meter(stage)
    await all_there(stage, device, STORED)
    asked = len(device.requests)
    device.records.update(stored(FIRST + STORED, 2))
    await device.switch_off()
    await daemon.until("the daemon sees that it is off", lambda status: status["devices"][0]["link"] == "down")
    await device.switch_on()
    await all_there(stage, device, STORED + 2)
    assert_asked_for_new(device, asked)
    await daemon.stop()


@check("glucose", "a daemon that was stopped and started knows what it has", PROFILE)
async def restarted(stage):
    device, daemon = await meter(stage)
    await all_there(stage, device, STORED)
    await daemon.stop()
    asked = len(device.requests)
    device.records.update(stored(FIRST + STORED, 2))
    await stage.start(daemon)
    await all_there(stage, device, STORED + 2)
    assert_asked_for_new(device, asked)
    await daemon.stop()


@check("glucose", "a meter without a record is no mistake, and its first record arrives", PROFILE)
async def empty(stage):
    device, daemon = await meter(stage, count=0)
    await stage.world.news.until("it is asked", lambda: device.requests, 60)
    device.records.update(stored(FIRST, 1))
    await device.switch_off()
    with contextlib.suppress(AssertionError):
        # A meter that is asked only now and then may be off in between without anybody's notice.
        down = lambda status: status["devices"][0]["link"] == "down"  # noqa: E731
        await daemon.until("the daemon sees that it is off", down, 20)
    await device.switch_on()
    await all_there(stage, device, 1)
    await daemon.stop()
