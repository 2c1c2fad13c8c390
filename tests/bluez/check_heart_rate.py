"""A heart-rate sensor: notifications, through everything that a radio does."""

import contextlib

from bench import ble_device
from checks import check
from peripherals import MAKER, HeartRate

# MDC_ECG_HEART_RATE, MDC_ECG_TIME_PD_RR_GL, MDC_HF_ENERGY of ISO/IEEE 11073-10101.
RATE, INTERVAL, ENERGY = 147842, 147240, 8454263
BELT, SECOND, STRANGER = "F1:00:00:00:00:01", "F1:00:00:00:00:02", "F1:00:00:00:00:03"

# A belt sends about once a second; more often here, to see how long nobody listened: at most 5 s.
EVERY, MOST_EARLY = 0.1, 50


async def belt(stage, address=BELT, serial="HRM-0001"):
    """A belt that is on."""
    return await HeartRate(stage.world, f"belt {serial}", address, serial).switch_on()


async def beats(stage, sensor, name, count=20):
    """Shows rates, none of them twice, until so many are at the broker that came in over this connection.

    When a device comes back, BlueZ subscribes again by itself, before the daemon has asked for anything.
    What a belt sends in between is nobody's: it is counted and shown, and must be little.
    """
    await sensor.subscribed(sensor.measurement)
    shown = sensor.shown[-1]
    before = len(stage.values(name, RATE))
    while len(stage.values(name, RATE)) == before:
        assert len(shown) < MOST_EARLY, f"the daemon does not listen to {sensor.name}"
        await sensor.beat(50 + sum(map(len, sensor.shown)))
        with contextlib.suppress(AssertionError):
            await stage.arrived(name, RATE, before + 1, patience=EVERY)
    for _ in range(count):
        await sensor.beat(50 + sum(map(len, sensor.shown)))
    await stage.broker.news.until(f"{shown[-1]} of {sensor.name}", lambda: shown[-1] in stage.values(name, RATE))


def assert_once_in_order(stage, name, sensor):
    """Everything of the first connection; of each later one everything from some early value on."""
    values, early = stage.values(name, RATE), []
    expected = []
    for shown in sensor.shown:
        arrived = [rate for rate in shown if rate in set(values)]
        expected += shown[len(shown) - len(arrived) :]
        early.append(len(shown) - len(arrived))
    assert values == expected, f"{values} for {sensor.shown}"
    assert not early or early[0] == 0, f"{early[0]} values of the first connection are missing"
    if any(early):
        stage.notes.append(f"shown before the daemon listened again, one every {EVERY} s: {early[1:]}")


@check("heart-rate", "what a listed belt shows is at the broker, once and in order, and who it is at the daemon")
async def values(stage):
    sensor = await belt(stage)
    daemon = await stage.daemon(ble_device("belt-1", "heart-rate", sensor, "HRM-0001"))
    await sensor.subscribed(sensor.measurement)
    intervals, energies = [], []
    for number in range(60):
        # A rate in two octets, energy and RR intervals each come and go as on a real belt.
        ticks = [1024 + number, 512] if number % 3 else []
        energy = 10 * number if number % 10 == 0 else None
        await sensor.beat(50 + number if number % 7 else 256 + number, energy, ticks)
        intervals += [tick * 1000 / 1024 for tick in ticks]
        energies += [] if energy is None else [energy]
    for code, count in ((RATE, 60), (INTERVAL, len(intervals)), (ENERGY, len(energies))):
        await stage.arrived("belt-1", code, count)
    identified = lambda status: status["devices"][0]["identified"]  # noqa: E731
    device = (await daemon.until("it has said who it is", identified))["devices"][0]
    await daemon.stop()
    assert_once_in_order(stage, "belt-1", sensor)
    assert stage.values("belt-1", INTERVAL) == intervals
    assert stage.values("belt-1", ENERGY) == energies
    stated = {"maker": MAKER, "model": "Belt 1", "serial": "HRM-0001", "firmware": "1.4.2"}
    assert device["stated"] == stated, device["stated"]
    assert sensor.writes == [], f"written to the belt: {sensor.writes}"


