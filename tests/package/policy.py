"""What the daemon's user may do at the system bus, asked of a real dbus-daemon with the packages' own policies.

    policy.py SOCKET UID CONTROL_UID BLUETOOTH_GID

A stand-in owns org.bluez and answers everything; what the bus lets through is then the policy's own doing. The
control is a user of the group bluetooth, who may do what the daemon may not.
"""

import asyncio
# Loaded on demand otherwise, when the user that the test has become may not read it any more.
import concurrent.futures.thread  # noqa: F401
import os
import sys

from dbus_fast import Message, MessageType, NameFlag
from dbus_fast.aio import MessageBus

ADAPTER, DEVICE = "/org/bluez/hci0", "/org/bluez/hci0/dev_F1_00_00_00_00_01"
CHARACTERISTIC = DEVICE + "/service0001/char0002"
B, F = "org.bluez.", "org.freedesktop.DBus."
ALLOWED = [
    ("/", F + "ObjectManager", "GetManagedObjects"),
    (DEVICE, F + "Introspectable", "Introspect"),
    (ADAPTER, F + "Properties", "Get"),
    (ADAPTER, F + "Properties", "GetAll"),
    (ADAPTER, F + "Properties", "Set"),
    (ADAPTER, B + "Adapter1", "SetDiscoveryFilter"),
    (ADAPTER, B + "Adapter1", "StartDiscovery"),
    (ADAPTER, B + "Adapter1", "StopDiscovery"),
    (DEVICE, B + "Device1", "Connect"),
    (DEVICE, B + "Device1", "Disconnect"),
    (CHARACTERISTIC, B + "GattCharacteristic1", "ReadValue"),
    (CHARACTERISTIC, B + "GattCharacteristic1", "WriteValue"),
    (CHARACTERISTIC, B + "GattCharacteristic1", "StartNotify"),
    (CHARACTERISTIC, B + "GattCharacteristic1", "StopNotify"),
    ("/org/bluez", B + "AgentManager1", "RegisterAgent"),
    ("/org/bluez", B + "AgentManager1", "RequestDefaultAgent"),
    ("/org/bluez", B + "AgentManager1", "UnregisterAgent"),
]
DENIED = [
    (DEVICE, B + "Device1", "Pair"),
    (DEVICE, B + "Device1", "CancelPairing"),
    (DEVICE, B + "Device1", "ConnectProfile"),
    (ADAPTER, B + "Adapter1", "RemoveDevice"),
    (CHARACTERISTIC, B + "GattCharacteristic1", "AcquireWrite"),
    (CHARACTERISTIC, B + "GattDescriptor1", "WriteValue"),
    (ADAPTER, B + "GattManager1", "RegisterApplication"),
    (ADAPTER, B + "LEAdvertisingManager1", "RegisterAdvertisement"),
    ("/org/bluez", B + "ProfileManager1", "RegisterProfile"),
]


async def connect(socket, on_call=None):
    bus = await MessageBus(bus_address=f"unix:path={socket}").connect()
    if on_call:
        bus.add_message_handler(on_call)
    return bus


def answer(message):
    if message.message_type == MessageType.METHOD_CALL:
        return Message.new_method_return(message)
    return None


async def may(bus, path, interface, member, destination="org.bluez"):
    """Whether the call reached the other side: the stand-in answers everything."""
    call = Message(destination=destination, path=path, interface=interface, member=member)
    reply = await asyncio.wait_for(bus.call(call), 20)
    if reply.message_type == MessageType.METHOD_RETURN:
        return True
    assert reply.error_name == F + "Error.AccessDenied", reply.error_name
    return False


async def owner(socket, to_child, from_child):
    """The stand-in for BlueZ, as root; asks the agent of whoever tells its name."""
    bus = await connect(socket, answer)
    reply = await bus.request_name("org.bluez", NameFlag.DO_NOT_QUEUE)
    assert reply.value == 1, reply
    os.write(to_child, b"ready\n")
    name = (await asyncio.to_thread(os.read, from_child, 100)).decode().strip()
    if not name:
        return
    reached = await may(bus, "/agent", B + "Agent1", "RequestConfirmation", name)
    os.write(to_child, b"answered\n" if reached else b"no answer\n")
    await asyncio.to_thread(os.read, from_child, 100)
    # The name is free again for the next stand-in.
    bus.disconnect()
    await bus.wait_for_disconnect()


async def user(socket, is_daemon, to_owner, from_owner):
    os.read(from_owner, 100)
    bus = await connect(socket, answer)
    wrong = []
    for call in ALLOWED:
        if not await may(bus, *call):
            wrong.append(f"refused: {call[1]}.{call[2]}")
    for call in DENIED:
        if await may(bus, *call) is is_daemon:
            wrong.append(f"{'let through' if is_daemon else 'refused to the control'}: {call[1]}.{call[2]}")
    if is_daemon:
        for name in ("org.wardline.Wardline", "org.bluez.Other"):
            own = Message(destination="org.freedesktop.DBus", path="/org/freedesktop/DBus",
                          interface="org.freedesktop.DBus", member="RequestName", signature="su", body=[name, 4])
            if (await bus.call(own)).message_type == MessageType.METHOD_RETURN:
                wrong.append(f"may own {name}")
    os.write(to_owner, bus.unique_name.encode() + b"\n")
    # The agent's answer to BlueZ is a message to org.bluez too.
    if await asyncio.to_thread(os.read, from_owner, 100) != b"answered\n":
        wrong.append("an answer of the agent does not reach BlueZ")
    os.write(to_owner, b"done\n")
    return wrong


def main(socket, uid, group, is_daemon):
    down, up = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([group])
        os.setuid(uid)
        wrong = asyncio.run(user(socket, is_daemon, up[1], down[0]))
        print("\n".join(wrong), end="\n" if wrong else "")
        sys.stdout.flush()
        os._exit(1 if wrong else 0)
    # A child that ends early ends what is waited for.
    os.close(down[0])
    os.close(up[1])
    try:
        asyncio.run(asyncio.wait_for(owner(socket, down[1], up[0]), 120))
    finally:
        os.close(down[1])
        status = os.waitpid(child, 0)[1]
    return status


if __name__ == "__main__":
    bus_socket, (daemon, control, bluetooth) = sys.argv[1], map(int, sys.argv[2:])
    if main(bus_socket, daemon, bluetooth, True) or main(bus_socket, control, bluetooth, False):
        sys.exit("policy: it is not as it should be")
    print(f"policy: {len(ALLOWED)} calls allowed, {len(DENIED)} refused to the daemon and allowed to the control, "
          "no name owned, the agent's answer arrives")
