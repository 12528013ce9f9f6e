#!/usr/bin/env bash
# latchkey bench and info --unlock-cost as a person meets them: the layers of a LUKS image and of a
# plain one, JSON and SVG, what control-C leaves behind (nothing), and an image that stays what it
# was. No figure is held against a time.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup sfdisk python3 jq
PATH=$PATH:/sbin:/usr/sbin
cd "$work"
export TMPDIR=$work
quick=(--seconds 0.2 --repetitions 2 --size 4M)
key=(--key-file pass)
layers=storage,container,decryption,nbd
if [ -r /dev/fuse ] && [ -w /dev/fuse ]; then layers=$layers,fuse; fi

# Nothing of a run is left: no private folder, no mount, no process.
nothing_left() {
  [ -z "$(find "$work" -mindepth 1 -maxdepth 1 -name 'latchkey-*')" ] || fail "$1: a folder is left"
  ! grep -q "$work/latchkey-" /proc/self/mountinfo || fail "$1: a mount is left"
  await no_servers || fail "$1: a process is left"
}
well_formed() {
  if command -v xmllint >/dev/null; then
    xmllint --noout "$1"
  else
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$1"
  fi
}

echo "== a LUKS image in a partition: every layer, three patterns"
make_luks luks.img 24M
truncate -s 40M disk.img
printf 'label: gpt\nstart=2048,size=49152\n' | sfdisk -q disk.img
dd if=luks.img of=disk.img bs=512 seek=2048 conv=notrunc status=none
before=$(digest disk.img)
"$LATCHKEY" bench "${quick[@]}" "${key[@]}" disk.img >text 2>stderr
[ ! -s stderr ] || fail "without a terminal it said: $(cat stderr)"
for line in 'where the time goes, p1 of disk.img' 'LUKS2, aes-xts-plain64' '^sequential$' \
  '^4 KiB at random, depth 1$' '^4 KiB at random, depth 32$' 'storage alone' '+ decryption' \
  '+ NBD' 'the largest part of the time goes to.*with NBD'; do
  grep -q -- "$line" text || fail "the table has no '$line': $(cat text)"
done
nothing_left "bench"

echo "== JSON and a picture"
"$LATCHKEY" bench "${quick[@]}" "${key[@]}" --json --svg p.svg disk.img >json
[ "$(jq -r '[.tables[0].results[].layer] | join(",")' json)" = "$layers" ] || fail "$(cat json)"
[ "$(jq -r '[.tables[] | .access + .unit + (.depth | tostring)] | join(",")' json)" = \
  "sequentialgb_per_s1,randomthousand_reads_per_s1,randomthousand_reads_per_s32" ] ||
  fail "$(cat json)"
