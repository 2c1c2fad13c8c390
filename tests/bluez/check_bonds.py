"""What a rule demands of the keys, and a belt that demands them itself."""

import asyncio
import json
import subprocess

from bench import Person, ble_device
from check_heart_rate import SECOND, assert_once_in_order, beats, belt
from checks import check
from peripherals import HeartRate

# BlueZ's settings-storage: a key of LE Secure Connections that a passkey authenticated, of 128 bits.
BEST = {"Authenticated": 3, "EncSize": 16}
NAME = "belt-2"


async def guarded(stage):
    """A belt whose values only an authenticated bond gets to see."""
    sensor = HeartRate(stage.world, "guarded belt", SECOND, "HRM-0002", guarded=True)
    return await sensor.switch_on()


async def pair_by_hand(stage, sensor, off_by=0):
    """A person reads the passkey on the device and types it; or types another one."""
    before = sensor.display.pairings

    async def read_passkey():
        await stage.world.news.until("a passkey is shown", lambda: sensor.display.pairings > before)
        return (sensor.display.passkey + off_by) % 1_000_000

    await asyncio.wait_for(Person(stage.guest, read_passkey).pair(sensor.address), 60)


async def pair(stage, daemon, sensor, *arguments, off_by=0):
    """Runs it, and types what the belt shows, or another number; its exit code and what it says."""
    before = sensor.display.pairings
    command = ["pair", NAME, "--config", daemon.folder, "--bluez-state", stage.guest.state, "--window", "40s"]
    running = await daemon.command(*command, "--passkey", "-", "--json", *arguments, stdin=subprocess.PIPE)

    async def person():
        await stage.world.news.until("a passkey is shown", lambda: sensor.display.pairings > before, 60)
        running.stdin.write(b"%06d\n" % ((sensor.display.passkey + off_by) % 1_000_000))

    typing = asyncio.create_task(person())
    said = await asyncio.wait_for(running.stdout.read(), 90)
    typing.cancel()
    code, text = await running.wait(), said.decode()
    # Remarks for a person come on standard error, which is the same pipe here.
    objects = [line for line in text.splitlines() if line.startswith("{")]
    assert objects, f"ended with {code} and no object: {text}"
    return code, json.loads(objects[-1])


@check("bonds", "a rule that demands a bond gets nothing from a belt without one, though it would give")
async def demanded(stage):
    sensor = await belt(stage)
    daemon = await stage.daemon(ble_device("belt-1", "heart-rate", sensor, "HRM-0001", security="bonded"))
    words = lambda status: "bond" in (status["devices"][0]["link_reason"] or "")  # noqa: E731
    await daemon.until("the reason is told", words)
    assert sensor.connections == 0
    assert not sensor.is_subscribed(sensor.measurement)
    await daemon.stop()
    assert stage.devices_at_broker() == set()


@check("bonds", "a belt that demands a bond and has none gives nothing, and keeps no other one waiting")
async def refused(stage):
    closed, open_one = await guarded(stage), await belt(stage)
    daemon = await stage.daemon(
        ble_device("belt-1", "heart-rate", open_one, "HRM-0001"),
        ble_device("belt-2", "heart-rate", closed, "HRM-0002"),
    )
    await beats(stage, open_one, "belt-1")
    await stage.world.news.until("it was tried", lambda: closed.connections > 0)
    await beats(stage, open_one, "belt-1")
    assert not closed.is_subscribed(closed.measurement)
    assert stage.guest.bond(SECOND) == {}
    await daemon.stop()
    assert_once_in_order(stage, "belt-1", open_one)
    assert stage.devices_at_broker() == {"belt-1"}


@check("bonds", "a wrong passkey makes no bond; the right one of another hand is not trusted; a proved one is read", "pair")
async def bonded(stage):
    sensor = await guarded(stage)
    try:
        await pair_by_hand(stage, sensor, off_by=1)
    except RuntimeError as error:
        assert "AuthenticationFailed" in str(error), error
    assert stage.guest.bond(SECOND) == {}, "a wrong passkey made a bond"
    await pair_by_hand(stage, sensor)
    assert stage.guest.bond(SECOND) == BEST, stage.guest.bond(SECOND)
    connections = sensor.connections
    daemon = await stage.daemon(ble_device(NAME, "heart-rate", sensor, "HRM-0002", security="bonded"))
    words = lambda status: "not trusted" in (status["devices"][0]["link_reason"] or "")  # noqa: E731
    status = await daemon.until("the reason is told", words)
    assert status["devices"][0]["bond_refused"] and sensor.connections == connections, status["devices"]
    code, said = await pair(stage, daemon, sensor, "--replace")
    assert (code, said["paired"], said["class"]) == (0, True, "A"), (code, said)
    for _ in range(2):
        await beats(stage, sensor, NAME)
        assert sensor.connection.is_encrypted and sensor.connection.authenticated
        await sensor.hang_up()
    await daemon.stop()
    assert_once_in_order(stage, NAME, sensor)


@check("bonds", "a belt that lost its bond gives nothing, and nobody pairs it again by itself", "pair")
async def lost(stage):
    sensor = await guarded(stage)
    daemon = await stage.daemon(ble_device(NAME, "heart-rate", sensor, "HRM-0002", security="bonded"))
    code, said = await pair(stage, daemon, sensor)
    assert (code, said["paired"]) == (0, True), (code, said)
    await beats(stage, sensor, NAME)
    await sensor.forget_bond()
    pairings, connections = sensor.display.pairings, sensor.connections
    await sensor.hang_up()
    await stage.world.news.until("it was tried again twice", lambda: sensor.connections >= connections + 2, 120)
    told = lambda status: status["devices"][0]["link"] == "down" and status["devices"][0]["link_reason"]  # noqa: E731
    await daemon.until("the reason is told", told)
    assert sensor.display.pairings == pairings, "it was paired again"
    assert not sensor.is_subscribed(sensor.measurement)
    await daemon.stop()
    assert_once_in_order(stage, NAME, sensor)
