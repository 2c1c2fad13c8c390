"""`wardline pair` and `wardline unpair`, with a belt that shows a passkey and gives nothing without a bond."""

import json

from bench import ble_device
from check_bonds import BEST, NAME, guarded, pair
from check_heart_rate import SECOND, assert_once_in_order, beats, belt
from checks import check

# Exit codes of README.md.
DONE, FAILED, REFUSED = 0, 1, 6


@check("pair", "beside the daemon: what the belt shows makes a bond of class A, and readings come", "pair")
async def paired(stage):
    sensor = await guarded(stage)
    daemon = await stage.daemon(ble_device(NAME, "heart-rate", sensor, "HRM-0002", security="bonded"))
    code, said = await pair(stage, daemon, sensor)
    assert (code, said.get("paired"), said.get("class"), said.get("method")) == (DONE, True, "A", "passkey"), (code, said)
    assert said["identity"]["serial"] == "HRM-0002", said
    assert stage.guest.bond(SECOND) == BEST, stage.guest.bond(SECOND)
    await beats(stage, sensor, NAME)
    assert sensor.connection.is_encrypted and sensor.connection.authenticated
    code, said = await pair(stage, daemon, sensor)
    assert (code, said["was_paired"]) == (DONE, True), (code, said)
    assert sensor.display.pairings == 1, "a bond that holds was made anew"
    await daemon.stop()
    assert sensor.writes == [], sensor.writes


@check("pair", "a wrong passkey, and a belt that says it is another one: refused, and no keys are left", "pair")
async def refused(stage):
    sensor = await guarded(stage)
    daemon = await stage.daemon(ble_device(NAME, "heart-rate", sensor, "HRM-0666", security="bonded"))
    await daemon.until("it runs", bool)
    await daemon.stop()
    code, said = await pair(stage, daemon, sensor, off_by=1)
    assert code in (FAILED, REFUSED) and said["paired"] is False, (code, said)
    await stage.guest.until_unbonded(SECOND)
    code, said = await pair(stage, daemon, sensor)
    assert (code, said["paired"]) == (REFUSED, False), (code, said)
    await stage.guest.until_unbonded(SECOND)


@check("pair", "a belt that was reset is paired again with --replace; unpair removes the keys", "pair")
async def replaced(stage):
    sensor, other = await guarded(stage), await belt(stage)
    daemon = await stage.daemon(ble_device(NAME, "heart-rate", sensor, "HRM-0002", security="bonded"))
    code, said = await pair(stage, daemon, sensor)
    assert code == DONE, (code, said)
    await beats(stage, sensor, NAME)
    await sensor.forget_bond()
    await sensor.hang_up()
    code, said = await pair(stage, daemon, sensor, "--replace")
    assert (code, said["paired"], said["class"]) == (DONE, True, "A"), (code, said)
    await beats(stage, sensor, NAME)
    await daemon.stop()
    unpair = await daemon.command("unpair", NAME, "--config", daemon.folder, "--yes", "--json")
    said, _ = await unpair.communicate()
    assert unpair.returncode == DONE and json.loads(said)["was_paired"], said
    await stage.guest.until_unbonded(SECOND)
    assert other.connections == 0, "an unlisted belt was connected to"
    assert_once_in_order(stage, NAME, sensor)
