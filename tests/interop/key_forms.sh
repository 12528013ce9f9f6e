#!/usr/bin/env bash
# A real BEK in every form in which people hold keys: as it is, in vaults' JSON, wrapped by the
# openssl command and in SoftHSM. Each opens the volume it belongs to, and gives its plaintext.
. "$(dirname "$0")/../support/lib.sh"
need openssl python3 jq nbdcopy nbdinfo softhsm2-util pkcs11-tool
corpus=${LATCHKEY_CORPUS:-}
id=4381F759-C4F8-4DE0-BB61-FC33A831BDA5
bek=$corpus/bitlocker/$id.BEK
image=$corpus/bitlocker/aes-xts-128-startup-key.img
[ -n "$corpus" ] && [ -e "$bek" ] && [ -e "$image" ] || skip "no corpus: LATCHKEY_CORPUS"
cd "$work"
run() { "$LATCHKEY" "$@" </dev/null; }
opens() { run serve "$image" "$@" --run 'nbdinfo --size "$uri"' >size 2>stderr ||
  fail "$*: $(cat stderr)"; }
url64() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
kek_url=https://v.vault.azure.net/keys/kek/0011
# bundle VALUE CONTENT-TYPE ALGORITHM: what the vault's REST interface gives.
bundle() {
  jq -n --arg value "$1" --arg type "$2" --arg algorithm "$3" --arg kek "$kek_url" --arg id $id '
    {value: $value, contentType: $type, id: "https://v.vault.azure.net/secrets/\($id)/1",
     attributes: {enabled: true, created: 1588096321},
     tags: ({DiskEncryptionKeyFileName: "\($id).BEK", MachineName: "vm1", VolumeLetter: "C:\\"}
       + if $algorithm == "" then {} else {DiskEncryptionKeyEncryptionKeyURL: $kek,
           DiskEncryptionKeyEncryptionAlgorithm: $algorithm} end)}'
}

echo "== not wrapped"
value=$(base64 -w0 "$bek")
opens --key "$bek"
run serve "$image" --key "$bek" --run 'nbdcopy "$uri" plain' || fail "the volume cannot be read"
wanted=$(awk -F'\t' '$1 ~ /startup-key/ && $2 == "bek" { print $6 }' "$corpus/expected.tsv")
[ "$(digest plain)" = "$wanted" ] || fail "the plaintext is not the volume's"
bundle "$value" BEK '' >rest.json
jq '.attributes.created = "2025-09-13T14:00:16+00:00" | .name = "x" | .kid = null' rest.json >az.json
jq '{SecretValue: {Length: 208}, SecretValueText: .value, Attributes: {Created:
  "/Date(1588096321000)/", ContentType: .contentType, Tags: .tags}, Name: "x",
  Id: "https://v.vault.azure.net:443/secrets/x/1"}' rest.json >powershell.json
{ printf '\377\376'; iconv -f UTF-8 -t UTF-16LE powershell.json; } >powershell16.json
{ printf '\357\273\277'; cat az.json; } >bom.json
other=$(head -c 156 /dev/urandom | base64 -w0)
jq -s --arg other "$other" '[{id: "https://v/secrets/old", value: $other}, .[0]]' rest.json >list.json
echo "$value" >bare.txt
tr '+/' '-_' <bare.txt | tr -d '=' >bare-url.txt
jq .value rest.json >quoted.txt
fold -w 64 bare.txt | sed 's/$/\r/' >mail.txt
mkdir volume
cp "$bek" volume/
head -c 156 /dev/urandom >volume/00000000-0000-0000-0000-000000000000.BEK
for file in rest.json az.json powershell.json powershell16.json bom.json list.json bare.txt \
  bare-url.txt quoted.txt mail.txt volume; do
  opens --key $file
done
head -c 100 "$bek" >cut.BEK
expect 4 'cut short: its header says 156 bytes, 100 are here' run serve "$image" --key cut.BEK --run true
bundle "${value:0:101}" BEK '' >cut.json
expect 4 'cut short' run serve "$image" --key cut.json --run true
bundle "${value:0:50}*${value:51}" BEK '' >altered.json
expect 4 'character 51 does not belong' run serve "$image" --key altered.json --run true
head -c 300 rest.json >half.json
expect 4 'not whole JSON' run serve "$image" --key half.json --run true

