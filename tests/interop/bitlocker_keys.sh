#!/usr/bin/env bash
# Every way into a BitLocker volume, as a person would try it: each kind of key by --key or
# --passphrase-file, the wrong ones, and the recovery passwords that an opened volume tells.
. "$(dirname "$0")/../support/lib.sh"
MAKE_BITLOCKER=${MAKE_BITLOCKER:?the program that builds the volumes}
need nbdcopy python3 xxd
cd "$work"
mkdir keys other
truncate -s 8M zeros
# An NTFS boot sector is what shows that a raw FVEK is right.
python3 - <<'PYTHON'
boot = bytearray(512)
boot[0:11] = b"\xeb\x52\x90NTFS    "
boot[11:13] = (512).to_bytes(2, "little")
boot[13] = 8
boot[40:48] = (16383).to_bytes(8, "little")
boot[48] = 4
boot[510:512] = b"\x55\xaa"
with open("zeros", "r+b") as volume:
    volume.write(boot)
    volume.seek(1048576)
    volume.write(bytes(range(256)) * 8192)
PYTHON
"$MAKE_BITLOCKER" zeros volume.img keys cipher=xts256 tpm=1 recovery=1 recovery=1 unknown=1 \
  'passphrase=Grüße 🔑' 'external=BitLocker Extension Key Protector'
"$MAKE_BITLOCKER" zeros stranger.img other seed=2 recovery=1 external=ExternalKey

# opens OPTION...: gives the plaintext.
opens() {
  "$LATCHKEY" serve volume.img "$@" --run 'nbdcopy "$uri" out' </dev/null 2>stderr ||
    fail "'$*': $(cat stderr)"
  cmp out keys/plain || fail "'$*' gives something else"
  echo "ok: $*"
}
export LATCHKEY

opens --key keys/recovery.0
opens --key keys/recovery.1
opens --key keys/bek.0
opens --key keys/bek180.0
printf 'Grüße 🔑\n' >phrase
opens --passphrase-file phrase
opens --key keys/vmk
opens --key keys/fvek
xxd -p -c 200 keys/vmk >vmk.hex
opens --key vmk.hex
xxd -p -c 200 keys/fvek | tr a-f A-F >fvek.hex
opens --key fvek.hex
# A folder, as a stick with keys of several volumes is one: the right file is found by its GUID.
mkdir stick
cp other/*.BEK keys/*.BEK stick
opens --key stick
# Several keys: one fits.
opens --key other/recovery.0 --key other/bek.0 --key keys/recovery.1

echo "wrong ones"
expect 3 "tried" "$LATCHKEY" serve volume.img --key other/recovery.0 --run true
expect 3 "tried" "$LATCHKEY" serve volume.img --key other/bek.0 --run true
printf 'gruesse' >phrase
expect 3 "tried" "$LATCHKEY" serve volume.img --passphrase-file phrase --run true
cp zeros key.disk
truncate -s 9M key.disk
expect 2 'latchkey mount key.disk DIR, then --key DIR' "$LATCHKEY" serve volume.img --key key.disk --run true
printf 'Gr\xfc\xdfe' >phrase
expect 2 "UTF-8" "$LATCHKEY" serve volume.img --passphrase-file phrase --run true
expect 3 "tried" "$LATCHKEY" serve volume.img --key other/vmk --run true
tr 0-9 1-90 <keys/recovery.0 >digits
status=0
"$LATCHKEY" serve volume.img --key digits --run true 2>stderr </dev/null || status=$?
[ $status -ne 0 ] || fail "a mistyped recovery password opens"
cat stderr
expect 3 "a key is needed" "$LATCHKEY" serve volume.img --run true

echo "recovery passwords"
for key in keys/bek.0 keys/recovery.1 keys/vmk; do
  "$LATCHKEY" key recovery-password volume.img --key "$key" >told </dev/null
  for i in 0 1; do grep -q "$(cat keys/recovery.$i)" told || fail "$key: $(cat told)"; done
done
expect 3 "tried" "$LATCHKEY" key recovery-password volume.img --key other/bek.0

echo "a volume that needs no key"
"$MAKE_BITLOCKER" zeros volume.img keys tpm=1 clear=1
opens
"$LATCHKEY" info volume.img >told
grep -qi suspended told || fail "info: $(cat told)"
echo "all as it should be"
