#!/usr/bin/env bash
# Storage that fails under a running server: the reader gets EIO and no bytes, stderr names the place
# once, lost writes make umount and the exit status say so.
. "$(dirname "$0")/../support/lib.sh"
need_fuse
dir=$work/dir
mkdir "$dir"

echo "== an image that was cut short under the server"
truncate -s 16M "$work/image"
"$LATCHKEY" expose --foreground "$work/image" "$dir" >"$work/out" 2>"$work/stderr" &
server=$!
await grep -q '^ready ' "$work/out" || fail "not ready: $(cat "$work/stderr")"
truncate -s 1M "$work/image"
for i in 1 2 3; do
  if dd if="$dir/disk" of="$work/got" bs=4096 skip=2048 count=1 iflag=direct 2>/dev/null; then
    fail "a read beyond the cut succeeded"
  fi
  [ ! -s "$work/got" ] || fail "a failed read gave bytes"
done
dd if="$dir/disk" of=/dev/null bs=4096 count=1 status=none
kill "$server"
wait "$server" || fail "exit status $?"
[ "$(grep -c "$work/image: .* at byte 8388608" "$work/stderr")" = 1 ] || fail "on stderr: $(cat "$work/stderr")"

echo "== an encrypted one, which is read out of the page cache"
need cryptsetup nbdcopy
printf secret >"$work/pass"
truncate -s 64M "$work/luks"
cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$work/pass" \
  "$work/luks"
key=(--key-file "$work/pass")
"$LATCHKEY" expose --foreground "$work/luks" "$dir" "${key[@]}" >"$work/out" 2>"$work/stderr" &
server=$!
await grep -q '^ready ' "$work/out" || fail "not ready: $(cat "$work/stderr")"
"$LATCHKEY" serve "$work/luks" --socket "$work/socket" "${key[@]}" >"$work/out" 2>"$work/stderr2" &
nbd_server=$!
await test -S "$work/socket" || fail "no socket: $(cat "$work/stderr2")"
uri="nbd+unix:///?socket=$work/socket"
sum=$(sha256sum <"$dir/disk")
[ "$(nbdcopy "$uri" - | sha256sum)" = "$sum" ] || fail "NBD and FUSE differ"
truncate -s $((32 * 1024 * 1024 + 1000)) "$work/luks"
if dd if="$dir/disk" of="$work/got" bs=1M 2>/dev/null; then fail "dd read past the cut"; fi
head -c $((16 * 1024 * 1024)) "$dir/disk" | cmp -n $((16 * 1024 * 1024)) - "$work/got" ||
  fail "what is before the cut is not there"
if nbdcopy "$uri" null: 2>/dev/null; then fail "nbdcopy read past the cut"; fi
kill "$server" "$nbd_server"
wait "$server" || fail "exit status $?"
wait "$nbd_server" || fail "exit status $?"
grep -q "$work/luks: " "$work/stderr" || fail "on stderr: $(cat "$work/stderr")"

need_root
echo "== no room for what is written"
mkdir "$work/small"
mount -t tmpfs -o size=4M tmpfs "$work/small"
truncate -s 64M "$work/small/image"
"$LATCHKEY" expose --read-write "$work/small/image" "$dir"
if dd if=/dev/zero of="$dir/disk" bs=1M count=16 conv=notrunc 2>/dev/null; then
  fail "16 MiB went into 4"
fi
expect 5 'write.* failed: not everything' "$LATCHKEY" umount "$dir"
mounted "$dir" && fail "still mounted"
: >"$work/out"
"$LATCHKEY" expose --foreground --read-write "$work/small/image" "$dir" >>"$work/out" 2>"$work/stderr" &
server=$!
await grep -q '^ready ' "$work/out" || fail "not ready"
dd if=/dev/zero of="$dir/disk" bs=1M count=16 conv=notrunc 2>/dev/null || true
kill "$server"
status=0
wait "$server" || status=$?
[ "$status" = 5 ] || fail "exit status $status after lost writes"
grep -q 'not everything' "$work/stderr" || fail "on stderr: $(cat "$work/stderr")"

echo "== the same under a file system, whose user sees no error"
need mkfs.ext4
need_file_system ext4
rm "$work/small/image"
truncate -s 64M "$work/small/image"
mkfs.ext4 -q -F -O ^has_journal "$work/small/image"
"$LATCHKEY" mount --read-write "$work/small/image" "$dir"
head -c 10000000 /dev/urandom >"$dir/file" || true # in the page cache so far
expect 5 'write.* failed: not everything' "$LATCHKEY" umount "$dir"
umount "$work/small"
echo "ok"
