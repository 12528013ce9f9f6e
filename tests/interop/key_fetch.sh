#!/usr/bin/env bash
# latchkey key fetch against a stand-in for Key Vault that checks every request it gets.
. "$(dirname "$0")/../support/lib.sh"
need openssl python3 jq
here=$(cd "$(dirname "$0")" && pwd)
cd "$work"
run() { "$LATCHKEY" key fetch "$@" </dev/null; }

printf 'the passphrase of a Linux VM, which is text' >passphrase
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out kek.pem 2>openssl.log
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other.pem 2>openssl.log
openssl pkeyutl -encrypt -inkey kek.pem -pkeyopt rsa_padding_mode:oaep -in passphrase -out wrapped
url64() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
python3 "$here/vault_stand_in.py" "$work" &
port_is_known() { [ -s port ]; }
await port_is_known || fail "the stand-in does not start"
vault=http://127.0.0.1:$(cat port)
# secret NAME VALUE KEK-URL
secret() {
  jq -n --arg value "$2" --arg kek "$3" --arg id "$vault/secrets/$1/1" '{value: $value, id: $id,
    contentType: (if $kek == "" then "BEK" else "Wrapped BEK" end),
    attributes: {enabled: true, created: 1588096321},
    tags: (if $kek == "" then {} else {DiskEncryptionKeyEncryptionKeyURL: $kek,
      DiskEncryptionKeyEncryptionAlgorithm: "RSA-OAEP"} end)}' >"$1.json"
}
for name in plain busy shaky; do secret $name "$(base64 -w0 passphrase)" ''; done
secret wrapped "$(url64 <wrapped)" "$vault/keys/kek/0011"
secret gone "$(url64 <wrapped)" "$vault/keys/other/1"
secret elsewhere "$(url64 <wrapped)" https://vault.example.com/keys/kek/0011
# In the clear, whatever their tags say.
secret mistagged "$(base64 -w0 passphrase)" "$vault/keys/kek/0011"
secret odd "$(head -c 41 /dev/urandom | base64 -w0)" "$vault/keys/kek/0011"
password=042647-302313-590458-071500-554323-116567-412181-516978 # is base64, too
secret recovery $password ''
printf 'eyJ0.stand-in.token\n' >token
printf 'expired\n' >stale

echo "== plain, wrapped, and after a while"
run $vault/secrets/plain -o plain.key --token-file token >out
cmp plain.key passphrase
[ "$(stat -c %a plain.key)" = 600 ] || fail "the key is readable for others"
grep -q "$vault" out && fail "the address is not the point of the output"
grep -q -- '--key plain.key' out || fail "no next step: $(cat out)"
LATCHKEY_VAULT_TOKEN=$(cat token) run "$vault/secrets/plain/1?api-version=2016-10-01" -o again.key >out
cmp again.key passphrase
run $vault/secrets/wrapped -o vault.key --token-file token >out
cmp vault.key passphrase
grep -q 'unwrapped by the vault' out || fail "$(cat out)"
run $vault/secrets/wrapped -o here.key --token-file token --kek kek.pem >out
cmp here.key passphrase
grep -q 'unwrapped by RSA-OAEP' out || fail "$(cat out)"
expect 0 'answered 429: again in 1 s' run $vault/secrets/busy -o busy.key --token-file token
expect 0 'answered 503: again in 1 s' run $vault/secrets/shaky -o shaky.key --token-file token
cmp busy.key passphrase
cmp shaky.key passphrase

echo "== the requests were those of the interface"
cat >wanted <<'END'
GET /secrets/plain?api-version=7.4 200
GET /secrets/plain/1?api-version=7.4 200
GET /secrets/wrapped?api-version=7.4 200
POST /keys/kek/0011/unwrapkey?api-version=7.4 200
GET /secrets/wrapped?api-version=7.4 200
GET /secrets/busy?api-version=7.4 429
GET /secrets/busy?api-version=7.4 200
GET /secrets/shaky?api-version=7.4 503
GET /secrets/shaky?api-version=7.4 200
END
diff wanted requests || fail "other requests"

echo "== what the vault refuses"
new() { rm -f new.key; run "$@" -o new.key; }
expect 1 'does not accept the token (401): AKV10032' new $vault/secrets/plain --token-file stale
expect 1 'may not do that (403): The user has no' new $vault/secrets/forbidden --token-file token
expect 1 'there is none (404)' new $vault/secrets/absent --token-file token
expect 1 'key other: there is none (404)' new $vault/secrets/gone --token-file token
expect 1 'answered 302' new $vault/secrets/moved --token-file token
expect 5 'not Key Vault' new $vault/secrets/other --token-file token
[ ! -e new.key ] || fail "a file was made although nothing was fetched"

echo "== what is not even asked"
: >requests
expect 1 'the token for 127.0.0.1 is not sent there' new $vault/secrets/elsewhere --token-file token
[ "$(wc -l <requests)" = 1 ] || fail "the token went elsewhere: $(cat requests)"
: >requests
new $vault/secrets/mistagged --token-file token >out
cmp new.key passphrase
expect 3 'is wrapped with the key-encryption key' new $vault/secrets/odd --token-file token
new $vault/secrets/recovery --token-file token >out
[ "$(cat new.key)" = $password ] || fail "the recovery password was decoded"
[ "$(grep -c ^GET requests)" = 3 ] && [ "$(wc -l <requests)" = 3 ] ||
  fail "a secret in the clear was sent to the vault: $(cat requests)"
: >requests
expect 2 'exists already' run $vault/secrets/plain -o plain.key --token-file token
expect 2 'by https only' new http://v.vault.azure.net/secrets/plain --token-file token
expect 2 'not the address of a secret' new $vault/keys/kek --token-file token
expect 2 'not the address of a secret' new v/plain --token-file token
[ ! -s requests ] || fail "it asked: $(cat requests)"
expect 3 'does not unwrap it' new $vault/secrets/wrapped --token-file token --kek other.pem
kill %1
wait %1 2>/dev/null || true
expect 5 'secret plain: ' new $vault/secrets/plain --token-file token

echo "== a token out of the Azure CLI"
mkdir bin
cat >bin/az <<'END'
#!/bin/sh
[ "$*" = 'account get-access-token --resource https://vault.azure.net --query accessToken --output tsv' ] ||
  { echo "az was called with $*" >&2; exit 1; }
[ -e "$AZ_STATE" ] || { echo 'ERROR: Please run az login' >&2; exit 1; }
cat "$AZ_STATE"
END
chmod +x bin/az
export AZ_STATE=$work/signed-in
PATH=$work/bin:$PATH expect 3 'az gives no token' new $vault/secrets/plain
rm port
python3 "$here/vault_stand_in.py" "$work" &
await port_is_known || fail "the stand-in does not start again"
vault=http://127.0.0.1:$(cat port)
cp token signed-in
PATH=$work/bin:$PATH new $vault/secrets/plain
cmp new.key passphrase
