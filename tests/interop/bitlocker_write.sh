#!/usr/bin/env bash
# What Latchkey writes into BitLocker volumes, dislocker and libbde read back; files copied in
# leave NTFS clean; and what belongs to BitLocker itself is never touched: not its three copies of
# the metadata, not the sectors kept elsewhere. On volumes built for every cipher and sector size,
# and on copies of real ones where there is a corpus.
. "$(dirname "$0")/../support/lib.sh"
MAKE_BITLOCKER=${MAKE_BITLOCKER:?the program that builds the volumes}
PATH=$PATH:/sbin:/usr/sbin
need dislocker-file bdemount mkntfs ntfscp ntfsinfo ntfsfix ntfs-3g qemu-io nbdcopy python3 fdisk
need_fuse
cd "$work"
seed=${LATCHKEY_SEED:-$RANDOM}
echo "seed: LATCHKEY_SEED=$seed"
mkdir mnt other keys tree
for i in 1 2 3 4 5 6; do head -c $((i * 150001)) /dev/urandom >tree/file$i; done
mkdir tree/folder
printf 'a small one\n' >tree/folder/small
head -c 4194304 /dev/urandom >random

# Reads a volume's boot sector and metadata itself.
#   layout.py IMAGE hidden         "offset length" of every area that is BitLocker's
#   layout.py IMAGE metadata       a digest of the three copies, all of what is set aside for them
cat >layout.py <<'PYTHON'
import hashlib, struct, sys
image = open(sys.argv[1], "rb")
boot = image.read(512)
at = boot.find(bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"))
copies = struct.unpack_from("<3Q", boot, at + 16)
image.seek(copies[0])
header = image.read(64)
sectors, = struct.unpack_from("<I", header, 28)
relocated, = struct.unpack_from("<Q", header, 56)
sector_bytes, = struct.unpack_from("<H", boot, 11)
if sys.argv[2] == "hidden":
    for offset in copies:
        print(offset, 65536)
    print(relocated, sectors * sector_bytes)
else:
    sum = hashlib.sha256()
    for offset in copies:
        image.seek(offset)
        sum.update(image.read(65536))
    print(sum.hexdigest())
PYTHON

# writes.py SEED EXPECTED HIDDEN COMMANDS: random writes for qemu-io that keep clear of the hidden
# areas, up to their first and last byte, and of the boot sector, from which libbde takes the size;
# the same bytes go into EXPECTED.
cat >writes.py <<'PYTHON'
import random, sys
random.seed(int(sys.argv[1]))
hidden = [tuple(map(int, line.split())) for line in open(sys.argv[3])]
expected = open(sys.argv[2], "r+b")
size = expected.seek(0, 2)
source = open("random", "rb").read()
commands = open(sys.argv[4], "w")
def clear(offset, length):
    return offset >= 512 and length > 0 and offset + length <= size and all(
        offset + length <= start or offset >= start + bytes for start, bytes in hidden)
def write(offset, length):
    if not clear(offset, length):
        return
    zeros = random.random() < 0.15
    commands.write("write %s %d %d\n" % ("-z" if zeros else "-s random", offset, length))
    expected.seek(offset)
    expected.write(bytes(length) if zeros else source[:length])
lengths = [1, 15, 511, 512, 513, 4095, 4096, 4097, 8192, 65536, 100003, 1048576, 3000001]
for start, length in hidden:
    for piece in random.sample(lengths, 4):
        write(start - piece, piece)
        write(start + length, piece)
write(512, 9000)
write(size - 777, 777)
for _ in range(120):
    length = random.choice(lengths + [random.randint(1, 200000)])
    offset = random.randrange(size)
    if random.random() < 0.4:
        offset -= offset % 512
    write(offset, length)
PYTHON

# A plaintext whose file system keeps out of BitLocker's areas, as Windows sees to: they lie in
# files. Sets $places to the builder's options.
make_plain() {
  local sector=$1 start length i
  rm -f plain.ntfs
  truncate -s 24M plain.ntfs
  mkntfs -F -q -Q -s "$sector" -c 4096 -p 0 -H 255 -S 63 plain.ntfs >/dev/null 2>&1 || fail "mkntfs"
  places=
  for i in 0 1 2; do
    head -c 81920 /dev/zero >area
    ntfscp -q -f plain.ntfs area "area$i" 2>/dev/null
    read -r start length < <(ntfsinfo -v -F "area$i" plain.ntfs 2>/dev/null |
      awk '/Runlist:/ { getline; print $2, $3; exit }')
    [ $((length)) = 20 ] || fail "area$i is not in one piece: $start $length"
    places+=${places:+,}$((start * 4096))
    ntfscp -q -f plain.ntfs tree/file6 "between$i" 2>/dev/null
  done
  places="metadata=$places"
}

serve() { "$LATCHKEY" serve "$@" </dev/null; }

# What --run starts: bash nbd.sh FUNCTION ARGUMENT...
cat >nbd.sh <<'SCRIPT'
# In qemu-io's own words: nothing failed.
run_commands() {
  qemu-io -f raw "$1" <"$2" >qemu-io.log 2>&1 || return 1
  ! grep -qi 'fail\|error\|not permitted' qemu-io.log
}
# refused URI OFFSET LENGTH: a write there fails with EPERM.
refused() {
  qemu-io -f raw -c "write -s random $2 $3" "$1" >qemu-io.log 2>&1
  grep -q 'Operation not permitted' qemu-io.log || {
    echo "a write of $3 bytes at $2: $(cat qemu-io.log)" >&2
    return 1
  }
}
# taken URI OFFSET LENGTH OPTION: zeros
taken() {
  qemu-io -f raw -c "write $4 $2 $3" "$1" >qemu-io.log 2>&1 && grep -q 'wrote' qemu-io.log || {
    echo "zeros of $3 bytes at $2: $(cat qemu-io.log)" >&2
    return 1
  }
}
# Every way of hitting a hidden area, in an export that has the volume at an offset.
hit_hidden() {
  local offset length
  while read -r offset length; do
    offset=$((offset + $2))
    refused "$1" "$offset" "$length" && refused "$1" $((offset + 17)) 1 &&
      refused "$1" $((offset - 4096)) 8192 && refused "$1" $((offset + length - 1)) 2 &&
      refused "$1" $((offset - 1500000)) 3000000 || return 1
    taken "$1" "$offset" "$length" "-P 0" && taken "$1" "$offset" "$length" -z &&
      taken "$1" $((offset + 100)) 1000 "-P 0" && taken "$1" $((offset + 100)) 1000 -z || return 1
  done <hidden
}
"$@"
SCRIPT

# read_back NAME: what dislocker, and libbde where it can, get from volume.img is `expected`.
read_back() {
  by_dislocker "$1"
  cmp out expected || fail "$1: dislocker reads something else"
  [ ${#to_libbde[@]} -gt 0 ] || return 0
  bdemount "${to_libbde[@]}" volume.img other >log 2>&1 || fail "$1: bdemount: $(cat log)"
  cmp other/bde1 expected || fail "$1: libbde reads something else"
  fusermount3 -u other
}

by_dislocker() {
  rm -f out
  dislocker-file -q -V volume.img "${to_dislocker[@]}" -- out >log 2>&1 ||
    fail "$1: dislocker: $(cat log)"
}

# check_files NAME: copied in and removed through ntfs-3g on top of Latchkey, read back without it.
check_files() {
  local before
  before=$(python3 layout.py volume.img metadata)
  "$LATCHKEY" mount volume.img mnt --read-write "${to_latchkey[@]}" </dev/null ||
    fail "$1: cannot mount"
  cp -r tree mnt/copied
  rm -rf mnt/between1
  "$LATCHKEY" umount mnt
  by_dislocker "$1"
  ntfsfix -n out >log 2>&1 || fail "$1: ntfsfix: $(cat log)"
  ! grep -qi 'fail\|corrupt\|dirty\|error' log || fail "$1: ntfsfix: $(cat log)"
  ntfs-3g -o ro out other || fail "$1: ntfs-3g"
  diff -r tree other/copied || fail "$1: the files differ"
  fusermount3 -u other
  [ "$(python3 layout.py volume.img metadata)" = "$before" ] || fail "$1: the metadata has changed"
}

# check_writes NAME: volume.img opens with ${to_latchkey[@]}, ${to_dislocker[@]}, ${to_libbde[@]}.
check_writes() {
  local name=$1 before after
  python3 layout.py volume.img hidden >hidden
  before=$(python3 layout.py volume.img metadata)
  by_dislocker "$name"
  mv out expected
  python3 writes.py "$seed" expected hidden commands
  serve volume.img --read-write "${to_latchkey[@]}" \
    --run 'bash nbd.sh run_commands "$uri" commands' ||
    fail "$name: writes: $(cat qemu-io.log)"
  read_back "$name"
  # All of it, hidden areas included: they take the zeros they are read as.
  serve volume.img --read-write "${to_latchkey[@]}" --run 'nbdcopy --flush expected "$uri"' ||
    fail "$name: the whole plaintext is refused"

  local digest
  digest=$(digest volume.img)
  serve volume.img --read-write "${to_latchkey[@]}" --run 'bash nbd.sh hit_hidden "$uri" 0' ||
    fail "$name"
  [ "$(digest volume.img)" = "$digest" ] || fail "$name: a refused write left something behind"
  after=$(python3 layout.py volume.img metadata)
  [ "$before" = "$after" ] || fail "$name: the metadata has changed"
  echo "ok: $name"
}

# The same refusals where the volume is a partition of a disk that is presented whole.
check_disk() {
  local start=$((1024 * 1024)) digest
  truncate -s 0 disk.raw
  truncate -s $((start + $(stat -c %s volume.img) + 1024 * 1024)) disk.raw
  printf 'g\nn\n1\n2048\n%s\nw\n' $((2047 + $(stat -c %s volume.img) / 512)) |
    fdisk -w always -W always disk.raw >log 2>&1 || fail "fdisk: $(cat log)"
  dd if=volume.img of=disk.raw bs=1M seek=1 conv=notrunc status=none
  digest=$(digest disk.raw)
  serve disk.raw --read-write "${to_latchkey[@]}" \
    --run 'bash nbd.sh hit_hidden "nbd+unix:///disk?socket=$unixsocket" 1048576' || fail "whole disk"
  [ "$(digest disk.raw)" = "$digest" ] || fail "a refused write left something in the disk"
  dd if=disk.raw of=part bs=1M skip=1 count=24 status=none
  cmp part volume.img
  # And through FUSE: EPERM, and nothing written.
  "$LATCHKEY" expose disk.raw mnt --read-write "${to_latchkey[@]}" </dev/null
  python3 - hidden 1048576 <<'PYTHON' || fail "FUSE"
import errno, os, sys
for name, base in (("mnt/disk", int(sys.argv[2])), ("mnt/p1", 0)):
    device = os.open(name, os.O_RDWR)
    for line in open(sys.argv[1]):
        offset, length = map(int, line.split())
        for start, count in ((offset, 512), (offset - 512, 1024), (offset + length - 1, 2)):
            try:
                os.pwrite(device, b"x" * count, base + start)
                sys.exit("%s takes %d bytes at %d" % (name, count, start))
            except OSError as error:
                if error.errno != errno.EPERM:
                    raise
        if os.pwrite(device, bytes(length), base + offset) != length:
            sys.exit("zeros are refused")
    os.close(device)
PYTHON
  "$LATCHKEY" umount mnt
  [ "$(digest disk.raw)" = "$digest" ] || fail "a refused write through FUSE left something"
  echo "ok: whole disk"
}

for sector in 512 4096; do
  make_plain $sector
  for cipher in xts128 xts256 cbc128 cbc256 elephant128 elephant256; do
    rm -rf keys
    mkdir keys
    "$MAKE_BITLOCKER" plain.ntfs volume.img keys cipher=$cipher sector=$sector $places \
      external=ExternalKey
    to_latchkey=(--key keys/bek.0)
    to_dislocker=(-f keys/bek.0)
    to_libbde=(-s keys/bek.0)
    # This libbde takes half of the key of XTS-AES-256.
    [ $cipher = xts256 ] && to_libbde=()
    check_files "$cipher, sectors of $sector"
    check_writes "$cipher, sectors of $sector"
    [ $cipher:$sector = xts128:512 ] && check_disk
  done
done

echo "volumes under conversion, and Vista's, are not written"
make_plain 512
for options in "state=3 below=8388608" "state=3 next=1 below=8388608" \
  "state=5 below=8388608" "state=2 below=8388608 log=65536"; do
  # shellcheck disable=SC2086  # several options
  "$MAKE_BITLOCKER" plain.ntfs volume.img keys $places external=ExternalKey $options
  before=$(digest volume.img)
  expect 4 "convers\|encrypt\|decrypt" "$LATCHKEY" serve volume.img --read-write --key keys/bek.0 \
    --run 'qemu-io -f raw -c "write 5000000 512" "$uri"'
  cat "$work/stderr"
  [ "$(digest volume.img)" = "$before" ] || fail "$options: written all the same"
done

corpus=${LATCHKEY_CORPUS:-}
if [ -z "$corpus" ] || [ ! -e "$corpus/expected.tsv" ]; then
  echo "not tried: copies of real volumes; LATCHKEY_CORPUS does not name a corpus"
  exit 0
fi
# Most of what was in their files was left out when they were published: no file system to mount.
printf 'anaconda\n' >password
expect 4 "Vista" "$LATCHKEY" serve --read-write --run true \
  "$corpus/bitlocker/vista-aes-cbc-elephant-128.img" --key <(printf '%s' \
  517506-503998-044583-576191-587004-635965-501270-087802)
for name in aes-cbc-128 aes-cbc-128-4k aes-xts-256 aes-cbc-elephant-128 togo-aes-cbc-128; do
  cp --sparse=always "$corpus/bitlocker/$name.img" volume.img
  to_latchkey=(--passphrase-file password)
  to_dislocker=(-uanaconda)
  to_libbde=(-p anaconda)
  [ $name = aes-xts-256 ] && to_libbde=()
  check_writes "a copy of $name"
done
