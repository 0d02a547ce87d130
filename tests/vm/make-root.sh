#!/bin/sh
# Makes the root of a guest: make-root.sh RELEASE MIRROR PACKAGES FOLDER CACHE BINARY WHEELS
#
# `cargo xtask vm-test` runs it as root in mount and pid namespaces of its own, which take every mount away with them.
# PACKAGES are separated by commas; CACHE keeps downloaded packages; BINARY prepares the Python environment from WHEELS.
set -eu
release=$1 mirror=$2 packages=$3 folder=$4 cache=$5 binary=$6 wheels=$7
mkdir -p "$cache" "$folder"
debootstrap --variant=minbase --cache-dir="$cache" --include="$packages" "$release" "$folder" "$mirror"

# A user as an administrator makes one, whose service manager runs from the boot on.
chroot "$folder" useradd --create-home --shell /bin/bash --uid 1000 tester
mkdir -p "$folder/var/lib/systemd/linger"
touch "$folder/var/lib/systemd/linger/tester"

# The driver comes with the tests on the second disk. The guest powers off when it has ended, however it has ended.
mkdir -p "$folder/payload" "$folder/etc/systemd/system/multi-user.target.wants"
cat >"$folder/etc/systemd/system/vm-test.service" <<'END'
[Unit]
After=user@1000.service dbus.service systemd-user-sessions.service
RequiresMountsFor=/payload
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=exec
ExecStart=/usr/bin/python3 -B /payload/guest/driver.py
StandardOutput=journal+console
END
ln -s ../vm-test.service "$folder/etc/systemd/system/multi-user.target.wants/vm-test.service"
printf '/dev/vda / ext4 defaults 0 0\n/dev/vdb /payload ext4 defaults 0 0\n' >"$folder/etc/fstab"
echo vm-test >"$folder/etc/hostname"
echo '127.0.0.1 localhost vm-test' >"$folder/etc/hosts"
# Nobody logs in, and what runs by the clock would only disturb.
for unit in getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer dpkg-db-backup.timer systemd-timesyncd.service; do
    ln -sf /dev/null "$folder/etc/systemd/system/$unit"
done

# One Python environment for everybody: under emulation, making it takes many minutes. It records times of files, which
# an image keeps in whole seconds only.
find "$folder/usr/share/fonts" "$folder/usr/bin" -exec sh -c '
    for path; do touch --no-dereference --date="@$(stat --format=%Y "$path")" "$path"; done' sh {} +
cp "$binary" "$folder/usr/bin/aevatar-sandbox"
mkdir -p "$folder/wheels" "$folder/var/cache/python"
mount --bind "$wheels" "$folder/wheels"
mount -t proc proc "$folder/proc"
chroot "$folder" env -i PATH=/usr/sbin:/usr/bin HOME=/root PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels \
    AEVATAR_SANDBOX_CACHE=/var/cache/python aevatar-sandbox env prepare
umount "$folder/proc" "$folder/wheels"
chmod -R a+rX "$folder/var/cache/python"
rmdir "$folder/wheels"
# The one that is tested comes on the second disk.
rm "$folder/usr/bin/aevatar-sandbox"
rm -rf "$folder"/var/cache/apt/*.bin "$folder"/var/lib/apt/lists/*
