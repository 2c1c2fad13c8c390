"""A client of a peripheral over BlueZ's own D-Bus interface, without the daemon: shows that an emulated
device answers as it should before anything is said of a program that reads it."""

import asyncio

import bench

CHARACTERISTIC = "org.bluez.GattCharacteristic1"


class Client:
    """Connected to one peripheral; its characteristics by their short UUIDs."""

    def __init__(self, stage, peripheral):
        self.guest = stage.guest
        self.news = stage.world.news
        self.peripheral = peripheral
        self.path = bench.device_path(peripheral.address)
        self.paths = {}
        # Values that came by themselves, by characteristic.
        self.values = {}

    async def connect(self):
        """Finds it, connects, learns its characteristics."""
        await self.guest.discover(self.peripheral.address)
        await self.guest.call(self.path, "org.bluez.Device1", "Connect")
        while not await self.guest.get(self.path, "Device1", "ServicesResolved"):
            await asyncio.sleep(0.1)
        objects = await self.guest.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        for path, interfaces in objects.items():
            if path.startswith(self.path) and CHARACTERISTIC in interfaces:
                self.paths[interfaces[CHARACTERISTIC]["UUID"].value[4:8].upper()] = path
        return self

    async def subscribe(self, *uuids):
        """Subscribes to these; what comes is in `values`."""
        by_path = {self.paths[uuid]: uuid for uuid in uuids}

        def handle(message):
            if message.member == "PropertiesChanged" and message.path in by_path:
                value = message.body[1].get("Value")
                if value:
                    self.values.setdefault(by_path[message.path], []).append(bytes(value.value))
                    self.news.tell()

        rule = f"type='signal',sender='org.bluez',path_namespace='{self.path}'"
        await self.guest.call_bus("AddMatch", "s", rule)
        self.guest.bus.add_message_handler(handle)
        for path in by_path:
            await self.guest.call(path, CHARACTERISTIC, "StartNotify")

    async def write(self, uuid, value):
        """Writes, with a response."""
        await self.guest.call(self.paths[uuid], CHARACTERISTIC, "WriteValue", "aya{sv}", value, {})

    async def ask(self, uuid, request):
        """Writes a request to a control point and gives the answer that it indicates."""
        before = len(self.values.get(uuid, []))
        await self.write(uuid, request)
        answered = lambda: len(self.values.get(uuid, [])) > before  # noqa: E731
        await self.news.until(f"an answer to {request.hex()}", answered)
        return self.values[uuid][-1]

    async def close(self):
        await self.guest.call(self.path, "org.bluez.Device1", "Disconnect")
