#!/usr/bin/env bash
# Makes the guest of the systemd bench: Debian 12 for arm64 on one ext4 disk with systemd as process 1, its kernel,
# and an initramfs that only finds the disk. Nothing of it is installed on this machine.
#
#   image.sh FOLDER    FOLDER/vmlinuz, FOLDER/initrd.zst and FOLDER/disk.raw; what is there and current stays
#
# Needs root (a root file system of another architecture), mmdebstrap, qemu-user-static, cpio, zstd, kmod, e2fsprogs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

# swtpm and what systemd needs for a TPM: of use with `run --tpm` alone.
packages=systemd,systemd-sysv,udev,dbus,procps,kmod,iproute2,busybox-static,swtpm,libtss2-esys-3.0.2-0,libtss2-mu0,libtss2-rc0,libtss2-tcti-device0
made_of=$(cat "$here"/image.sh "$here"/inside/{init,agent,agent.service,network,tpm.service} | sha256sum | cut -c1-16)
if [ -f disk.raw ] && [ "$(cat made-of 2>/dev/null)" = "$made_of" ]; then exit 0; fi
rm -f made-of

# Programs of arm64 run as if they were native (the kernel's binfmt_misc; F: also in a root of their own).
at=/proc/sys/fs/binfmt_misc
mountpoint -q $at || mount -t binfmt_misc binfmt_misc $at
[ -e $at/qemu-aarch64 ] || printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F' >$at/register

# The root file system and, unpacked beside it, the kernel: as a package it would bring an initramfs of its own.
if [ "$(cat base-made-of 2>/dev/null)" != "$packages" ]; then
    rm -rf kernel base base.new
    mkdir kernel
    # shellcheck disable=SC2016
    mmdebstrap --quiet --mode=root --variant=minbase --architectures=arm64 \
        --include="$packages" \
        --customize-hook='cd "$1/tmp" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq -o APT::Sandbox::User=root download \
            "$(APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache depends linux-image-arm64 | awk "/Depends:/ {print \$2; exit}")"' \
        --customize-hook="mv \"\$1\"/tmp/linux-image-*.deb '$PWD/kernel/'" \
        bookworm base.new
    mv base.new base
    echo "$packages" >base-made-of
fi
if [ ! -d kernel/boot ]; then
    dpkg-deb -x kernel/linux-image-*.deb kernel
    rm kernel/linux-image-*.deb
fi
version=$(ls kernel/lib/modules)
[ -f "kernel/lib/modules/$version/modules.dep" ] || /sbin/depmod -b kernel "$version"

rm -rf root initramfs
cp -a base root

# modules NAME...: their files with all that they need, in the order of loading.
modules() {
    local module
    for module in "$@"; do
        /sbin/modprobe -S "$version" -d "$PWD/kernel" --show-depends "$module"
    done | awk '/^insmod/ && !seen[$2]++ {print $2}'
}

# The initramfs: busybox, what the disk needs, nothing else. systemd is started from the disk.
mkdir -p initramfs/{bin,dev,proc,sys,root,modules}
cp root/bin/busybox initramfs/bin/
for applet in sh mount insmod sleep switch_root; do ln -s busybox "initramfs/bin/$applet"; done
for file in $(modules virtio_pci virtio_blk ext4); do
    cp "$file" initramfs/modules/
    basename "$file" >>initramfs/modules/order
done
install -m 755 "$here/inside/init" initramfs/init
(cd initramfs && find . | cpio -o -H newc --quiet) | zstd -9 -q -f -o initrd.zst
cp "kernel/boot/vmlinuz-$version" vmlinuz

# The modules that udev loads by itself when it finds the machine's devices.
for file in $(modules virtio_net virtio_console virtio_rng xhci_pci usbserial ftdi_sio cdc_acm rtc-pl031 autofs4 efivarfs tpm_vtpm_proxy); do
    install -D -m 644 "$file" "root/${file#"$PWD/kernel/"}"
done
cp kernel/lib/modules/"$version"/modules.{order,builtin,builtin.modinfo} "root/lib/modules/$version/"
/sbin/depmod -b root "$version"

# The system: a name, a network of two machines, and somebody who does what the host says.
echo ward-gateway >root/etc/hostname
printf '127.0.0.1 localhost ward-gateway\n10.0.2.2 broker.test\n' >root/etc/hosts
: >root/etc/machine-id
echo '/dev/vda / ext4 defaults 0 1' >root/etc/fstab
install -m 644 "$here/inside/network" root/etc/systemd/network/10-bench.network
install -m 755 "$here/inside/agent" root/usr/local/sbin/bench-agent
install -m 644 "$here/inside/agent.service" root/etc/systemd/system/bench-agent.service
install -m 644 "$here/inside/tpm.service" root/etc/systemd/system/bench-tpm.service
chroot root systemctl enable systemd-networkd.service bench-agent.service 2>/dev/null
chroot root systemctl mask systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_reap.service e2scrub_all.timer fstrim.timer getty@tty1.service 2>/dev/null
# Kept, as on a gateway that somebody looks after; over every cut.
mkdir -p root/var/log/journal

rm -f disk.raw.new
mke2fs -q -t ext4 -d root disk.raw.new 1536M
mv disk.raw.new disk.raw
rm -rf root initramfs
echo "$made_of" >made-of
