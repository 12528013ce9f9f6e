#!/usr/bin/env bash
# latchkey mount of one kind of file system (ext4, ext2, xfs, btrfs, ntfs), plain and inside LUKS:
# reading leaves the image byte-identical, an unclean journal is not replayed and said so, writing
# gives a file system its own checker is content with, and nothing is left behind.
. "$(dirname "$0")/../support/lib.sh"
kind=$1
need cryptsetup flock
need_root
need_fuse
[ -e /dev/loop-control ] || skip "there are no loop devices here"

size=96M
case $kind in
  ext2 | ext4)
    need "mkfs.$kind" debugfs
    need_file_system ext4
    make() { "mkfs.$kind" -q -F "$1"; }
    check() { e2fsck -fn "$1" >/dev/null; }
    ;;
  xfs)
    need mkfs.xfs xfs_repair
    need_file_system xfs
    size=400M
    make() { mkfs.xfs -q -f "$1"; }
    check() { xfs_repair -n -f "$1" 2>/dev/null >/dev/null; }
    ;;
  btrfs)
    need mkfs.btrfs
    need_file_system btrfs
    size=200M
    make() { mkfs.btrfs -q -f "$1" >/dev/null; }
    check() { btrfs check --readonly "$1" >/dev/null 2>&1; }
    ;;
  ntfs)
    need mkntfs ntfs-3g ntfsfix
    make() { mkntfs -q -F -f "$1" >/dev/null 2>&1; }
    check() { ntfsfix --no-action "$1" >/dev/null; }
    ;;
  *) fail "unknown file system $kind" ;;
esac

dir=$work/dir
files=$work/files
mkdir "$dir" "$files"
key=(--key-file "$work/pass")
image=$work/image

closed() {
  image_closed "$image" || fail "the image is not closed"
  mounted "$dir" && fail "$dir is still mounted"
  [ -z "$(losetup -l -n -O BACK-FILE | grep latchkey || true)" ] || fail "a loop device is left"
}

write_and_check() {
  echo "-- written, unmounted, read back, checked"
  "$LATCHKEY" mount --read-write "$@" "$image" "$dir"
  head -c 5000000 /dev/urandom >"$work/random"
  mkdir "$dir/folder"
  cp "$work/random" "$dir/folder/file"
  for i in $(seq 200); do echo "$i" >"$dir/folder/$i"; done
  rm "$dir"/folder/1?
  "$LATCHKEY" umount "$dir"
  closed
  before=$(digest "$image")
  "$LATCHKEY" mount "$@" "$image" "$dir"
  cmp "$work/random" "$dir/folder/file"
  [ "$(ls "$dir/folder" | wc -l)" = 191 ] || fail "files are missing or too many"
  if touch "$dir/new" 2>/dev/null; then fail "a read-only mount took a write"; fi
  findmnt -n -o OPTIONS "$dir" | grep -q nosuid || fail "not mounted nosuid"
  findmnt -n -o OPTIONS "$dir" | grep -q nodev || fail "not mounted nodev"
  umount "$dir" # the plain one
  await no_servers || fail "the server outlives the file system"
  closed
  [ "$(digest "$image")" = "$before" ] || fail "a read-only mount changed the image"
  "$LATCHKEY" expose "$@" "$image" "$files"
  check "$files/disk" || fail "the checker is not content"
  "$LATCHKEY" umount "$files"
}

echo "== $kind, plain"
truncate -s "$size" "$image"
make "$image"
write_and_check

echo "== a file system in use stays mounted, also when its server gets SIGTERM"
"$LATCHKEY" mount "$image" "$dir"
exec 9<"$dir/folder/file"
expect 5 'in use' "$LATCHKEY" umount "$dir"
kill "$(the_server)"
cmp "$work/random" "$dir/folder/file"
exec 9<&-
kill "$(the_server)"
await no_servers || fail "SIGTERM did not end the idle server"
closed

echo "== not cleanly unmounted"
"$LATCHKEY" mount --read-write "$image" "$dir"
echo unclean >"$dir/unclean"
sync -f "$dir/unclean"
cp --sparse=always "$image" "$work/dirty"
"$LATCHKEY" umount "$dir"
before=$(digest "$work/dirty")
"$LATCHKEY" mount "$work/dirty" "$dir" 2>"$work/stderr"
case $kind in
  ext4 | xfs)
    grep -q 'not cleanly unmounted' "$work/stderr" || fail "no warning: $(cat "$work/stderr")"
    grep -q '^hint: ' "$work/stderr" || fail "no hint"
    ;;
esac
"$LATCHKEY" umount "$dir"
[ "$(digest "$work/dirty")" = "$before" ] || fail "the journal was replayed into the image"
"$LATCHKEY" mount --read-write "$work/dirty" "$dir" 2>/dev/null
[ "$(cat "$dir/unclean")" = unclean ] || fail "replaying lost a synced file"
"$LATCHKEY" umount "$dir"
"$LATCHKEY" expose "$work/dirty" "$files"
check "$files/disk" || fail "the checker is not content after the replay"
"$LATCHKEY" umount "$files"
rm "$work/dirty" "$image"

echo "== $kind inside LUKS2, made through expose"
make_luks "$image" "$((${size%M} + 16))M"
"$LATCHKEY" expose --read-write "${key[@]}" "$image" "$files"
make "$files/disk"
"$LATCHKEY" umount "$files"
write_and_check "${key[@]}"

[ -z "$(ls -A /run/latchkey)" ] || fail "records are left in /run/latchkey"
echo "ok"