jq -e '.benchmark == "image" and .settings.page_cache == "warm" and .settings.volume == "p1" and
  (.settings.range_bytes == 4194304) and (.machine.processor | length > 0) and
  ([.tables[].results[] | .median > 0 and .lowest <= .median and .median <= .highest and
    .repetitions == 2 and (.noisy | type) == "boolean" and has("adds_us")] | all) and
  ([.tables[] | [.results[].percent_of_nbd // 0] | add | . > 99.9 and . < 100.1] | all)' json \
  >/dev/null || fail "$(cat json)"
well_formed p.svg
size=$(stat -c %s p.svg)
expect 2 'exists' "$LATCHKEY" bench cipher --svg p.svg
[ "$(stat -c %s p.svg)" = "$size" ] || fail "the picture was changed"
"$LATCHKEY" bench cipher --cipher aes-xts-plain64 --seconds 0.05 --repetitions 2 --svg p.svg --force \
  >/dev/null
well_formed p.svg
expect 1 'are the same storage' "$LATCHKEY" bench "${quick[@]}" "${key[@]}" --svg disk.img --force disk.img
expect 5 'cannot write' "$LATCHKEY" bench cipher --svg absent/p.svg
expect 2 'requires --svg' "$LATCHKEY" bench cipher --force

echo "== without encryption, and with --locked"
for image in plain.img luks.img; do
  [ -e $image ] || head -c 8M /dev/urandom >$image
  "$LATCHKEY" bench "${quick[@]}" --locked --json $image >json 2>/dev/null
  jq -e '[.tables[0].results[].layer] | index("decryption") == null and index("nbd") == 2' json \
    >/dev/null || fail "$image: $(cat json)"
done
"$LATCHKEY" bench "${quick[@]}" --cold plain.img | grep -q 'page cache cold' || fail "not cold"
expect 3 'terminal' setsid -w "$LATCHKEY" bench "${quick[@]}" luks.img
expect 2 'IMAGE' "$LATCHKEY" bench
expect 2 'not a size' "$LATCHKEY" bench --size much plain.img
expect 2 'has no partition 7' "$LATCHKEY" bench --partition 7 disk.img
truncate -s 1000 small.img
expect 2 'less than 4096 bytes' "$LATCHKEY" bench small.img
nothing_left "refusals"

echo "== without FUSE it says so and goes on"
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
  unshare -m sh -c 'mount -t tmpfs none /dev/ && exec "$@"' sh \
    "$LATCHKEY" bench "${quick[@]}" --json plain.img >json
  jq -e '.notes | map(startswith("FUSE is left out: cannot use /dev/fuse")) | any' json >/dev/null ||
    fail "$(cat json)"
  jq -e '.tables[0].results | length == 3' json >/dev/null || fail "$(cat json)"
fi

echo "== a signal while it measures: nothing is left, and it died of the signal"
running() { ls "$work"/latchkey-*/nbd.sock >/dev/null 2>&1; }
for signal in INT TERM HUP; do
  env --default-signal "$LATCHKEY" bench --seconds 600 "${key[@]}" disk.img >/dev/null &
  process=$!
  await running || fail "it does not begin"
  kill -s "$signal" "$process"
  status=0
  wait "$process" || status=$?
  [ "$status" -eq $((128 + $(kill -l "$signal"))) ] || fail "SIG$signal: exit status $status"
  nothing_left "SIG$signal"
done
[ "$(digest disk.img)" = "$before" ] || fail "measuring changed the image"

echo "== at a terminal: a line that says how far it is, gone at the end"
cat >terminal.py <<'PY'
import os, pty, subprocess, sys
parent, child = pty.openpty()
run = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=child)
os.close(child)
said = b""
while True:
    try:
        got = os.read(parent, 4096)
    except OSError:
        break
    if not got:
        break
    said += got
assert run.wait() == 0, said
assert b"%  " in said and said.endswith(b"\r\x1b[K"), said
PY
python3 terminal.py "$LATCHKEY" bench "${quick[@]}" "${key[@]}" disk.img

echo "== info --unlock-cost"
cryptsetup luksAddKey -q --key-file pass --pbkdf argon2id --pbkdf-memory 32768 --pbkdf-parallel 1 \
  --pbkdf-force-iterations 4 luks.img pass
before=$(digest luks.img)
"$LATCHKEY" info --unlock-cost luks.img >text
[ "$(grep -c '^ *[0-9.]* s here$' text)" = 2 ] || fail "$(cat text)"
"$LATCHKEY" info --unlock-cost --json luks.img >json
jq -e '[.disk.volume.protectors[].unlock_cost.seconds > 0] == [true, true]' json >/dev/null ||
  fail "$(cat json)"
"$LATCHKEY" info --json luks.img >json
jq -e '[.disk.volume.protectors[].unlock_cost == null] == [true, true]' json >/dev/null ||
  fail "$(cat json)"
"$LATCHKEY" info --unlock-cost --max-kdf-memory 1M luks.img >text
grep -q 'not measured: argon2id wants 32 MiB.*--max-kdf-memory 32M' text || fail "$(cat text)"
"$LATCHKEY" info --unlock-cost --max-kdf-time 0.000001 luks.img >text
grep -q 'not measured: argon2id.*would take.*--max-kdf-time' text || fail "$(cat text)"
expect 2 'requires --unlock-cost' "$LATCHKEY" info --max-kdf-time 1 luks.img
[ "$(digest luks.img)" = "$before" ] || fail "looking changed the image"
echo "ok"
