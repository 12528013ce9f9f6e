#!/usr/bin/env bash
# The BitLocker volumes that the tests build are what other people's readers take for BitLocker:
# dislocker and libbde give the plaintext they were built from, for every cipher, sector size and
# protector those readers know; cryptsetup takes the rest of the keys. Latchkey has no part in this.
. "$(dirname "$0")/../support/lib.sh"
MAKE_BITLOCKER=${MAKE_BITLOCKER:?the program that builds the volumes}
PATH=$PATH:/sbin:/usr/sbin
need dislocker-file bdemount cryptsetup mkntfs ntfscp
need_fuse
cd "$work"
mkdir mnt

# make_ntfs FILE SECTOR_BYTES
make_ntfs() {
  truncate -s 16M "$1"
  mkntfs -F -q -Q -s "$2" -p 0 -H 255 -S 63 "$1" >/dev/null 2>&1 || fail "mkntfs"
  ntfscp -q -f "$1" random random 2>/dev/null || fail "ntfscp"
}
head -c 3000000 /dev/urandom >random
make_ntfs ntfs512 512
make_ntfs ntfs4096 4096

# build SECTOR_BYTES OPTION...: volume.img and the folder keys
build() {
  rm -rf keys
  mkdir keys
  "$MAKE_BITLOCKER" "ntfs$1" volume.img keys "sector=$1" "${@:2}"
}

# by_dislocker NAME OPTION...
by_dislocker() {
  rm -f out
  dislocker-file -q -V volume.img "${@:2}" -- out >log 2>&1 || fail "dislocker, $1: $(cat log)"
  cmp out keys/plain || fail "dislocker, $1"
}

# by_libbde NAME OPTION...
by_libbde() {
  bdemount "${@:2}" volume.img mnt >log 2>&1 || fail "bdemount, $1: $(cat log)"
  cmp mnt/bde1 keys/plain || fail "libbde, $1"
  fusermount3 -u mnt
}

for cipher in xts128 xts256 cbc128 cbc256 elephant128 elephant256; do
  for sector in 512 4096; do
    name="$cipher with sectors of $sector"
    build $sector cipher=$cipher external=ExternalKey
    by_dislocker "$name" -f keys/bek.0
    # This libbde takes half of the key of XTS-AES-256.
    [ $cipher = xts256 ] || by_libbde "$name" -s keys/bek.0
    echo "ok: $name"
  done
done

build 512 recovery=1 passphrase='correct horse' external='BitLocker Extension Key Protector' clear=1
by_dislocker "recovery password" "-p$(cat keys/recovery.0)"
by_dislocker "passphrase" "-ucorrect horse"
by_dislocker "external key" -f keys/bek.0
by_dislocker "clear key" -c
by_libbde "recovery password" -r "$(cat keys/recovery.0)"
by_libbde "passphrase" -p 'correct horse'
by_libbde "external key" -s keys/bek.0
echo "ok: protectors"

# Neither reader looks past the first recovery password or takes the BEK file of Windows 11;
# cryptsetup does, and needs no device mapper to say that a key fits.
by_cryptsetup() {
  cryptsetup open --type bitlk --test-passphrase --key-file "$2" volume.img 2>log ||
    fail "cryptsetup, $1: $(cat log)"
}
build 512 tpm=1 recovery=1 recovery=1 external=ExternalKey unknown=1
by_cryptsetup "first recovery password" keys/recovery.0
by_cryptsetup "second recovery password" keys/recovery.1
by_cryptsetup "BEK file" keys/bek.0
by_cryptsetup "BEK file of Windows 11" keys/bek180.0
echo "ok: second recovery password, BEK files"

export LC_ALL=C.UTF-8
build 512 passphrase='Ünïcødé Пароль 日本 🔑'
by_libbde "passphrase in Unicode" -p 'Ünïcødé Пароль 日本 🔑'
echo "ok: Unicode"

build 512 front=fat relocated-sectors=256 cipher=cbc128 external=ExternalKey
by_dislocker "To Go" -f keys/bek.0
by_libbde "To Go" -s keys/bek.0
echo "ok: To Go"

build 512 cipher=xts128 state=3 next=1 below=10000384 external=ExternalKey
bdemount -s keys/bek.0 volume.img mnt >log 2>&1 || fail "bdemount, half converted: $(cat log)"
# This libbde leaves out the last sector of such a volume.
cmp -n $(($(stat -c %s keys/plain) - 512)) mnt/bde1 keys/plain || fail "libbde, half converted"
fusermount3 -u mnt
echo "ok: half converted"