echo "== wrapped with RSA, by the openssl command"
for bits in 2048 3072; do
  openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:$bits -out kek$bits.pem 2>openssl.log ||
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:$bits -out kek$bits.pem 2>openssl.log
done
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other.pem 2>openssl.log
declare -A padding=(
  [RSA-OAEP]='-pkeyopt rsa_padding_mode:oaep'
  [RSA-OAEP-256]='-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256'
  [RSA1_5]='-pkeyopt rsa_padding_mode:pkcs1')
for bits in 2048 3072; do
  for algorithm in RSA-OAEP RSA-OAEP-256 RSA1_5; do
    openssl pkeyutl -encrypt -inkey kek$bits.pem ${padding[$algorithm]} -in "$bek" -out $algorithm.$bits
    bundle "$(url64 <$algorithm.$bits)" 'Wrapped BEK' $algorithm >$algorithm.$bits.json
    opens --key $algorithm.$bits.json --kek kek$bits.pem
    url64 <$algorithm.$bits >$algorithm.$bits.txt
    opens --key $algorithm.$bits.txt --kek kek$bits.pem
    jq '.tags.DiskEncryptionKeyEncryptionAlgorithm = "RSA-OAEP"' $algorithm.$bits.json >mistagged.json
    opens --key mistagged.json --kek kek$bits.pem
  done
done
wrapped=RSA-OAEP.2048.json
jq --arg kek $kek_url '{OsDiskKeyAndSecretDetails: {KeyUrl: $kek, KeyBackupData: "eA==",
  SecretUrl: .id, SecretData: .value}}' $wrapped >vmencryption_config.json
opens --key vmencryption_config.json --kek kek2048.pem

echo "== a key-encryption key in each of its forms"
printf 'open sesame\n' >kek.pass
openssl pkcs8 -topk8 -in kek2048.pem -out kek.p8 -passout file:kek.pass
openssl pkcs8 -topk8 -nocrypt -in kek2048.pem -outform DER -out kek.der
openssl req -new -x509 -key kek2048.pem -subj /CN=kek -days 2 -out kek.crt 2>openssl.log
openssl pkcs12 -export -inkey kek2048.pem -in kek.crt -out kek.pfx -passout file:kek.pass
openssl rsa -in kek2048.pem -traditional -out kek.rsa 2>openssl.log
for kek in kek.der kek.rsa; do opens --key $wrapped --kek $kek; done
for kek in kek.p8 kek.pfx; do
  opens --key $wrapped --kek $kek --kek-passphrase-file kek.pass
  expect 3 'the passphrase does not open' run serve "$image" --key $wrapped --kek $kek \
    --kek-passphrase-file kek2048.pem --run true
done
expect 3 'the passphrase of kek.p8 is needed' setsid -w "$LATCHKEY" serve "$image" --key $wrapped --kek kek.p8 --run true
expect 2 'only the public part' run serve "$image" --key $wrapped --kek kek.crt --run true

echo "== what is wrong is said, each in its own words"
expect 3 "wrapped with the key-encryption key $kek_url" run serve "$image" --key $wrapped --run true
expect 3 "^hint:.*az rest --method post --url '$kek_url/unwrapkey?api-version=" \
  run serve "$image" --key $wrapped --run true
expect 3 'does not unwrap it (tried RSA-OAEP, RSA-OAEP-256, RSA1_5): another key' \
  run serve "$image" --key $wrapped --kek other.pem --run true
expect 3 'wrapped with another key, of 2048 bits' \
  run serve "$image" --key $wrapped --kek kek3072.pem --run true
bundle "$(head -c 250 RSA-OAEP.2048 | url64)" 'Wrapped BEK' RSA-OAEP >cut.json
expect 3 'it has 250 bytes.*cut short' run serve "$image" --key cut.json --kek kek2048.pem --run true
python3 - <<'END'
data = bytearray(open("RSA-OAEP.2048", "rb").read())
data[100] ^= 1
open("altered", "wb").write(data)
END
bundle "$(url64 <altered)" 'Wrapped BEK' RSA-OAEP >altered.json
expect 3 'or it was altered' run serve "$image" --key altered.json --kek kek2048.pem --run true
bundle "$(url64 <RSA-OAEP.2048)" 'Wrapped BEK' A256KW >mistagged.json
expect 3 'wrapped by A256KW, which the RSA-2048 key' \
  run serve "$image" --key mistagged.json --kek kek2048.pem --run true

