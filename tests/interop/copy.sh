#!/usr/bin/env bash
# `latchkey copy` as a user would run it: what it makes, what it refuses, how it is stopped and gone
# on with; qemu-img, nbdkit and cryptsetup have to agree.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup openssl qemu-img qemu-nbd nbdkit nbdcopy mkfs.ext4
PATH=$PATH:/sbin:/usr/sbin
cd "$work"
run() { "$LATCHKEY" "$@" </dev/null; }
cheap=(--pbkdf pbkdf2 --pbkdf-iterations 1000)
printf 'first\n' >first
printf 'second\n' >second
serve_with_nbdkit() { # NAME ARGUMENT...
  nbdkit -f -U "$1.sock" -P "$1.pid" "${@:2}" 2>/dev/null &
  await test -s "$1.pid" || fail "nbdkit does not start"
}
# A file that is what nbdkit serves is a mount of nbdfuse, which root may make.
has_nbdfuse() { [ "$(id -u)" = 0 ] && [ -w /dev/fuse ] && command -v nbdfuse >/dev/null; }
show_as_file() { # NAME: the server's disk as NAME/disk
  mkdir "$1"
  nbdfuse "$1/disk" "nbd+unix:///?socket=$work/$1.sock" 2>/dev/null &
  await test -s "$1/disk" || fail "nbdfuse shows nothing"
}
stop_nbdkit() {
  local pid
  pid=$(cat "$1.pid")
  kill "$pid"
  wait "$pid" || true
}
same() { qemu-img compare -q -f raw -F "$1" plain.raw "$2" || fail "$2 differs from the plaintext"; }

echo "== an image to copy: ext4 with holes and files in LUKS2 in GPT in a VHD"
run format disk.vhd --size 80M --container vhd --partition gpt --mkfs ext4 \
  --passphrase-file first "${cheap[@]}" >/dev/null
head -c 20000000 /dev/urandom >noise
run serve disk.vhd --read-write --passphrase-file first --run \
  'qemu-img convert -n --target-is-zero -f raw -O raw noise "$uri"' >/dev/null
run copy disk.vhd plain.raw --passphrase-file first >said
grep -q '^plain.raw: 62.0 MiB of p1 (' said || fail "said: $(cat said)"
sha256sum --quiet -c plain.raw.sha256 || fail "the digest file"
run serve disk.vhd --passphrase-file first --run 'nbdcopy "$uri" - | sha256sum' | cut -d' ' -f1 >by-nbd
grep -q "^sha256: $(cat by-nbd)\$" said || fail "NBD gives $(cat by-nbd), but: $(cat said)"
grep -q "\"sha256\": \"$(cat by-nbd)\"" plain.raw.json || fail "the manifest: $(cat plain.raw.json)"
for file in plain.raw plain.raw.json plain.raw.sha256; do
  [ "$(stat -c %a $file)" = 600 ] || fail "$file has mode $(stat -c %a $file)"
done
[ ! -e plain.raw.copying ] || fail "a finished copy looks unfinished"

echo "== every kind of file"
run copy disk.vhd a.vhd --passphrase-file first >/dev/null && same vpc a.vhd
[ "$(stat -c %s a.vhd)" = $((62 * 1024 * 1024 + 512)) ] || fail "a fixed VHD of $(stat -c %s a.vhd)"
run copy disk.vhd b --format vhd-dynamic --verify --passphrase-file first >said && same vpc b
grep -q '^verified: ' said || fail "said: $(cat said)"
sha256sum --quiet -c b.sha256 || fail "the digest of a dynamic VHD"
for format in raw vhd vhd-dynamic; do
  for luks in luks1 luks2; do
    run copy disk.vhd c --format $format --encrypt --$luks --new-passphrase-file second "${cheap[@]}" \
      --verify --passphrase-file first --force >/dev/null || fail "$luks in $format"
    run copy c back.raw --passphrase-file second --force >/dev/null
    cmp plain.raw back.raw || fail "$luks in $format came back different"
    [ $format = raw ] || continue
    printf second | cryptsetup open --test-passphrase --disable-locks --key-file - c ||
      fail "cryptsetup does not open $luks"
    expect 3 'no key fits' run copy c x --passphrase-file first
    [ ! -e x ] && [ ! -e x.copying ] || fail "a wrong key left a file"
  done
