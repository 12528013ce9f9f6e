#!/usr/bin/env bash
# Which file system latchkey mount takes when none, one or several could be meant, and what it says
# when it cannot.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup sfdisk mkfs.ext4 mkswap
need_root
need_fuse
need_file_system ext4
[ -e /dev/loop-control ] || skip "there are no loop devices here"

dir=$work/dir
mkdir "$dir"
key=(--key-file "$work/pass")
esp=C12A7328-F81F-11D2-BA4B-00A0C93EC93B

ext4_named() {
  truncate -s 16M "$work/part"
  mkfs.ext4 -q -F -L "$1" "$work/part"
}
# put NUMBER: the file part becomes that 20 MiB partition.
put() { dd if="$work/part" of="$work/disk" bs=1M seek=$(($1 * 20 - 19)) conv=notrunc status=none; }
new_disk() {
  rm -f "$work/disk"
  truncate -s 82M "$work/disk"
  printf 'label: gpt\nstart=2048,size=40960,type=%s\nsize=40960\nsize=40960\n' $esp |
    sfdisk -q "$work/disk"
}
label() { findmnt -n -o LABEL "$dir" || blkid -s LABEL -o value "$(findmnt -n -o SOURCE "$dir")"; }

echo "== the only file system beside an EFI system partition"
new_disk
ext4_named EFI && put 1
ext4_named ROOT && put 2
"$LATCHKEY" mount "$work/disk" "$dir"
[ "$(label)" = ROOT ] || fail "mounted $(label)"
"$LATCHKEY" umount "$dir"

echo "== several: they are listed, and --partition decides"
ext4_named DATA && put 3
expect 2 "several.*p2 (ext4 'ROOT').*p3 (ext4 'DATA')" "$LATCHKEY" mount "$work/disk" "$dir"
grep -q '^hint: .*--partition' "$work/stderr" || fail "no hint"
"$LATCHKEY" mount --partition 3 "$work/disk" "$dir"
[ "$(label)" = DATA ] || fail "mounted $(label)"
"$LATCHKEY" umount "$dir"
"$LATCHKEY" mount --partition 1 "$work/disk" "$dir"
[ "$(label)" = EFI ] || fail "mounted $(label)"
"$LATCHKEY" umount "$dir"
expect 2 'no partition 9' "$LATCHKEY" mount --partition 9 "$work/disk" "$dir"

echo "== an unlocked volume goes before what lies in the clear"
make_luks "$work/part" 19M
mkdir "$work/files"
"$LATCHKEY" expose --read-write "${key[@]}" "$work/part" "$work/files"
mkfs.ext4 -q -F -L SECRET "$work/files/disk"
"$LATCHKEY" umount "$work/files"
put 3
"$LATCHKEY" mount "${key[@]}" "$work/disk" "$dir"
[ "$(label)" = SECRET ] || fail "mounted $(label)"
"$LATCHKEY" umount "$dir"

echo "== nothing to mount"
truncate -s 16M "$work/empty"
expect 4 'no file system' "$LATCHKEY" mount "$work/empty" "$dir"
mkswap -q "$work/empty" 2>/dev/null
expect 4 'swap' "$LATCHKEY" mount "$work/empty" "$dir"
expect 3 '' "$LATCHKEY" mount "$work/part" "$dir"

echo "== a file system its driver refuses"
ext4_named BROKEN
dd if=/dev/zero of="$work/part" bs=1024 seek=2 count=200 conv=notrunc status=none
expect 4 'refuses' "$LATCHKEY" mount "$work/part" "$dir"
mounted "$dir" && fail "something is mounted after all"
await no_servers || fail "the server stays"
[ -z "$(ls -A /run/latchkey)" ] || fail "records are left in /run/latchkey"
echo "ok"
