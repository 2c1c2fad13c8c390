"""A thermometer: measurements that are indicated, each confirmed by BlueZ itself. What the thermometer sees
confirmed it may forget, so all of that must be at the broker."""

from datetime import datetime, timedelta

from bench import ble_device
from checks import check
from peripherals import Thermometer

PROFILE = "health-thermometer"
ADDRESS, SERIAL = "F2:00:00:00:00:01", "THM-0001"
# ISO/IEEE 11073-10101: MDC_TEMP and those of a place (ear, finger, mouth and so on), whichever is filed.
TEMPERATURES = (150344, 150352, 150356, 150360, 150364, 150368, 150372, 150376, 150388, 188420, 188424, 188428,
                188432, 188440, 188448, 188452, 188496)  # fmt: skip
AT = datetime(2026, 3, 1, 7, 30)


def temperatures(stage):
    """What is at the broker, in the device's order."""
    found = [r for r in stage.broker.readings if r.gateway == stage.gateway and r.code in TEMPERATURES]
    return [str(r.value) for r in sorted(found, key=lambda reading: (reading.run, reading.seq))]


async def thermometer(stage):
    sensor = await Thermometer(stage.world, "thermometer", ADDRESS, SERIAL).switch_on()
    daemon = await stage.daemon(ble_device("thermo-1", PROFILE, sensor, SERIAL))
    return sensor, daemon


async def all_there(stage, sensor):
    """Everything that was confirmed is at the broker, once and in order; the last word of the check."""
    confirmed = [value for shown in sensor.shown for value in shown]
    have = lambda: len(temperatures(stage)) >= len(confirmed)  # noqa: E731
    try:
        await stage.broker.news.until("everything that was confirmed is at the broker", have)
    except AssertionError as error:
        raise AssertionError(f"{error}: confirmed {confirmed}, there is {temperatures(stage)}") from None
    assert temperatures(stage) == confirmed, f"{temperatures(stage)} for {confirmed}"


@check("thermometer", "what it indicates is at the broker, once and in order", PROFILE)
async def values(stage):
    sensor, daemon = await thermometer(stage)
    await sensor.subscribed(sensor.measurement)
    for number in range(20):
        await sensor.measure(355 + number, AT + timedelta(minutes=number))
    await all_there(stage, sensor)
    await daemon.stop()


@check("thermometer", "what it indicates the moment that it is back is at the broker too, three times", PROFILE)
async def back(stage):
    sensor, daemon = await thermometer(stage)
    for number in range(4):
        # The moment at which BlueZ subscribes, be the daemon ready or not: what follows is confirmed.
        await sensor.subscribed(sensor.measurement)
        await sensor.measure(360 + number, AT + timedelta(hours=number))
        await all_there(stage, sensor)
        await sensor.switch_off()
        await daemon.until("the daemon sees that it is off", lambda status: status["devices"][0]["link"] == "down")
        await sensor.switch_on()
    await daemon.stop()