done
# A LUKS1 volume is one that qemu-img opens, too.
run copy disk.vhd c --encrypt --luks1 --new-passphrase-file second "${cheap[@]}" \
  --passphrase-file first --force >/dev/null
printf second >second.key
qemu-img compare -q --object secret,id=key,file=second.key --image-opts \
  driver=luks,key-secret=key,file.filename=c driver=raw,file.filename=plain.raw ||
  fail "qemu-img reads something else"
run copy plain.raw made.img --encrypt --generate-key made.key "${cheap[@]}" >/dev/null
[ "$(stat -c %s,%a made.key)" = 32,600 ] || fail "a key of $(stat -c %s,%a made.key)"
run copy made.img back.raw --key-file made.key --force >/dev/null && cmp plain.raw back.raw

echo "== the whole disk, its volume in place"
run copy disk.vhd whole.raw --disk --passphrase-file first >/dev/null
sfdisk --verify whole.raw >/dev/null 2>&1 || fail "sfdisk does not like the table"
cmp -n $((62 * 1024 * 1024)) -i $((1024 * 1024)):0 whole.raw plain.raw || fail "the volume in its disk"
run copy disk.vhd p1.raw --partition 1 --passphrase-file first --no-manifest >/dev/null
cmp p1.raw plain.raw && [ ! -e p1.raw.json ] && [ ! -e p1.raw.sha256 ] || fail "--no-manifest"
expect 3 'passphrase' run copy disk.vhd x
run copy disk.vhd cipher.raw --disk --locked >/dev/null 2>&1
qemu-img compare -q -f vpc -F raw disk.vhd cipher.raw || fail "--locked is not the disk as it lies"

echo "== NBD servers"
serve_with_nbdkit blocks --filter=blocksize-policy memory 90M blocksize-minimum=4096 \
  blocksize-preferred=4096 blocksize-error-policy=error
run copy plain.raw "nbd+unix:///?socket=$work/blocks.sock" --encrypt --verify \
  --new-passphrase-file second "${cheap[@]}" >/dev/null || fail "a server with blocks of 4096"
stop_nbdkit blocks
serve_with_nbdkit nbdkit memory 70M
run copy disk.vhd "nbd+unix:///?socket=$work/nbdkit.sock" --verify --passphrase-file first >said
grep -q '^verified: ' said || fail "said: $(cat said)"
expect 1 'is not empty' run copy disk.vhd "nbd+unix:///?socket=$work/nbdkit.sock" --passphrase-file first
run copy disk.vhd "nbd+unix:///?socket=$work/nbdkit.sock" --force --passphrase-file first >/dev/null
nbdcopy "nbd+unix:///?socket=$work/nbdkit.sock" got.raw
cmp -n $((62 * 1024 * 1024)) got.raw plain.raw || fail "what nbdkit holds"
stop_nbdkit nbdkit
serve_with_nbdkit small memory 10M
expect 1 '10.0 MiB: 62.0 MiB are needed' run copy disk.vhd "nbd+unix:///?socket=$work/small.sock" \
  --passphrase-file first
stop_nbdkit small
truncate -s 90M server.raw
qemu-nbd -f raw -k "$work/qemu.sock" --pid-file=qemu.pid --fork server.raw
run copy disk.vhd "nbd+unix:///?socket=$work/qemu.sock" --encrypt --new-passphrase-file second \
  "${cheap[@]}" --passphrase-file first >/dev/null
await image_closed disk.vhd
run serve disk.vhd --read-write --passphrase-file first --run \
  'run() { "$LATCHKEY" "$@" </dev/null; }; run copy plain.raw "$uri" --force >/dev/null' ||
  fail "into a server of our own"
expect 5 'cannot connect' run copy disk.vhd "nbd+unix:///?socket=$work/none" --passphrase-file first
await gone "$(cat qemu.pid)" || fail "qemu-nbd still runs"
printf second | cryptsetup open --test-passphrase --disable-locks --key-file - server.raw ||
  fail "the volume behind qemu-nbd"
run copy server.raw back.raw --passphrase-file second --force >/dev/null
cmp -n $((62 * 1024 * 1024)) plain.raw back.raw || fail "the volume behind qemu-nbd has other data"

