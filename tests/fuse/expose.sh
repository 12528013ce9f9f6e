#!/usr/bin/env bash
# latchkey expose and umount: the files, every way it can end, and every way a mount point is wrong.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup sfdisk flock python3
need_fuse

dir=$work/dir
mkdir "$dir"
key=(--key-file "$work/pass")

echo "== a LUKS volume, written and read back"
make_luks "$work/luks.img" 24M
"$LATCHKEY" expose --read-write "${key[@]}" "$work/luks.img" "$dir"
[ "$(stat -c %a "$dir/disk")" = 600 ] || fail "disk is not 0600"
[ "$(stat -c %a "$dir")" = 500 ] || fail "the directory is not 0500"
head -c 3000000 /dev/urandom >"$work/random"
dd if="$work/random" of="$dir/disk" bs=65537 conv=notrunc,fsync status=none
cmp -n 3000000 "$work/random" "$dir/disk"
expect 5 'locked\|use' "$LATCHKEY" expose "${key[@]}" "$work/luks.img" "$(mktemp -d "$work/XXXX")"
"$LATCHKEY" umount "$dir"
image_closed "$work/luks.img" || fail "umount returned before the image was closed"
before=$(digest "$work/luks.img")
"$LATCHKEY" expose "${key[@]}" "$work/luks.img" "$dir"
[ "$(stat -c %a "$dir/disk")" = 400 ] || fail "disk is not 0400"
cmp -n 3000000 "$work/random" "$dir/disk"
if dd if=/dev/zero of="$dir/disk" bs=512 count=1 conv=notrunc 2>/dev/null; then
  fail "a read-only file took a write"
fi

echo "== a plain umount is enough: the server ends and lets the image go"
umount "$dir"
await no_servers || fail "the server outlives its mount"
image_closed "$work/luks.img" || fail "the image is still locked"
[ "$(digest "$work/luks.img")" = "$before" ] || fail "reading changed the image"

echo "== partitions, and the disk a guest would see"
truncate -s 40M "$work/disk.img"
printf 'label: gpt\nstart=2048,size=20480\nstart=22528,size=49152\n' | sfdisk -q "$work/disk.img"
dd if="$work/random" of="$work/disk.img" bs=512 seek=2048 conv=notrunc status=none
dd if="$work/luks.img" of="$work/disk.img" bs=512 seek=22528 conv=notrunc status=none
"$LATCHKEY" expose "${key[@]}" "$work/disk.img" "$dir"
[ "$(ls "$dir")" = $'disk\np1\np2' ] || fail "the files are $(ls "$dir")"
cmp -n 3000000 "$work/random" "$dir/p1"
cmp -n 3000000 "$work/random" "$dir/p2"
cmp -n 3000000 -i $((2048 * 512)):0 "$dir/disk" "$dir/p1"
cmp -n 3000000 -i $((22528 * 512)):0 "$dir/disk" "$dir/p2"
"$LATCHKEY" umount "$dir/"

echo "== a sparse image copies sparsely"
truncate -s 1G "$work/sparse.img"
printf end | dd of="$work/sparse.img" bs=1 seek=$((900 * 1024 * 1024)) conv=notrunc status=none
"$LATCHKEY" expose "$work/sparse.img" "$dir"
cp --sparse=auto "$dir/disk" "$work/copy"
cmp "$work/sparse.img" "$work/copy"
[ "$(du -k "$work/copy" | cut -f1)" -lt 4096 ] || fail "the copy is not sparse"
rm "$work/copy"

echo "== with the page cache files can be mapped"
"$LATCHKEY" umount "$dir"
expect 2 'read-write' "$LATCHKEY" expose --page-cache --read-write "$work/sparse.img" "$dir"
"$LATCHKEY" expose --page-cache "$work/sparse.img" "$dir"
python3 - "$dir/disk" <<'PY'
import mmap, sys
with open(sys.argv[1], "rb") as f:
    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    assert m[900 * 1024 * 1024:][:3] == b"end"
PY

