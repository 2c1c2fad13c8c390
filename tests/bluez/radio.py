"""The air of the bench: a virtual controller for BlueZ, and what every peripheral has in common.

Bumble (PyPI) plays controllers, link layer, and the peripherals' host stacks. BlueZ's controller is
on the guest's /dev/vhci: HCI comes over the unix socket of QEMU's virtio-serial port. All of them
share one LocalLink, which is the air: no loss, no interference, no range.
"""

import asyncio
import struct

from bumble.controller import Controller
from bumble.core import AdvertisingData, PhysicalTransport
from bumble.device import Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Descriptor, Service
from bumble.hci import Address, LeFeatureMask
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink, StreamPacketSink, StreamPacketSource

Property = Characteristic.Properties
READABLE = Characteristic.READABLE
WRITEABLE = Characteristic.WRITEABLE
AUTHENTICATED_WRITE = Characteristic.WRITE_REQUIRES_AUTHENTICATION
AUTHENTICATED_READ = Characteristic.READ_REQUIRES_AUTHENTICATION

# Bluetooth Core, Vol 1, Part F: why a link ended.
TIMED_OUT, REMOTE_USER_ENDED = 0x08, 0x13


class News:
    """Wakes who waits for something to become so."""

    def __init__(self):
        self._event = asyncio.Event()

    def tell(self):
        """Something changed."""
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, what, condition, patience=30.0):
        """Returns once the condition holds; AssertionError, with its words, when it does not in time."""
        deadline = asyncio.get_running_loop().time() + patience
        while not condition():
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._event.wait(), left)
            except (asyncio.TimeoutError, TimeoutError):
                raise AssertionError(f"not within {patience:g} s: {what}") from None


class Air(LocalLink):
    """Bumble's LocalLink, with the sender of data named as the link knows it.

    Bumble 0.0.236 names the sender by its random address of the moment. BlueZ connects with its public
    address and takes a new random one for every active scan, so the receiver would not know the link.
    """

    def send_acl_data(self, sender_controller, destination_address, transport, data):
        if transport != PhysicalTransport.LE:
            super().send_acl_data(sender_controller, destination_address, transport, data)
            return
        connection = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if connection and receiver:
            loop = asyncio.get_running_loop()
            loop.call_soon(receiver.on_link_acl_data, connection.self_address, transport, data)


# Bumble 0.0.236 says that it can do LL Privacy and extended advertising, but answers with the events
# of neither: Linux would wait 20 s for each. Without these bits it uses the plain commands.
FEATURES = Controller.le_features & ~(
    LeFeatureMask.LL_PRIVACY
    | LeFeatureMask.LE_EXTENDED_ADVERTISING
    | LeFeatureMask.LE_PERIODIC_ADVERTISING
)


class Adapter(Controller):
    """BlueZ's controller. Ending a link takes some connection intervals, as it does on air."""

    le_features = FEATURES
    ENDS_IN = 0.1

    def on_le_disconnected(self, connection, reason):
        loop = asyncio.get_running_loop()
        loop.call_later(self.ENDS_IN, super().on_le_disconnected, connection, reason)


class World:
    """The air, BlueZ's controller in it, and the peripherals."""

    def __init__(self):
        self.air = Air()
        self.news = News()
        self.adapter = None
        self.peripherals = []
        self._hci = None

    async def plug_in(self, hci_socket):
        """Gives the guest its controller."""
        loop = asyncio.get_running_loop()
        transport, source = await loop.create_unix_connection(StreamPacketSource, hci_socket)
        self._hci = transport
        sink = StreamPacketSink(transport)
        # The guest makes its half when this end is connected, and speaks first.
        self.adapter = Adapter("bluez", source, sink, self.air, "C0:DE:00:00:00:01/P")
        self.adapter.le_features = FEATURES

    def pull_out(self):
        """Takes the controller away, and with it every link."""
        for peripheral in self.peripherals:
            for connection in list(peripheral.controller.le_connections.values()):
                peripheral.controller.on_le_disconnected(connection, TIMED_OUT)
        self.air.remove_controller(self.adapter)
        self.adapter = None
        self._hci.close()

    async def clear(self):
        """Switches everything off and forgets it."""
        for peripheral in self.peripherals:
            await peripheral.switch_off()
            self.air.remove_controller(peripheral.controller)
        self.peripherals.clear()


