#!/usr/bin/env bash
# Makes the guest of the BlueZ bench: a kernel, and one initramfs with busybox, dbus-daemon,
# bluetoothd, the bridge to /dev/vhci and the modules that they need. Nothing is installed: the
# kernel's package is only unpacked.
#
#   image.sh FOLDER    FOLDER/vmlinuz and FOLDER/initrd.zst; what is there and current stays
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

# Debian's kernels have the Bluetooth drivers; those for clouds do not. 6.1, which Debian 12 boots, has
# a bug that ends the kernel when a peripheral has lost its bond.
kernel=$(apt-cache depends linux-image-6.12-amd64 | awk '/Depends:/ {print $2; exit}')
bluez=$(dpkg-query -W -f '${Version}' bluez)
made_of="$kernel bluez-$bluez $(cat "$here/image.sh" "$here"/guest/* | sha256sum | cut -c1-16)"
if [ -f initrd.zst ] && [ "$(cat made-of 2>/dev/null)" = "$made_of" ]; then exit 0; fi
rm -f made-of

if [ ! -d "$kernel" ]; then
    apt-get -qq -o APT::Sandbox::User=root download "$kernel" >/dev/null
    dpkg-deb -x "$kernel"_*.deb "$kernel.part"
    mv "$kernel.part" "$kernel"
    rm -f "$kernel"_*.deb
fi
version=$(ls "$kernel/lib/modules")
[ -f "$kernel/lib/modules/$version/modules.dep" ] || /sbin/depmod -b "$kernel" "$version"

rm -rf root
mkdir -p root/{bin,dev,proc,sys,run,tmp,modules,root,etc/dbus-1,etc/bluetooth,usr/bin,usr/libexec/bluetooth} \
    root/{var/lib/bluetooth,lib/x86_64-linux-gnu,lib64}
cp "$(command -v busybox)" root/bin/busybox
for applet in sh mount mkdir ifconfig insmod sleep cat ls rm kill dmesg poweroff; do
    ln -s busybox "root/bin/$applet"
done
cp /usr/bin/dbus-daemon root/usr/bin/
cp /usr/libexec/bluetooth/bluetoothd root/usr/libexec/bluetooth/
ldd /usr/bin/dbus-daemon /usr/libexec/bluetooth/bluetoothd | awk '/=> \// {print $3}' | sort -u |
    xargs -I{} cp -L {} root/lib/x86_64-linux-gnu/
cp -L /lib64/ld-linux-x86-64.so.2 root/lib64/
rustc --edition 2024 -O -C target-feature=+crt-static -C strip=symbols "$here/guest/bridge.rs" -o root/bin/bridge
cp "$here/guest/bus.conf" root/etc/dbus-1/
cp "$here/guest/main.conf" root/etc/bluetooth/
install -m 755 "$here/guest/init" root/init
echo 'root:x:0:0:root:/root:/bin/sh' >root/etc/passwd
echo 'root:x:0:' >root/etc/group
echo 0123456789abcdef0123456789abcdef >root/etc/machine-id

# Devices of the machine, what Bluetooth needs of the kernel's cryptography, a folder of the host, Bluetooth.
for module in virtio_pci virtio_net virtio_console virtio_rng drbg hmac sha256_generic sha512_generic cmac \
    ecb ccm algif_hash algif_skcipher ecdh_generic 9pnet_virtio 9p bluetooth hci_vhci uhid; do
    /sbin/modprobe -S "$version" -d "$PWD/$kernel" --show-depends "$module"
done | awk '/^insmod/ && !seen[$2]++ {print $2}' | while read -r file; do
    name=$(basename "${file%.xz}")
    case $file in *.xz) xz -dc "$file" ;; *) cat "$file" ;; esac >"root/modules/$name"
    strip --strip-debug "root/modules/$name"
    echo "$name" >>root/modules/order
done

(cd root && find . | cpio -o -H newc --quiet) | zstd -9 -q -T0 -f -o initrd.zst
cp "$kernel/boot/vmlinuz-$version" vmlinuz
rm -rf root
echo "$made_of" >made-of
