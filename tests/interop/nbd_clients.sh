#!/usr/bin/env bash
# Other people's NBD clients agree with the bytes, byte for byte: nbdinfo, nbdcopy, qemu-img,
# qemu-io, fio, and a file system that the kernel writes through qemu-storage-daemon.
. "$(dirname "$0")/../support/lib.sh"
need nbdinfo nbdcopy qemu-img qemu-io fio cryptsetup jq
PATH=$PATH:/sbin:/usr/sbin
export LATCHKEY work
cd "$work"

serve() { "$LATCHKEY" serve "$@" </dev/null; }

# A LUKS2 volume with 4096-byte sectors, and a plain file of its size.
truncate -s 64M luks.img
cryptsetup luksFormat -q --type luks2 --sector-size 4096 --pbkdf pbkdf2 \
  --pbkdf-force-iterations 1000 --key-file pass luks.img
bytes=$(serve luks.img --key-file pass --run 'nbdinfo --size "$uri"')
[ "$bytes" = $((48 * 1024 * 1024)) ] || fail "nbdinfo says $bytes bytes"
head -c "$bytes" /dev/urandom >data

echo "nbdcopy in, out, and qemu-img compare and convert"
serve luks.img --read-write --key-file pass --run 'nbdcopy --flush data "$uri"'
serve luks.img --key-file pass --run 'nbdcopy "$uri" back && cmp data back'
serve luks.img --key-file pass --run 'qemu-img compare -f raw -F raw data "$uri"'
serve luks.img --key-file pass --run 'qemu-img convert -f raw -O raw "$uri" back2 && cmp data back2'
serve luks.img --read-write --key-file pass --run \
  'qemu-img convert -n -f raw -O raw back2 "$uri" && nbdcopy "$uri" back && cmp data back'

echo "nbdinfo"
serve luks.img --key-file pass --run 'nbdinfo --json --list "$uri" >list.json'
[ "$(jq -r '.exports | map(."export-name") | sort | join(" ")' list.json)" = disk ] ||
  fail "the exports are $(jq -c '.exports | map(."export-name")' list.json)"
serve luks.img --key-file pass --run 'nbdinfo --is readonly "$uri" && nbdinfo --can multi-conn "$uri"'
expect 1 "exit status" serve luks.img --key-file pass --run 'nbdinfo --can trim "$uri"'
serve luks.img --read-write --discard --key-file pass --run 'nbdinfo --can trim "$uri"'

echo "qemu-io patterns at odd offsets"
serve luks.img --read-write --key-file pass --run 'qemu-io -f raw \
  -c "write -P 0x11 511 3" -c "write -P 0x22 4095 2" -c "write -P 0x33 12345 70001" \
  -c "write -z 100001 5003" -c "write -P 0x44 -f 3000001 1" -c "flush" \
  -c "read -P 0x11 511 3" -c "read -P 0x22 4095 2" -c "read -P 0x33 12345 70001" \
  -c "read -P 0 100001 5003" -c "read -P 0x44 3000001 1" "$uri"' | tee qemu-io.log
! grep -qi 'fail\|error\|verification' qemu-io.log || fail "qemu-io: $(cat qemu-io.log)"
# The same writes into the plain file: nothing else may have changed.
qemu-io -f raw -c "write -P 0x11 511 3" -c "write -P 0x22 4095 2" -c "write -P 0x33 12345 70001" \
  -c "write -z 100001 5003" -c "write -P 0x44 3000001 1" data >qemu-io.log
serve luks.img --key-file pass --run 'qemu-img compare -f raw -F raw data "$uri"'

echo "fio: 8 jobs verify, each on a connection of its own"
fio --enghelp | grep -qw nbd || skip "this fio has no nbd engine"
serve luks.img --read-write --key-file pass --run 'fio --name=verify --ioengine=nbd --uri="$uri" \
  --rw=randwrite --bsrange=512-64k --bs_unaligned --size=5M --offset_increment=5M --numjobs=8 \
  --verify=crc32c --verify_fatal=1 --verify_state_save=0 --iodepth=8 --group_reporting >fio.log' ||
  fail "fio: $(cat fio.log)"
grep -q 'err= *0' fio.log || fail "fio: $(cat fio.log)"

echo "nbdinfo --map on a sparse image"
truncate -s 16M sparse.raw
dd if=data of=sparse.raw bs=64K seek=32 count=4 conv=notrunc status=none
serve sparse.raw --run 'nbdinfo --map --json "$uri" >map.json'
[ "$(jq -c '[.[] | [.offset, .length, .type]]' map.json)" = \
  '[[0,2097152,3],[2097152,262144,0],[2359296,14417920,3]]' ] || fail "the map is $(cat map.json)"
serve luks.img --key-file pass --run 'nbdinfo --map --json "$uri" >map.json'
[ "$(jq -c '[.[] | .type] | unique' map.json)" = '[0]' ] || fail "a ciphered range claims holes"

echo "an ext4 that the kernel writes through NBD"
need qemu-storage-daemon mke2fs
need_fuse
need_root
mke2fs -q -t ext4 data
serve luks.img --read-write --key-file pass --run 'nbdcopy data "$uri"'
cat >through_kernel.sh <<'SCRIPT'
set -e
touch node
qemu-storage-daemon --blockdev driver=nbd,node-name=n,server.type=unix,server.path="$unixsocket" \
  --export type=fuse,id=e,node-name=n,mountpoint="$PWD/node",writable=on,growable=off \
  --pidfile "$PWD/daemon.pid" --daemonize
mkdir -p mnt
mount -o loop node mnt
mkdir mnt/tree
for i in $(seq 300); do head -c $((i * 317)) back >mnt/tree/$i; done
rm mnt/tree/1*
cp back mnt/large || true
(cd mnt && find . -type f -exec sha256sum {} + | sort -k2 >"$work/written")
umount mnt
kill "$(cat daemon.pid)"
while [ -e daemon.pid ]; do sleep 0.05; done
SCRIPT
head -c 20M back >back.part && mv back.part back
serve luks.img --read-write --key-file pass --run 'bash through_kernel.sh'
serve luks.img --key-file pass --run 'nbdcopy "$uri" after.ext4'
e2fsck -fn after.ext4 || fail "the file system is damaged"
mkdir -p mnt
mount -o loop,ro after.ext4 mnt
(cd mnt && find . -type f -exec sha256sum {} + | sort -k2) >read
umount mnt
cmp written read || fail "the files differ"
echo "all clients agree"
