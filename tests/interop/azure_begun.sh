#!/usr/bin/env bash
# A disk copied while Azure encrypts its root partition: before the first sector (its signature is
# still in sight, and its header already on /boot), and somewhere in the middle. Either way the
# plaintext is what it was, without --header. cryptsetup encrypts; it is killed on the way.
. "$(dirname "$0")/../support/lib.sh"
need sfdisk mke2fs cryptsetup nbdcopy

printf pw >"$work/key"
key=(--key-file "$work/key")
plain=$work/plain
truncate -s 64M "$plain"
mkdir "$work/tree"
head -c 50000000 /dev/urandom >"$work/tree/file"
mke2fs -q -t ext4 -L root -d "$work/tree" "$plain"
cp "$plain" "$work/root"

new_disk() {
  mkdir -p "$work/boot/luks"
  cp "$work/header" "$work/boot/luks/osluksheader"
  rm -f "$work/bootfs" "$work/disk"
  mke2fs -q -t ext4 -d "$work/boot" "$work/bootfs" 48M 2>/dev/null
  truncate -s 114M "$work/disk"
  printf 'label: gpt\nstart=2048,size=98304\nstart=100352,size=131072\n' | sfdisk -q "$work/disk"
  dd if="$work/bootfs" of="$work/disk" bs=1M seek=1 conv=notrunc status=none
  dd if="$work/root" of="$work/disk" bs=1M seek=49 conv=notrunc status=none
}

check() {
  new_disk
  "$LATCHKEY" info "$work/disk" >"$work/info"
  grep -q 'state .*encryption, forward' "$work/info" || fail "info: $(cat "$work/info")"
  "$LATCHKEY" serve "$work/disk" "${key[@]}" --run 'nbdcopy "$uri" "'"$work"'/out"'
  cmp "$plain" "$work/out"
  expect 3 'p2' "$LATCHKEY" serve "$work/disk" --key-file "$work/pass" --run true
}

echo "== prepared, not begun"
cryptsetup reencrypt --encrypt --init-only --type luks2 -q --header "$work/header" \
  --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "${key[@]}" "$work/root"
cmp -s "$plain" "$work/root" || fail "cryptsetup has begun"
check

for resilience in checksum journal; do
  echo "== cut off in the middle, resilience $resilience"
  cp "$plain" "$work/root"
  rm "$work/header"
  cryptsetup reencrypt --encrypt --init-only --type luks2 -q --header "$work/header" \
    --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "${key[@]}" "$work/root"
  cryptsetup reencrypt --resume-only --force-offline-reencrypt -q --hotzone-size 1M \
    --resilience $resilience --header "$work/header" "${key[@]}" "$work/root" >/dev/null 2>&1 &
  begun() { ! cmp -s -n 3000000 "$plain" "$work/root"; }
  await begun || fail "cryptsetup does not begin"
  kill -9 $! 2>/dev/null || true
  wait $! 2>/dev/null || true
  cryptsetup luksDump "$work/header" | grep -q 'Requirements:.*reencrypt' ||
    skip "cryptsetup was done before it could be stopped"
  check
done
echo "ok"