echo "== sparse sources stay sparse"
truncate -s 3G sparse.raw
printf x | dd of=sparse.raw bs=1 seek=$((2 * 1024 * 1024 * 1024)) conv=notrunc status=none
for format in raw vhd vhd-dynamic; do
  run copy sparse.raw thin --format $format --no-manifest --force >/dev/null
  [ "$(du -k thin | cut -f1)" -lt 4096 ] || fail "$format takes $(du -k thin | cut -f1) KiB"
done
run copy sparse.raw thin --format raw --no-manifest --force >/dev/null
cmp -n 100000 -i $((2 * 1024 * 1024 * 1024 - 50000)) sparse.raw thin || fail "the one byte"
rm -f sparse.raw thin

echo "== refusals"
expect 1 'it is not overwritten' run copy disk.vhd plain.raw --passphrase-file first
cp plain.raw kept
expect 1 'is not an unfinished copy' run copy disk.vhd kept --resume --passphrase-file first
cmp kept plain.raw || fail "a refused copy wrote"
touch new.json
expect 1 'new.json exists already' run copy disk.vhd new --passphrase-file first
[ ! -e new ] || fail "a refused copy made a file"
ln disk.vhd hard.vhd
for out in disk.vhd hard.vhd; do
  expect 1 'are the same storage' run copy disk.vhd $out --force --passphrase-file first
done
rm hard.vhd
for name in disk.vhd first; do
  expect 1 'are the same storage' run copy disk.vhd y --force --manifest $name --passphrase-file first
done
for name in y y.copying y.sha256; do
  expect 2 'is named for two things' run copy disk.vhd y --force --manifest $name --passphrase-file first
done
expect 2 'is named for two things' run copy disk.vhd y --force --encrypt --generate-key y \
  --passphrase-file first
[ ! -e y ] && [ ! -e y.copying ] || fail "a refused copy left something"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out kek.pem 2>openssl.log
cp kek.pem was.pem
expect 1 'are the same storage' run copy disk.vhd kek.pem --force --kek kek.pem --passphrase-file first
cmp kek.pem was.pem || fail "the key-encryption key was overwritten"
expect 2 'named like a qcow2 file' run copy disk.vhd y.qcow2 --passphrase-file first
# What is wrong with the image stays written beside its copy.
head -c 60M disk.vhd >cut.vhd
run copy cut.vhd cut.raw --passphrase-file first >/dev/null 2>&1
grep -q 'partition 1: it should have .* the rest is missing' cut.raw.json || fail "$(cat cut.raw.json)"
head -c 10M disk.vhd >cut.vhd
expect 4 'the image ends before it' run copy cut.vhd cut2.raw --passphrase-file first
if [ "$(id -u)" = 0 ] && loop=$(losetup --find --show disk.vhd 2>/dev/null); then
  expect 1 'are the same storage' run copy "$loop" disk.vhd --force --passphrase-file first
  expect 1 'are the same storage' run copy disk.vhd "$loop" --force --passphrase-file first
  losetup -d "$loop"
else
  echo "not tried: a loop device over the image"
fi
loop=
run key test disk.vhd --passphrase-file first >/dev/null || fail "the image was written over itself"
echo precious >p.json
expect 1 'p.json exists already' run copy disk.vhd p --force --passphrase-file first
run copy disk.vhd old --format vhd --verify --passphrase-file first >/dev/null
run copy disk.vhd old --force --no-manifest --passphrase-file first >/dev/null
[ ! -e old.json ] && [ ! -e old.sha256 ] || fail "a manifest of the copy before is left"
head -c 1000001 noise >odd.raw
run copy odd.raw odd.copy >/dev/null && cmp odd.raw odd.copy || fail "an odd length"
run copy odd.raw $'odd\nname' >/dev/null && sha256sum --quiet -c $'odd\nname.sha256' || fail "an odd name"
run copy odd.raw odd.luks --encrypt --sector-size 4096 --new-passphrase-file second "${cheap[@]}" >/dev/null
run copy odd.luks odd.copy --force --passphrase-file second >/dev/null
cmp -n 1000001 odd.raw odd.copy || fail "an odd length, encrypted"
run copy disk.vhd said.raw --passphrase-file first >/dev/null 2>/dev/full || fail "stderr is full"
expect 2 'requires --encrypt' run copy disk.vhd y --label x --passphrase-file first
expect 2 'a VHD is a file' run copy disk.vhd nbd://localhost --format vhd --passphrase-file first
expect 2 'is neither a file nor' run copy disk.vhd /dev/null --passphrase-file first
expect 5 'no such file' run copy disk.vhd none/x --passphrase-file first
expect 2 'excludes' run copy disk.vhd y --disk --partition 1 --passphrase-file first
expect 2 'both be standard input' run copy disk.vhd y --encrypt --passphrase-file - --new-passphrase-file -

