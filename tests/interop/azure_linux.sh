#!/usr/bin/env bash
# A Linux virtual machine's disk as Azure encrypts it: a clear /boot (ext4 or xfs) that holds
# luks/osluksheader, and a root partition without any signature, LVM inside. The volume group is
# made by lvm2, the ciphertext by cryptsetup. It opens with one command, and every byte is compared.
#   azure_linux.sh ext4|xfs
. "$(dirname "$0")/../support/lib.sh"
boot_kind=$1
need lvm sfdisk mke2fs cryptsetup mkfs.xfs qemu-img jq nbdcopy losetup flock debugfs
need_root
need_fuse
[ -e /dev/loop-control ] || skip "there are no loop devices here"

mib=$((1024 * 1024))
boot_at=$((9 * mib))
root_at=$((73 * mib))
root_bytes=$((192 * mib))
boot_bytes=$((64 * mib))
if [ "$boot_kind" = xfs ]; then
  boot_bytes=$((320 * mib))
  root_at=$((329 * mib))
fi
bios_at=$((root_at + root_bytes))
disk_bytes=$((bios_at + 4 * mib))
dir=$work/dir
files=$work/files
mkdir "$dir" "$files"

echo "== the volume group, by lvm2: segments apart, one volume it cannot be asked to map"
export LVM_SYSTEM_DIR=$work/lvm LVM_SUPPRESS_FD_WARNINGS=1
mkdir "$LVM_SYSTEM_DIR"
printf 'devices { use_devicesfile=0 }\nbackup { backup=0 archive=0 }\nglobal { locking_dir="%s" }\n' \
  "$work/lock" >"$LVM_SYSTEM_DIR/lvm.conf"
pv=$work/pv
truncate -s $root_bytes "$pv"
loop=$(losetup -f --show "$pv")
lv() {
  local command=$1
  shift
  lvm "$command" -qq --driverloaded n --devices "$loop" "$@" >>"$work/lvm.log" 2>&1 ||
    fail "lvm $command: $(tail -3 "$work/lvm.log")"
}
new_lv() { lv lvcreate -an -Zn -Wn -y -L "$2" -n "$1" rootvg; }
lv pvcreate "$loop"
lv vgcreate rootvg "$loop"
new_lv rootlv 24M
new_lv usrlv 24M
new_lv varlv 16M
new_lv homelv 8M
new_lv tmplv 8M
lv lvextend -L +16M rootvg/rootlv # behind the others: a second segment
lv lvreduce -f -y -L 8M rootvg/varlv
lv lvextend -L 48M rootvg/rootlv # into the gap that left: a third one
segments() {
  lvm lvs -q --driverloaded n --devices "$loop" --noheadings --nosuffix --units b \
    -o seg_start,seg_size,devices --sort seg_start "rootvg/$1" 2>/dev/null
}
[ "$(segments rootlv | wc -l)" -ge 2 ] || fail "rootlv is in one piece: $(segments rootlv)"
extent=$((4 * mib))
pe_start=$(lvm pvs -q --driverloaded n --devices "$loop" --noheadings --nosuffix --units b \
  -o pe_start 2>/dev/null | tr -d ' ')
# place LV FILE: its bytes, where lvm2 says they go.
place() {
  local start size where
  while read -r start size where; do
    where=${where#*\(} # "/dev/loop0(15)"
    where=${where%\)*}
    dd if="$2" of="$pv" bs=$mib iflag=skip_bytes,count_bytes oflag=seek_bytes conv=notrunc \
      skip="$start" count="$size" seek=$((pe_start + where * extent)) status=none
  done < <(segments "$1")
}
mkdir -p "$work/tree/etc"
head -c 9000000 /dev/urandom >"$work/tree/big"
echo "an Azure disk" >"$work/tree/etc/motd"
for one in rootlv:48 usrlv:24 varlv:8 homelv:8 tmplv:8; do
  name=${one%:*}
  truncate -s "${one#*:}M" "$work/$name"
  case $name in
    rootlv) mke2fs -q -t ext4 -L root -d "$work/tree" "$work/$name" ;;
    tmplv) head -c 8M /dev/urandom >"$work/$name" ;;
    *) mke2fs -q -t ext4 -L "$name" "$work/$name" ;;
  esac
  place $name "$work/$name"
done
plain_pv=$(digest "$pv")
losetup -d "$loop"
loop=

