#!/usr/bin/env bash
# Memory is bounded: at most 64 MiB resident while 8 connections read, and while they write, with
# requests of 32 MiB in flight; and what an expensive key derivation took has been given back
# before the first request.
. "$(dirname "$0")/../support/lib.sh"
[ -z "${SANITIZED:-}" ] || skip "a sanitizer takes memory of its own"
need nbdcopy cryptsetup
PATH=$PATH:/sbin:/usr/sbin
cd "$work"
most_kib=$((64 * 1024))

printf secret >pass
truncate -s 400M luks.img
cryptsetup luksFormat -q --type luks2 --pbkdf argon2id --pbkdf-force-iterations 4 \
  --pbkdf-memory 262144 --pbkdf-parallel 1 --key-file pass luks.img

# resident SERVER COPY: the most that the server had while the copy ran.
resident() {
  local most=0 now
  while kill -0 "$2" 2>/dev/null; do
    now=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$1/status")
    [ "${now:-0}" -le "$most" ] || most=$now
  done
  echo "$most"
}

# measured WHAT FROM TO
measured() {
  local copy most
  nbdcopy --connections=8 --requests=4 --request-size=$((32 << 20)) "$2" "$3" &
  copy=$!
  most=$(resident "$server" "$copy")
  wait "$copy" || fail "nbdcopy while $1"
  echo "$1: $most KiB resident"
  [ "$most" -gt 0 ] || fail "$1 was over before it could be looked at"
  [ "$most" -le "$most_kib" ] || fail "$1 takes $most KiB"
}

serve() {
  rm -f socket
  "$LATCHKEY" serve luks.img --passphrase-file pass --socket "$work/socket" "$@" >/dev/null &
  server=$!
  await test -S socket || fail "no server"
}
uri="nbd+unix:///?socket=$work/socket"

serve
[ "$(awk '$1 == "VmHWM:" { print $2 }' /proc/$server/status)" -gt 262144 ] ||
  fail "the key derivation took no memory: this test sees nothing"
before=$(awk '$1 == "VmRSS:" { print $2 }' /proc/$server/status)
echo "after unlocking: $before KiB resident"
[ "$before" -le "$most_kib" ] || fail "the key derivation's memory was kept"
measured reading "$uri" null:
kill "$server"
wait "$server" || fail "the server ended with $?"

truncate -s 384M data
serve --read-write
measured writing data "$uri"
kill "$server"
wait "$server" || fail "the server ended with $?"
