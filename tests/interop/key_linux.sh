#!/usr/bin/env bash
# The passphrase of a Linux VM that Azure encrypted: a LUKS volume made by cryptsetup, opened with
# the passphrase in each form in which people have it.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup openssl jq nbdinfo
PATH=$PATH:/sbin:/usr/sbin
cd "$work"
run() { "$LATCHKEY" "$@" </dev/null; }
url64() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
# opens IMAGE KEY-OPTIONS...
opens() {
  local image=$1
  shift
  run serve "$image" "$@" --run true 2>stderr || fail "$image $*: $(cat stderr)"
}
# volume IMAGE KEY-FILE
volume() {
  truncate -s 4M "$1"
  cryptsetup luksFormat -q --type luks2 --luks2-metadata-size 16k --luks2-keyslots-size 1m \
    --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$2" "$1" >luks.log 2>&1 ||
    fail "cryptsetup: $(cat luks.log)"
}
openssl rand -out random 127
base64 -w0 random >LinuxPassPhraseFileName
{ cat LinuxPassPhraseFileName; echo; } >with-line-end
volume plain.img LinuxPassPhraseFileName
volume ended.img with-line-end
volume decoded.img random
value=$(base64 -w0 LinuxPassPhraseFileName)
# secret VALUE KEK-URL
secret() {
  jq -n --arg value "$1" --arg kek "$2" '{value: $value, id: "https://v.vault.azure.net/secrets/N/1",
    contentType: (if $kek == "" then "BEK" else "Wrapped BEK" end), attributes: {created: 1588096321},
    tags: ({DiskEncryptionKeyFileName: "LinuxPassPhraseFileName",
      DiskEncryptionKeyEncryptionAlgorithm: "RSA-OAEP"}
      + if $kek == "" then {} else {DiskEncryptionKeyEncryptionKeyURL: $kek} end)}'
}
secret "$value" '' >secret.json
printf '%s' "$value" >value
printf '%s\n' "$value" >value-line
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out kek.pem 2>openssl.log
openssl pkeyutl -encrypt -inkey kek.pem -pkeyopt rsa_padding_mode:oaep -in LinuxPassPhraseFileName \
  -out wrapped
secret "$(url64 <wrapped)" https://v.vault.azure.net/keys/kek/1 >wrapped.json
mkdir bek
cp LinuxPassPhraseFileName bek/LinuxPassPhraseFileName_1_0

echo "== whatever the key looks like, and whatever it was made from"
for image in plain.img ended.img decoded.img; do
  for key in LinuxPassPhraseFileName with-line-end secret.json value value-line bek; do
    opens $image --key $key
  done
  opens $image --key wrapped.json --kek kek.pem
done

echo "== the reading that fitted is told"
told() { grep -qF "disk opened: keyslot 0 with $1" stderr || fail "not told: $1: $(cat stderr)"; }
opens plain.img --key secret.json
told "secret N in 'secret.json', decoded from base64"
opens decoded.img --key secret.json
told "secret N in 'secret.json', decoded from base64 twice"
opens ended.img --key LinuxPassPhraseFileName
told "'LinuxPassPhraseFileName', with a line end"
opens plain.img --key wrapped.json --kek kek.pem
told "secret N in 'wrapped.json', unwrapped by RSA-OAEP"
opens plain.img --key LinuxPassPhraseFileName
[ ! -s stderr ] || fail "the plain reading is news: $(cat stderr)"

echo "== a key that does not fit: the readings that were tried are named"
base64 -w0 <(openssl rand 127) >other
volume other.img other
expect 3 'secret N in .secret.json., decoded from base64 on keyslot 0' \
  run serve other.img --key secret.json --run true
expect 3 'decoded from base64 twice' run serve other.img --key secret.json --run true
expect 3 'with a line end' run serve other.img --key secret.json --run true
expect 3 'unwrapped by RSA-OAEP' run serve other.img --key wrapped.json --kek kek.pem --run true
expect 3 'wrapped with the key-encryption key' run serve plain.img --key wrapped.json --run true
