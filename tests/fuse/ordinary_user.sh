#!/usr/bin/env bash
# expose, mount and umount without root, in a private mount namespace with its own fuse node: the
# machine's /dev/fuse may be for root only.
if [ "${1:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || { echo "skipped: needs root to make a private /dev/fuse"; exit 77; }
  unshare -m true 2>/dev/null || { echo "skipped: no mount namespaces here"; exit 77; }
  exec unshare -m "$0" inside
fi
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup mkfs.ext4 fuse2fs ntfs-3g mkntfs mkfs.xfs setpriv fusermount3
[ -u "$(command -v fusermount3)" ] || skip "fusermount3 is not setuid root"

# The node goes over /dev/fuse alone; the rest of /dev stays.
mount --make-rprivate /
mkdir "$work/nodes" "$work/home"
mount -t tmpfs -o dev tmpfs "$work/nodes"
mknod -m 0666 "$work/nodes/fuse" c 10 229 || skip "cannot make a device node"
mount --bind "$work/nodes/fuse" /dev/fuse
chmod 755 "$work"
chown nobody "$work/home" "$work/pass"
as_user() {
  setpriv --reuid=nobody --regid=nogroup --clear-groups \
    env XDG_RUNTIME_DIR="$work/home" HOME="$work/home" "$@"
}
key=(--key-file "$work/pass")
home=$work/home
cd "$home"
as_user mkdir dir files

echo "== expose, as nobody"
make_luks luks.img 120M
chown nobody luks.img
as_user "$LATCHKEY" expose --read-write "${key[@]}" luks.img files
[ "$(as_user stat -c %U files/disk)" = nobody ] || fail "the file is not the user's"
as_user mkfs.ext4 -q -F files/disk
as_user "$LATCHKEY" umount files
image_closed luks.img || fail "the image is not closed"

echo "== ext4 through fuse2fs"
as_user "$LATCHKEY" mount --read-write "${key[@]}" luks.img dir
head -c 3000000 /dev/urandom >random
chmod 644 random
as_user cp random dir/file
as_user "$LATCHKEY" umount dir
image_closed luks.img || fail "the image is not closed"
before=$(digest luks.img)
as_user "$LATCHKEY" mount "${key[@]}" luks.img dir
as_user cmp random dir/file
if as_user touch dir/new 2>/dev/null; then fail "a read-only mount took a write"; fi
as_user fusermount3 -u dir # the plain one
await no_servers || fail "the server outlives the file system"
[ "$(digest luks.img)" = "$before" ] || fail "a read-only mount changed the image"
as_user "$LATCHKEY" expose "${key[@]}" luks.img files
as_user e2fsck -fn files/disk >/dev/null || fail "e2fsck is not content"
as_user "$LATCHKEY" umount files

echo "== NTFS through ntfs-3g"
truncate -s 40M ntfs.img
mkntfs -q -F ntfs.img >/dev/null 2>&1
chown nobody ntfs.img
sed '/user_allow_other/d' /etc/fuse.conf >"$work/fuse.conf"
mount --bind "$work/fuse.conf" /etc/fuse.conf
if [ -u "$(command -v ntfs-3g)" ]; then
  expect 5 'ntfs-3g refuses' as_user "$LATCHKEY" mount ntfs.img dir
  grep -q '^hint: .*user_allow_other' "$work/stderr" || fail "hint: $(cat "$work/stderr")"
  await no_servers || fail "the server stays"
fi
echo user_allow_other >>"$work/fuse.conf"
as_user "$LATCHKEY" mount --read-write ntfs.img dir
as_user cp random dir/file
as_user "$LATCHKEY" umount dir
before=$(digest ntfs.img)
as_user "$LATCHKEY" mount ntfs.img dir
as_user cmp random dir/file
as_user "$LATCHKEY" umount dir
[ "$(digest ntfs.img)" = "$before" ] || fail "a read-only mount changed the image"

echo "== what needs root says so, with the command to type"
truncate -s 400M xfs.img
mkfs.xfs -q xfs.img
expect 5 'xfs needs root' as_user "$LATCHKEY" mount xfs.img dir
grep -q "^hint: sudo .* mount xfs.img dir" "$work/stderr" || fail "hint: $(cat "$work/stderr")"

echo "== places the user must not mount on"
mkdir "$work/roots"
expect 5 'no permission' as_user "$LATCHKEY" expose xfs.img "$work/roots"
chmod 600 /dev/fuse
expect 5 '/dev/fuse' as_user "$LATCHKEY" expose xfs.img dir
[ -z "$(ls -A "$home/latchkey")" ] || fail "records are left"
echo "ok"