echo "== while in use it stays mounted"
exec 9<"$dir/disk"
expect 5 'in use' "$LATCHKEY" umount "$dir"
exec 9<&-
"$LATCHKEY" umount "$dir"

echo "== in the foreground: 'ready', a signal unmounts, exit status 0"
for signal in INT TERM HUP; do
  : >"$work/out"
  env --default-signal "$LATCHKEY" expose --foreground "$work/sparse.img" "$dir" >>"$work/out" &
  server=$!
  await grep -q "^ready $dir$" "$work/out" || fail "no 'ready' line"
  exec 9<"$dir/disk" # somebody is using it: no reason not to stop
  kill -s "$signal" "$server"
  wait "$server" || fail "SIG$signal: exit status $?"
  exec 9<&-
  mounted "$dir" && fail "SIG$signal left $dir mounted"
  image_closed "$work/sparse.img"
done

echo "== signals while the command still waits for its passphrase: nothing is left"
mkfifo "$work/fifo"
for signal in INT TERM; do
  exec 8<>"$work/fifo"
  env --default-signal "$LATCHKEY" expose --passphrase-file - "$work/luks.img" "$dir" <&8 &
  command=$!
  two_servers() { [ "$(servers | wc -l)" -ge 2 ]; }
  await two_servers || fail "the command has not forked"
  kill -s "$signal" "$command"
  status=0
  wait "$command" || status=$?
  [ "$status" -ge 128 ] || fail "SIG$signal: exit status $status"
  exec 8<&-
  await no_servers || fail "SIG$signal left a server"
  mounted "$dir" && fail "SIG$signal left $dir mounted"
done

echo "== a detached server that gets SIGTERM unmounts"
"$LATCHKEY" expose "$work/sparse.img" "$dir"
kill "$(the_server)"
await not_mounted "$dir" || fail "SIGTERM did not unmount"
await no_servers || fail "SIGTERM did not end the server"

echo "== it has left the terminal and the directory it was started in"
(cd "$work" && "$LATCHKEY" expose sparse.img dir)
server=$(servers)
[ -z "$server" ] && server=$(pgrep -f 'expose sparse.img dir')
[ "$(readlink "/proc/$server/cwd")" = / ] || fail "its directory is not /"
[ "$(readlink "/proc/$server/fd/1")" = /dev/null ] || fail "it holds standard output"
[ "$(ps -o sid= "$server" | tr -d ' ')" = "$server" ] || fail "it is no session leader"
(cd "$work" && "$LATCHKEY" umount dir)
await gone "$server" || fail "the server stays"

echo "== a server that was killed: the stale mount is named, and umount removes it"
"$LATCHKEY" expose "$work/sparse.img" "$dir"
kill -9 "$(the_server)"
await no_servers
expect 5 'whose server has died' "$LATCHKEY" expose "$work/sparse.img" "$dir"
expect 5 'was killed' "$LATCHKEY" umount "$dir"
mounted "$dir" && fail "the stale mount is still there"
expect 5 'nothing is mounted' "$LATCHKEY" umount "$dir"

echo "== wrong keys and wrong mount points"
printf wrong >"$work/wrong"
expect 3 '' "$LATCHKEY" expose --key-file "$work/wrong" "$work/luks.img" "$dir"
expect 2 'does not exist' "$LATCHKEY" expose "$work/sparse.img" "$work/absent"
expect 2 'is not a directory' "$LATCHKEY" expose "$work/sparse.img" "$work/pass"
mkdir "$work/full" && touch "$work/full/file"
expect 2 'is not empty' "$LATCHKEY" expose "$work/sparse.img" "$work/full"
"$LATCHKEY" expose "$work/sparse.img" "$dir"
expect 2 'already mounted' "$LATCHKEY" expose "$work/sparse.img" "$dir"
ln -s "$dir" "$work/link"
"$LATCHKEY" umount "$work/link"
expect 5 'not from latchkey' "$LATCHKEY" umount /proc
if [ "$(id -u)" = 0 ]; then
  [ -z "$(ls -A /run/latchkey)" ] || fail "records are left in /run/latchkey: $(ls /run/latchkey)"
fi
echo "ok"