@check("heart-rate", "two belts at once, each its own; an unlisted one is heard and never connected to")
async def stranger(stage):
    first, second = await belt(stage), await belt(stage, SECOND, "HRM-0002")
    unlisted = await belt(stage, STRANGER, "HRM-9999")
    daemon = await stage.daemon(
        ble_device("belt-1", "heart-rate", first, "HRM-0001"),
        ble_device("belt-2", "heart-rate", second, "HRM-0002"),
    )
    await first.subscribed(first.measurement)
    await second.subscribed(second.measurement)
    for number in range(30):
        await first.beat(60 + number)
        await second.beat(120 + number)
    await stage.arrived("belt-1", RATE, 30)
    await stage.arrived("belt-2", RATE, 30)
    heard = lambda status: STRANGER in [seen["address"] for seen in status["unlisted"]]  # noqa: E731
    await daemon.until("the stranger was heard", heard)
    await daemon.stop()
    assert_once_in_order(stage, "belt-1", first)
    assert_once_in_order(stage, "belt-2", second)
    assert unlisted.connections == 0, "the stranger was connected to"
    assert stage.devices_at_broker() == {"belt-1", "belt-2"}


@check("heart-rate", "a belt that hangs up goes on when it is back, three times")
async def hang_up(stage):
    sensor = await belt(stage)
    daemon = await stage.daemon(ble_device("belt-1", "heart-rate", sensor, "HRM-0001"))
    for _ in range(4):
        await beats(stage, sensor, "belt-1")
        await sensor.hang_up()
    await daemon.stop()
    assert_once_in_order(stage, "belt-1", sensor)
    assert sensor.connections >= 4


@check("heart-rate", "a belt that goes out of range, and one that is off for a while, go on")
async def out_of_range(stage):
    sensor = await belt(stage)
    daemon = await stage.daemon(ble_device("belt-1", "heart-rate", sensor, "HRM-0001"))
    await beats(stage, sensor, "belt-1")
    sensor.lose_link()
    await stage.world.news.until("the link is lost", lambda: sensor.connection is None)
    await beats(stage, sensor, "belt-1")
    await sensor.switch_off()
    await daemon.until("the daemon sees that it is off", lambda status: status["devices"][0]["link"] == "down")
    await sensor.switch_on()
    await beats(stage, sensor, "belt-1")
    await daemon.stop()
    assert_once_in_order(stage, "belt-1", sensor)


@check("heart-rate", "bluetoothd is killed and started again: the belt goes on")
async def bluetoothd(stage):
    sensor = await belt(stage)
    daemon = await stage.daemon(ble_device("belt-1", "heart-rate", sensor, "HRM-0001"))
    await beats(stage, sensor, "belt-1")
    await stage.guest.kill_bluetoothd()
    told = lambda status: "org.bluez" in (status["devices"][0]["link_reason"] or "")  # noqa: E731
    await daemon.until("the reason is told", told)
    await stage.world.news.until("the belt is free again", lambda: sensor.connection is None)
    await stage.guest.start_bluetoothd()
    await beats(stage, sensor, "belt-1")
    await daemon.stop()
    assert_once_in_order(stage, "belt-1", sensor)


@check("heart-rate", "the adapter is pulled out and plugged in again: the belt goes on")
async def adapter(stage):
    sensor = await belt(stage)
    daemon = await stage.daemon(ble_device("belt-1", "heart-rate", sensor, "HRM-0001"))
    await beats(stage, sensor, "belt-1")
    stage.world.pull_out()
    await daemon.until("the link is down", lambda status: status["devices"][0]["link"] == "down")
    await stage.world.plug_in(stage.guest.hci)
    await beats(stage, sensor, "belt-1")
    await daemon.stop()
    assert_once_in_order(stage, "belt-1", sensor)


@check("heart-rate", "a belt that says it is another one is refused: nothing of it is at the broker")
async def another(stage):
    sensor = await belt(stage, serial="HRM-0666")
    daemon = await stage.daemon(ble_device("belt-1", "heart-rate", sensor, "HRM-0001"))
    await sensor.subscribed(sensor.measurement)
    for rate in range(60, 80):
        await sensor.beat(rate)
    refused = lambda device: device["quarantine"] and sum(device["refused"].values()) >= 20  # noqa: E731
    await daemon.until("every value is refused", lambda status: refused(status["devices"][0]))
    await daemon.stop()
    assert stage.values("belt-1", RATE) == []