def device_information(maker, model, serial, firmware):
    """Service 0x180A, readable by anybody (Assigned Numbers: 2A29, 2A24, 2A25, 2A26)."""
    texts = {"2A29": maker, "2A24": model, "2A25": serial, "2A26": firmware}
    return Service(
        "180A",
        [Characteristic(uuid, Property.READ, READABLE, text.encode()) for uuid, text in texts.items()],
    )


class Peripheral:
    """A device: advertises while it is on and not connected, and keeps a log of what is done to it."""

    def __init__(self, world, name, address, pairing=None):
        self.world = world
        self.name = name
        self.address = address
        self.on = False
        self.connection = None
        # What was written to it; what was shown on it during each connection that it had.
        self.writes = []
        self.shown = []
        self.services_16 = []
        public = "A" + address[1:]
        controller = Controller(name, link=world.air, public_address=public)
        controller.le_features = FEATURES
        self.controller = controller
        config = DeviceConfiguration(name=name, address=Address(address), le_enabled=True)
        self.device = Device(config=config, host=Host(controller, AsyncPipeSink(controller)))
        self.device.on("connection", self._connected)
        if pairing:
            self.device.pairing_config_factory = lambda connection: pairing
        world.peripherals.append(self)

    @property
    def connections(self):
        """How often somebody connected."""
        return len(self.shown)

    def add(self, service, advertised=True):
        """Adds a service."""
        for characteristic in service.characteristics:
            characteristic.on("subscription", lambda *_: self.world.news.tell())
        self.device.add_service(service)
        if advertised:
            self.services_16.append(int.from_bytes(service.uuid.uuid_bytes[:2], "little"))

    def writable(self, uuid, permissions=WRITEABLE, then=None):
        """A characteristic that can be written; what is written is logged, then `then` decides."""

        def write(connection, value):
            self.writes.append((uuid, bytes(value)))
            self.world.news.tell()
            if then:
                then(connection, bytes(value))

        return Characteristic(uuid, Property.WRITE, permissions, CharacteristicValue(write=write))

    def guarded_configuration(self, characteristic):
        """Adds a client configuration that only an authenticated link may write (0x2902)."""
        value = self.device.gatt_server.make_descriptor_value(characteristic)
        permissions = READABLE | WRITEABLE | AUTHENTICATED_WRITE
        characteristic.descriptors = (*characteristic.descriptors, Descriptor("2902", permissions, value))

    async def switch_on(self):
        """Starts to advertise."""
        if not self.device.powered_on:
            await self.device.power_on()
        self.on = True
        await self._advertise()
        return self

    async def switch_off(self):
        """Goes off as with an empty battery: the link, if there is one, times out."""
        self.on = False
        self.lose_link()
        if self.device.is_advertising:
            await self.device.stop_advertising()

    def lose_link(self):
        """Ends the link on both sides as if nothing more came through."""
        here, there = self.controller, self.world.adapter
        for connection in list(here.le_connections.values()):
            here.on_le_disconnected(connection, TIMED_OUT)
        for address, connection in list(there.le_connections.items() if there else ()):
            if address == here.random_address:
                there.on_le_disconnected(connection, TIMED_OUT)

    async def hang_up(self):
        """Ends the link in good form."""
        if self.connection:
            await self.connection.disconnect(REMOTE_USER_ENDED)

    def is_subscribed(self, characteristic):
        """Whether the connected client wants its values."""
        wanted = self.device.gatt_server.subscribers.get(self.connection, {})
        return any(wanted.get(characteristic.handle, b""))

    async def subscribed(self, characteristic, patience=60.0):
        """Waits until a client wants its values."""
        what = f"{self.name} is subscribed to"
        await self.world.news.until(what, lambda: self.is_subscribed(characteristic), patience)

    async def _advertise(self):
        uuids = b"".join(struct.pack("<H", uuid) for uuid in self.services_16)
        data = AdvertisingData(
            [
                (AdvertisingData.FLAGS, bytes([0x06])),
                (AdvertisingData.COMPLETE_LOCAL_NAME, self.name.encode()),
                (AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, uuids),
            ]
        )
        await self.device.start_advertising(
            advertising_data=bytes(data), advertising_interval_min=200, advertising_interval_max=200
        )

    def _connected(self, connection):
        self.connection = connection
        self.shown.append([])
        for event in ("connection_encryption_change", "pairing", "pairing_failure"):
            connection.on(event, lambda *_: self.world.news.tell())
        connection.on("disconnection", self._disconnected)
        self.world.news.tell()

    def _disconnected(self, _reason):
        self.connection = None
        self.world.news.tell()
        if self.on:
            asyncio.get_running_loop().create_task(self._advertise())