echo "== unwrapped by the vault"
jq -n --arg value "$(url64 <"$bek")" --arg kid $kek_url '{kid: $kid, value: $value}' >unwrapped.json
opens --kek-unwrapped unwrapped.json
opens --key $wrapped --kek-unwrapped unwrapped.json

echo "== AES key wrap"
# 156 bytes are no multiple of 8, which AES key wrap needs: a line end makes it 160 of padding.
{ cat "$bek"; printf '\0\0\0\0'; } >padded
for bits in 128 192 256; do
  openssl rand -out aes$bits $((bits / 8))
  openssl enc -id-aes$bits-wrap -e -K "$(xxd -p -c 64 aes$bits)" -iv A6A6A6A6A6A6A6A6 -in padded -out kw$bits
  bundle "$(url64 <kw$bits)" 'Wrapped BEK' A${bits}KW >kw.json
  opens --key kw.json --kek aes$bits
done
expect 3 'does not unwrap it' run serve "$image" --key kw.json --kek aes128 --run true

echo "== an HSM: SoftHSM, through p11-kit"
mkdir tokens
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\n' "$work" >softhsm.conf
export SOFTHSM2_CONF=$work/softhsm.conf
softhsm2-util --init-token --free --label 'test token' --pin 4321 --so-pin 8765 >hsm.log 2>&1 ||
  fail "softhsm2-util: $(cat hsm.log)"
softhsm2-util --import kek.der.p8 --token 'test token' --label kek --id 01 --pin 4321 >hsm.log 2>&1 || {
  openssl pkcs8 -topk8 -nocrypt -in kek2048.pem -out kek.plain.p8
  softhsm2-util --import kek.plain.p8 --token 'test token' --label kek --id 01 --pin 4321 >hsm.log 2>&1 ||
    fail "softhsm2-util: $(cat hsm.log)"
}
printf '4321\n' >pin
printf '1111\n' >badpin
for uri in 'pkcs11:token=test%20token;object=kek' 'pkcs11:token=test%20token;id=%01;type=private'; do
  for algorithm in RSA-OAEP RSA1_5; do
    opens --key $algorithm.2048.json --kek "$uri" --pin-file pin
  done
done
expect 4 'cannot do RSA-OAEP-256' run serve "$image" --key RSA-OAEP-256.2048.json --kek "$uri" --pin-file pin --run true
expect 3 'does not take the PIN' run serve "$image" --key $wrapped --kek "$uri" --pin-file badpin --run true
expect 2 'may not be in the URI' run serve "$image" --key $wrapped --kek "$uri?pin-value=4321" --run true
expect 2 'no token matches' run serve "$image" --key $wrapped --kek 'pkcs11:token=none' --pin-file pin --run true
expect 3 'the PIN of token test token is needed' setsid -w "$LATCHKEY" serve "$image" --key $wrapped --kek "$uri" --run true

echo "== key show tells all but the key"
secret=$(tail -c 32 "$bek" | xxd -p -c 64)
for file in "$bek" rest.json bare.txt; do
  run key show "$file" >shown
  grep -q "$id" shown || fail "show $file: $(cat shown)"
  ! grep -qi "${secret:0:16}" shown && ! grep -qF "${value:180:16}" shown || fail "show $file shows the key"
done
run key show $wrapped >shown
for text in 'wrapped' "$kek_url" 'RSA-OAEP' 'vm1' '2020-04-28 17:52:01' 'RSA-2048'; do
  grep -qF -- "$text" shown || fail "show does not say $text: $(cat shown)"
done
run key show --json $wrapped | jq -e '.keys[0].wrapped and .keys[0].kek_url' >/dev/null || fail "show --json"

echo "== the recovery passwords of a volume that a BEK opens"
run key recovery-password "$image" --key $wrapped --kek kek2048.pem >recovery 2>stderr || fail "$(cat stderr)"
recovery=$(awk -F'\t' '$1 ~ /startup-key/ && $2 == "recovery" { print $3 }' "$corpus/expected.tsv")
grep -q "^[0-9A-F-]\{36\}  $recovery\$" recovery || fail "recovery-password printed: $(cat recovery)"
[ "$(wc -l <recovery)" = 1 ] || fail "recovery-password printed more: $(cat recovery)"
cut -d' ' -f3 recovery >typed
opens --key typed
opens --passphrase-file typed