echo "== encrypted in place by cryptsetup, header detached, payload at 0"
head -c 127 /dev/urandom | base64 -w 0 >"$work/LinuxPassPhraseFileName"
key=(--key-file "$work/LinuxPassPhraseFileName")
cp "$pv" "$work/cipher"
cryptsetup reencrypt --encrypt --type luks2 --force-offline-reencrypt -q \
  --header "$work/osluksheader" --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "${key[@]}" \
  "$work/cipher"
[ -z "$(blkid -p "$work/cipher")" ] || fail "the root partition has a signature"

echo "== the disk: ESP, /boot ($boot_kind), root, BIOS boot"
mkdir -p "$work/boot/luks"
cp "$work/osluksheader" "$work/boot/luks/"
truncate -s $boot_bytes "$work/bootfs"
if [ "$boot_kind" = xfs ]; then
  printf '/\n0 0\nd--755 0 0\nluks d--755 0 0\nosluksheader ---600 0 0 %s\n$\n$\n' \
    "$work/osluksheader" >"$work/proto"
  mkfs.xfs -q -p "$work/proto" "$work/bootfs"
else
  mke2fs -q -t ext4 -L BOOT -d "$work/boot" "$work/bootfs"
fi
image=$work/disk.raw
truncate -s $disk_bytes "$image"
sfdisk -q "$image" <<PARTS
label: gpt
start=$((mib / 512)), size=$((8 * mib / 512)), type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
start=$((boot_at / 512)), size=$((boot_bytes / 512))
start=$((root_at / 512)), size=$((root_bytes / 512))
start=$((bios_at / 512)), size=$((2 * mib / 512)), type=21686148-6449-6E6F-744E-656564454649
PARTS
into() { dd if="$1" of="$image" bs=$mib seek=$(($2 / mib)) conv=notrunc,sparse status=none; }
into "$work/bootfs" $boot_at
into "$work/cipher" $root_at
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$image" "$work/fixed.vhd"
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on "$image" "$work/dynamic.vhd"

# Everything about one image that is opened without --header.
check_image() {
  local image=$1 before name
  before=$(digest "$image")

  "$LATCHKEY" info "$image" >"$work/info"
  grep -q "p3 .*LUKS2, detached header (luks/osluksheader on p2)" "$work/info" ||
    fail "info: $(cat "$work/info")"
  grep -q "note: p3: its header is taken from luks/osluksheader on p2" "$work/info" ||
    fail "info says nothing of the header"
  grep -q "^next: latchkey mount .* DIR --key FILE" "$work/info" || fail "info recommends nothing"
  [ "$("$LATCHKEY" info --json "$image" |
    jq -c '.partitions[2].volume.header_found_in, .usable')" = \
    $'{"partition":2,"path":"luks/osluksheader"}\ntrue' ] || fail "info --json"

  "$LATCHKEY" mount "$image" "$dir" --key "$work/LinuxPassPhraseFileName" 2>"$work/stderr" ||
    fail "mount: $(cat "$work/stderr")"
  cmp "$work/tree/big" "$dir/big"
  [ "$(cat "$dir/etc/motd")" = "an Azure disk" ] || fail "wrong file"
  grep -q '^rootvg/rootlv (ext4) is mounted' "$work/stderr" || fail "$(cat "$work/stderr")"
  grep -q 'DIR .*--volume rootvg/usrlv$' "$work/stderr" || fail "$(cat "$work/stderr")"
  grep -q 'tmplv' "$work/stderr" && fail "noise is offered for mounting"
  "$LATCHKEY" umount "$dir"

  "$LATCHKEY" mount "$image" "$dir" "${key[@]}" --volume rootvg/usrlv
  [ "$(stat -f -c %T "$dir")" != tmpfs ] && [ -d "$dir/lost+found" ] || fail "usrlv"
  "$LATCHKEY" umount "$dir"

  "$LATCHKEY" expose "$image" "$files" "${key[@]}"
  [ "$(ls "$files" | tr '\n' ' ')" = "disk p1 p2 p3 p4 rootvg " ] || fail "files: $(ls "$files")"
  [ "$(stat -c %a "$files/rootvg")" = 500 ] || fail "the folder is not 0500"
  [ "$(digest "$files/p3")" = "$plain_pv" ] || fail "the physical volume differs"
  for name in rootlv usrlv varlv homelv tmplv; do
    cmp "$work/$name" "$files/rootvg/$name"
  done
  "$LATCHKEY" umount "$files"

  "$LATCHKEY" serve "$image" "${key[@]}" --run \
    'nbdcopy "nbd+unix:///rootvg/rootlv?socket=$unixsocket" "'"$work"'/copied"'
  cmp "$work/rootlv" "$work/copied"
  [ "$(digest "$image")" = "$before" ] || fail "reading changed the image"
}

