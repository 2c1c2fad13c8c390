"""The emulated devices themselves, read by nothing but BlueZ: what is said of the daemon rests on them."""

from datetime import datetime

from check_glucose import ADDRESS, FIRST, SERIAL, STORED, stored
from checks import check
from client import Client
from peripherals import GlucoseMeter, Thermometer


@check("emulated", "the glucose meter counts, reports, aborts, deletes and refuses as its profile says")
async def meter(stage):
    device = GlucoseMeter(stage.world, "glucose meter", ADDRESS, SERIAL, stored(FIRST, STORED))
    await device.switch_on()
    client = await Client(stage, device).connect()
    try:
        await client.ask("2A52", bytes.fromhex("0401"))
        raise AssertionError("it answers although nobody has subscribed")
    except RuntimeError as error:
        # Client characteristic configuration improperly configured.
        assert "0xfd" in str(error).lower(), error
    await client.subscribe("2A18", "2A52")
    for request, answer in [
        ("0401", "05002800"),  # count all: 40
        ("0403016e00", "05001f00"),  # count from 110: 31
        ("0100", "06000103"),  # report without operator
        ("0109", "06000104"),  # report with an operator that there is not
        ("0102016400", "06000106"),  # report up to 100: no records
        ("010302e90703010000", "06000109"),  # report by time: not supported
        ("0106ff", "06000105"),  # report the last, with an operand
        ("0900", "06000902"),  # an operation that there is not
        ("0300", "06000307"),  # nothing to abort
        ("0106", "06000101"),  # report the last
        ("02040165006600", "06000201"),  # delete from 101 to 102
        ("0401", "05002600"),  # count all: 38
    ]:
        got = await client.ask("2A52", bytes.fromhex(request))
        assert got.hex() == answer, f"{request}: {got.hex()}, not {answer}"
    # Capillary whole blood (1) from a finger (1), record 140, 140 x 10^-5 kg/L, taken at 08:20.
    assert [value.hex() for value in client.values["2A18"]] == ["028c00ea0703010814008cb011"], client.values
    before = len(client.values["2A52"])
    await client.write("2A52", b"\1\1")
    assert (await client.ask("2A52", b"\3\0")).hex() == "06000301", "it does not abort"
    assert len(client.values["2A52"]) == before + 1, "an answer to what was aborted"
    assert len(client.values["2A18"]) < STORED, "it was not aborted"
    await client.close()


@check("emulated", "the thermometer indicates, and waits for each confirmation")
async def thermometer(stage):
    sensor = await Thermometer(stage.world, "thermometer", "F2:00:00:00:00:01", "THM-0001").switch_on()
    client = await Client(stage, sensor).connect()
    await client.subscribe("2A1C")
    for number in range(5):
        await sensor.measure(365 + number, datetime(2026, 3, 1, 7, number))
    values = lambda: [value.hex() for value in client.values.get("2A1C", [])]  # noqa: E731
    await client.news.until("five measurements", lambda: len(values()) == 5)
    # Celsius with time and type; 36.5 to 36.9; 2026-03-01 07:00:00 and later; mouth.
    assert values() == [f"06{0x6D + n:02x}0100ffea070301070{n}0006" for n in range(5)], values()
    await client.close()