echo "== a full disk"
if [ "$(id -u)" = 0 ]; then
  mkdir full && mount -t tmpfs -o size=30M tmpfs full
  expect 5 'no space left' run copy disk.vhd full/out --passphrase-file first
  grep -q 'hint: the same command with --resume goes on' stderr || fail "said: $(cat stderr)"
  mount -o remount,size=90M full
  run copy disk.vhd full/out --resume --passphrase-file first >/dev/null
  cmp full/out plain.raw || fail "a copy that ran out of space and was resumed"
  [ ! -e full/out.copying ] || fail "still unfinished"
  umount full
else
  echo "not tried: a full disk, which needs root"
fi

echo "== unreadable places"
if has_nbdfuse; then
  serve_with_nbdkit bad eval get_size='echo 65011712' pread='
    if [ $4 -le 30000000 ] && [ $(($4 + $3)) -gt 30000000 ]; then echo EIO >&2; exit 1; fi
    dd if='"$work"'/plain.raw skip=$4 count=$3 iflag=skip_bytes,count_bytes status=none'
  show_as_file bad
  expect 5 "cannot read byte 2999" run copy bad/disk lost --jobs 1
  grep -q -- '--keep-going' stderr || fail "said: $(cat stderr)"
  # The page cache reads more than the sector, and all of a page is lost with it.
  status=0
  run copy bad/disk lost --keep-going --resume >said 2>stderr || status=$?
  [ $status = 1 ] || fail "--keep-going ended with $status: $(cat stderr)"
  grep -q 'could not be read' stderr || fail "said: $(cat stderr)"
  grep -q '"offset": 299' lost.json || fail "the manifest lists nothing: $(cat lost.json)"
  cmp -n 29900000 lost plain.raw && cmp -i 30100000 lost plain.raw || fail "what could be read"
  umount bad
  stop_nbdkit bad
else
  echo "not tried: a file that cannot be read in places needs root, FUSE and nbdfuse"
fi

echo "== stopped and resumed: killed twenty times, and by Ctrl-C"
# Stopped when OUT was made and some of it copied: SIGSTOP says for certain when. A kill leaves a mark
# at the beginning, as the first one is due after seconds; SIGINT leaves one where it was. An image
# that takes a while to read sees to it that the copy is not over before the signal is there.
image=disk.vhd
if has_nbdfuse; then
  serve_with_nbdkit slow-image -r --filter=rate file disk.vhd rate=1600M burstiness=0.05
  show_as_file slow-image
  image=slow-image/disk
else
  echo "not tried: an image that takes a while to read needs root, FUSE and nbdfuse"
