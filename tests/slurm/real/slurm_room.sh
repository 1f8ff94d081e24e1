#!/bin/sh
# Run in namespaces of its own: makes a room out of an installation, which stays as it is, and stays in it as its first
# process. When the other end of its standard input is gone, so is it, and with it every process and mount of the room.
set -e
installation=$1 name=$2 folder=$3
shift 3 # what is left: folders to be seen in the room under the paths they have outside, read-only

mount --make-rprivate /
room=$folder/room
mount -t tmpfs -o mode=755 tmpfs "$room"
mkdir "$room/upper" "$room/work" "$room/root"
mount -t overlay overlay -o "lowerdir=$installation,upperdir=$room/upper,workdir=$room/work" "$room/root"
cd "$room/root"

mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
for seen in "$@"; do
    mkdir -p ".$seen"
    mount --bind "$seen" ".$seen"
    mount -o remount,bind,ro ".$seen"
done
mkdir -p ".$folder" etc/slurm run/wattlease var/log/slurm
mount --bind "$folder" ".$folder"
mount --bind "$folder/etc" etc/slurm
mount --bind "$folder/run" run/wattlease
mount --bind "$folder/log" var/log/slurm

hostname "$name"
ip link set lo up
ip address add 127.0.0.2/8 dev lo # names are resolved only where there is an address beside 127.0.0.1
pivot_root . mnt
cd /
umount -l /mnt
exec /bin/bash -c 'echo ready; while read -r _; do :; done'