for image in "$work/disk.raw" "$work/fixed.vhd" "$work/dynamic.vhd"; do
  echo "== $(basename "$image")"
  check_image "$image"
done
image=$work/disk.raw

echo "== what cannot be meant"
expect 2 "there is no nolv, but.*rootvg/rootlv" \
  "$LATCHKEY" mount "$image" "$dir" "${key[@]}" --volume nolv
expect 4 "rootvg/tmplv holds nothing that is recognised" \
  "$LATCHKEY" mount "$image" "$dir" "${key[@]}" --volume tmplv
printf wrong >"$work/wrong"
expect 3 'p3' "$LATCHKEY" mount "$image" "$dir" --key-file "$work/wrong"
expect 3 'p3' "$LATCHKEY" serve "$image" --run true --key-file "$work/wrong"

echo "== --header wins; /boot mounts without a key"
"$LATCHKEY" info "$image" --header "$work/osluksheader" >"$work/info"
grep -q osluksheader\ on\ p2 "$work/info" && fail "the given header did not win"
"$LATCHKEY" mount "$image" "$dir" --partition 2
cmp "$work/osluksheader" "$dir/luks/osluksheader"
"$LATCHKEY" mount "$image" "$files" --header "$dir/luks/osluksheader" "${key[@]}" 2>/dev/null
cmp "$work/tree/big" "$files/big"
"$LATCHKEY" umount "$files"
"$LATCHKEY" umount "$dir"

echo "== written through, all the way down"
cp --sparse=always "$work/dynamic.vhd" "$work/written.vhd"
"$LATCHKEY" mount --read-write "$work/written.vhd" "$dir" "${key[@]}" 2>/dev/null
echo changed >"$dir/etc/motd"
"$LATCHKEY" umount "$dir"
"$LATCHKEY" expose "$work/written.vhd" "$files" "${key[@]}"
e2fsck -fn "$files/rootvg/rootlv" >/dev/null 2>&1 || fail "e2fsck is not content"
[ "$(debugfs -R 'cat /etc/motd' "$files/rootvg/rootlv" 2>/dev/null)" = changed ] ||
  fail "the change is not there"
cmp "$work/usrlv" "$files/rootvg/usrlv"
"$LATCHKEY" umount "$files"
# An independent reader sees the same: cryptsetup decrypts what was written.
qemu-img convert -f vpc -O raw "$work/written.vhd" "$work/written.raw"
dd if="$work/written.raw" of="$work/again" bs=$mib skip=$((root_at / mib)) \
  count=$((root_bytes / mib)) status=none
cp "$work/osluksheader" "$work/header.again"
cryptsetup reencrypt --decrypt --force-offline-reencrypt -q --header "$work/header.again" \
  "${key[@]}" "$work/again"
mv "$work/again" "$pv"
"$LATCHKEY" expose "$pv" "$files" # a physical volume as the whole disk
[ "$(debugfs -R 'cat /etc/motd' "$files/rootvg/rootlv" 2>/dev/null)" = changed ] ||
  fail "cryptsetup does not see the change"
"$LATCHKEY" umount "$files"
"$LATCHKEY" info "$pv" >"$work/info"
grep -q '^volume group rootvg, on disk' "$work/info" || fail "info: $(cat "$work/info")"
grep -q 'rootvg/rootlv .*ext4 "root"' "$work/info" || fail "info: $(cat "$work/info")"
rm "$work"/*.vhd "$work/written.raw"

echo "== two partitions without a signature: the one that makes sense is the one"
head -c $((2 * mib)) /dev/urandom | dd of="$image" bs=$mib seek=$((bios_at / mib)) conv=notrunc status=none
sfdisk -q --part-type "$image" 4 0FC63DAF-8483-4772-8E79-3D69D8477DE4
"$LATCHKEY" mount "$image" "$dir" "${key[@]}" 2>/dev/null
cmp "$work/tree/big" "$dir/big"
"$LATCHKEY" umount "$dir"

echo "== none makes sense: refused, and how to see it all the same"
dd if=/dev/urandom of="$image" bs=$mib seek=$((root_at / mib)) count=4 conv=notrunc status=none
expect 4 'p3: the key opens the header in luks/osluksheader on p2, but' \
  "$LATCHKEY" mount "$image" "$dir" "${key[@]}"
grep -q '^hint: .*--header DIR/luks/osluksheader --partition 3' "$work/stderr" ||
  fail "hint: $(cat "$work/stderr")"
[ -z "$(ls -A /run/latchkey)" ] || fail "records are left in /run/latchkey"
echo "ok"