fi
listens() { # to signals, from a descriptor; blocked they are now and then before that, too
  ls -l "/proc/$1/fd" 2>/dev/null | grep -q signalfd
}
midway() { grep -q '"made": true' killed.copying 2>/dev/null && listens $pid; }
killed=0 interrupted=0
for i in $(seq 24); do
  options=(--passphrase-file first)
  case $((i % 4)) in
    0) target=raw ;;
    1) target=vhd ;;
    2) target=vhd-dynamic ;;
    3) target=raw options+=(--encrypt --new-passphrase-file second "${cheap[@]}") ;;
  esac
  rm -f killed*
  stop=KILL marked=0
  [ $i -le 20 ] || stop=INT
  "$LATCHKEY" copy $image killed --format $target "${options[@]}" --jobs $((i % 3 + 1)) \
    >/dev/null 2>stderr </dev/null &
  pid=$!
  until midway || gone $pid; do :; done
  [ $stop = INT ] || sleep 0.0$((RANDOM % 6))
  kill -STOP $pid 2>/dev/null || true
  if midway; then
    kill -$stop $pid
    kill -CONT $pid 2>/dev/null || true
    status=0
    wait $pid || status=$?
    if [ $stop = INT ] && [ $status = 130 ]; then
      grep -q '^latchkey: stopped at .*--resume goes on' stderr || fail "said: $(cat stderr)"
      marked=$(sed -n 's/.*"copied_below": \([0-9]*\).*/\1/p' killed.copying)
      interrupted=$((interrupted + 1))
    fi
    killed=$((killed + 1))
  else
    kill -CONT $pid 2>/dev/null || true
    wait $pid || fail "round $i: $(cat stderr)"
  fi
  if [ -e killed.copying ]; then
    # Below a mark everything is compared: a byte that is wrong is mended.
    [ $target != raw ] || [ ${#options[@]} -gt 2 ] || [ "${marked:-0}" = 0 ] ||
      printf X | dd of=killed bs=1 seek=4096 conv=notrunc status=none
    run copy $image killed --format $target "${options[@]}" --resume >/dev/null || fail "round $i"
  fi
  [ ! -e killed.copying ] || fail "round $i left it unfinished"
  case $target:${#options[@]} in
    raw:2) cmp killed plain.raw || fail "round $i" ;;
    raw:*)
      run copy killed killed.plain --passphrase-file second >/dev/null
      cmp killed.plain plain.raw || fail "round $i, encrypted"
      ;;
    *) same vpc killed ;;
  esac
done
if has_nbdfuse; then
  [ $interrupted = 4 ] || fail "only $interrupted of 4 copies were interrupted"
  [ $killed = 24 ] || fail "only $killed of 24 copies were stopped midway"
  umount slow-image
  stop_nbdkit slow-image
else
  [ $interrupted -ge 2 ] || fail "only $interrupted of 4 copies were interrupted"
  [ $killed -ge 12 ] || fail "only $killed of 24 copies were stopped midway"
fi

echo "== Ctrl-C on a server, and what nohup means"
# One whose writes wait, so that the copy cannot end before it is told to.
serve_with_nbdkit slow --filter=rate memory 70M rate=20M
slow="nbd+unix:///?socket=$work/slow.sock"
interrupted_by() { # SIGNAL COMMAND...: when it is in the middle of copying
  "${@:2}" >/dev/null 2>stderr </dev/null &
  pid=$!
  await listens $pid || fail "it does not start"
  kill "-$1" $pid
}
interrupted_by INT "$LATCHKEY" copy disk.vhd "$slow" --passphrase-file first
status=0
wait $pid || status=$?
[ $status = 130 ] || fail "SIGINT ended it with $status: $(cat stderr)"
grep -q '^latchkey: stopped at .*--resume --force' stderr || fail "said: $(cat stderr)"
run copy disk.vhd "$slow" --passphrase-file first --resume --force >/dev/null
(trap '' HUP && exec "$LATCHKEY" copy disk.vhd "$slow" --force --passphrase-file first) \
  >/dev/null 2>stderr </dev/null &
pid=$!
await listens $pid || fail "it does not start"
kill -HUP $pid
wait $pid || fail "SIGHUP ended a copy that ignores it: $(cat stderr)"
stop_nbdkit slow

echo "== a disk that changed meanwhile is not gone on with"
rm -f killed*
while [ ! -e killed.copying ]; do
  "$LATCHKEY" copy disk.vhd killed --passphrase-file first >/dev/null 2>&1 </dev/null &
  pid=$!
  await test -e killed.copying
  kill -9 $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  [ -e killed.copying ] || rm -f killed*
done
touch disk.vhd
expect 1 'has changed since' run copy disk.vhd killed --resume --passphrase-file first
expect 1 'is an unfinished copy' run copy disk.vhd killed --passphrase-file first
exec 9<killed.copying
flock 9
expect 1 'is being copied to by another process' run copy disk.vhd killed --force --passphrase-file first
[ -e killed.copying ] || fail "the mark of the copy that runs is gone"
exec 9<&-
run copy disk.vhd killed --force --passphrase-file first >/dev/null
cmp killed plain.raw || fail "begun anew"
echo "all is well"
