#!/usr/bin/env bash
# What a person meets on the command line: which volumes open and what is said of the others, every
# way to give a key, exit statuses, bad images, and how `serve` starts and stops.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup nbdinfo nbdcopy qemu-img qemu-io sfdisk python3
PATH=$PATH:/sbin:/usr/sbin
cd "$work"
run() { "$LATCHKEY" "$@" </dev/null; }
exports='nbdinfo --list "$uri" | sed -n "s/.*description: //p"'

# volume IMAGE KEY SIZE: a LUKS2 volume with a small header.
volume() {
  printf '%s' "$2" >"$2.key"
  truncate -s "$3" "$1"
  cryptsetup luksFormat -q --type luks2 --luks2-metadata-size 16k --luks2-keyslots-size 1m \
    --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$2.key" "$1" >luks.log 2>&1 ||
    fail "cryptsetup: $(cat luks.log)"
}
volume a.img alpha 4M
volume b.img beta 4M
truncate -s 16M two.raw
printf 'label: gpt\nsize=1M,type=uefi\nsize=4M\nsize=4M\n' | sfdisk -q two.raw
dd if=a.img of=two.raw bs=1M seek=2 conv=notrunc status=none
dd if=b.img of=two.raw bs=1M seek=6 conv=notrunc status=none
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on two.raw two.vhd
printf 'wrong\n' >wrong

echo "== several volumes: those a key fits open, the others are named"
for image in two.raw two.vhd; do
  said=$(run serve $image --key alpha.key --run "$exports" 2>stderr | tr '\n' ',')
  [ "$said" = 'the whole disk,data,data inside LUKS2,LUKS2, locked,' ] || fail "$image: $said"
  grep -q 'warning: p3: no key fits.*appears as ciphertext' stderr || fail "p3: $(cat stderr)"
done
said=$(run serve two.vhd --key alpha.key --key beta.key --run "$exports" 2>stderr | tr '\n' ',')
[ "$said" = 'the whole disk,data,data inside LUKS2,data inside LUKS2,' ] || fail "both: $said"
[ ! -s stderr ] || fail "with both keys it said: $(cat stderr)"
expect 3 'p2: no key fits.*; p3: no key fits' run serve two.raw --key wrong --run true
expect 3 '^hint:' run serve two.raw --key wrong --run true
expect 0 'p2: no key fits.*ciphertext' run serve two.raw --key wrong --locked --run true
expect 0 'p2 is locked; it appears as ciphertext' run serve two.raw --locked --run true
run serve two.raw --locked --run 'nbdcopy "$uri" locked.raw' 2>stderr
cmp two.raw locked.raw || fail "--locked gives other bytes"
expect 3 'p3: no key fits' run serve two.raw --partition 3 --key alpha.key --run true
expect 0 'p2 is locked; it appears' run serve two.raw --partition 3 --key beta.key --run true
expect 2 'has no partition 9' run serve two.raw --partition 9 --key alpha.key --run true
expect 2 'has no partition 0' run serve two.raw --partition 0 --key alpha.key --run true
expect 2 'leave out --partition' run serve a.img --partition 1 --key alpha.key --run true
expect 3 'p1: a key was given, and nothing is recognised' run serve two.raw --partition 1 \
  --key alpha.key --run true
expect 0 'the key is not used' run serve two.raw --partition 1 --key alpha.key --locked --run true
bytes=$(run serve two.raw --key beta.key --run 'nbdinfo --size "$uri"' 2>stderr)
[ "$bytes" -lt $((4 << 20)) ] || fail "the default is not the one unlocked volume: $bytes bytes"
bytes=$(run serve two.raw --key alpha.key --key beta.key --run 'nbdinfo --size "$uri"')
[ "$bytes" = $((16 << 20)) ] || fail "the default of two unlocked volumes has $bytes bytes"

echo "== the cipher variant"
"$LATCHKEY" serve a.img --key alpha.key --run 'nbdcopy "$uri" plain'
expect 2 "'sse' is not a cipher variant; these can run here: .*openssl" run serve a.img \
  --cipher-variant sse --key alpha.key --run true
LATCHKEY_CIPHER=sse expect 2 'LATCHKEY_CIPHER.*not a cipher variant' run serve a.img \
  --key alpha.key --run true
LATCHKEY_CIPHER=sse run serve a.img --key alpha.key --cipher-variant openssl \
  --run 'nbdcopy "$uri" other'
cmp plain other || fail "OpenSSL reads something else"
rm plain other

echo "== the ways to give a key"
printf 'alpha\r\nmore\n' >crlf
printf 'alpha\n' >lf
printf '\r\n' >blank
: >nothing
printf 'xxxalphayyy' >within
for file in crlf lf alpha.key; do run serve a.img --passphrase-file $file --run true; done
printf 'alpha\r\n' | "$LATCHKEY" serve a.img --passphrase-file - --run true
run serve a.img --key lf --run true
run serve a.img --key-file within --key-file-offset 3 --key-file-size 5 --run true
expect 3 "key file 'lf' on keyslot 0" run serve a.img --key-file lf --run true
expect 3 'no terminal' setsid -w "$LATCHKEY" serve a.img --run true
expect 2 'is empty' run serve a.img --passphrase-file blank --run true
expect 2 'is empty' run serve a.img --passphrase-file nothing --run true
expect 2 'is empty' run serve a.img --key-file nothing --run true
expect 2 'is empty' run serve a.img --key nothing --run true
expect 5 'cannot open absent' run serve a.img --key absent --run true
expect 2 'is a directory' run serve a.img --key-file / --run true
expect 2 'offset' run serve a.img --key-file within --key-file-offset 30 --run true
expect 2 'shorter' run serve a.img --key-file within --key-file-size 50 --run true
expect 2 'requires --key-file' run serve a.img --key-file-offset 3 --run true
expect 2 'keyslot 5 is not in use' run serve a.img --keyslot 5 --key alpha.key --run true
expect 2 'not a size' run serve a.img --max-kdf-memory much --key alpha.key --run true
expect 2 'more than 0' run serve a.img --max-kdf-time 0 --key alpha.key --run true
cryptsetup luksAddKey -q --key-file alpha.key --pbkdf argon2id --pbkdf-memory 65536 \
  --pbkdf-parallel 1 --pbkdf-force-iterations 4 a.img beta.key
expect 4 'wants 64 MiB.*limit is 1 MiB' run serve a.img --keyslot 1 --key beta.key \
  --max-kdf-memory 1M --run true
expect 4 'limit is' run serve a.img --keyslot 1 --key beta.key --max-kdf-time 0.001 --run true
expect 3 'no key fits' run serve a.img --keyslot 0 --key beta.key --run true
run serve a.img --keyslot 1 --key beta.key --run true
# A keyslot that cannot be tried does not stand in the way of the one that fits.
cp b.img dear.img
cryptsetup luksFormat -q --type luks2 --pbkdf argon2id --pbkdf-memory 65536 --pbkdf-parallel 1 \
  --pbkdf-force-iterations 4 --key-file beta.key dear.img
cryptsetup luksAddKey -q --key-file beta.key --pbkdf pbkdf2 --pbkdf-force-iterations 1000 dear.img \
  alpha.key
run serve dear.img --key alpha.key --max-kdf-memory 1M --run true || fail "keyslot 1 was not tried"
expect 4 'wants 64 MiB' run serve dear.img --key beta.key --max-kdf-memory 1M --run true

echo "== what is nearly a key"
printf '111111-222222-333333-444444-555555-666666-777777-88888\n' >short.txt
printf '000011 000022 000033 000044 000055 000066 000077 000089\n' >typo.txt
printf '\357\273\277alpha\n' >marked
expect 3 'group 8 has 5 digits, not 6' run serve a.img --key short.txt --run true
expect 3 'group 8 was mistyped' run serve a.img --passphrase-file typo.txt --run true
expect 3 'byte order mark.*--key FILE leaves it out' run serve a.img --passphrase-file marked --run true
run serve a.img --key marked --run true
typed=000011-000022-000033-000044-000055-000066-000077-000088
expect 2 'where the name of a file belongs' run serve a.img --key $typed --run true
! grep -q 000044 stderr || fail "a key is repeated: $(cat stderr)"
expect 2 'not known here: --passphrase$' run serve a.img --passphrase 'se cret' --run true
! grep -q cret stderr || fail "a passphrase is repeated: $(cat stderr)"

echo "== a header of its own, for one partition of a disk"
truncate -s 1M bare
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
  --key-file alpha.key --header head bare
truncate -s 8M apart.raw
printf 'label: gpt\nsize=1M\nsize=1M\n' | sfdisk -q apart.raw
expect 2 'any of p1, p2' run serve apart.raw --header head --key alpha.key --run true
said=$(run serve apart.raw --header head --partition 2 --key alpha.key --run "$exports" | tr '\n' ',')
[ "$said" = 'the whole disk,data,data inside LUKS2,' ] || fail "the header's partition: $said"
run info apart.raw --header head --partition 2 | grep -q \
  '^next: latchkey mount apart.raw DIR --partition 2 --header head --key FILE$' || fail "info --header"
expect 4 'no volume header is in' run serve apart.raw --header bare --partition 2 --run true
expect 4 'detached header' run serve head --key alpha.key --run true
run info head >out && fail "a header without its data is called usable"
grep -q 'latchkey info DATA --header head' out || fail "info of a header: $(cat out)"
run info bare | grep -q 'hint:.*--header FILE' || fail "info of bare data does not name --header"
expect 0 'holds volume' run serve b.img --header head --key alpha.key --run true

echo "== info's next command"
next() { run info "$1" | sed -n 's/^next: //p'; }
[ "$(next a.img)" = 'latchkey mount a.img DIR --key FILE' ] || fail "next: $(next a.img)"
cp a.img "it's.img"
[ "$(next "it's.img")" = "latchkey mount 'it'\\''s.img' DIR --key FILE" ] || fail "next, quoted"
truncate -s 2M swap.img
mkswap -q swap.img 2>/dev/null || mkswap swap.img >/dev/null 2>&1
[ "$(next swap.img)" = 'latchkey expose swap.img DIR' ] || fail "next of swap: $(next swap.img)"
[ -z "$(next bare)" ] || fail "next of nothing: $(next bare)"
# Ciphertext without its header: with a key, nobody wants it as it is.
for words in "serve bare --run true" "copy bare copied --no-manifest"; do
  expect 3 'nothing is recognised here that it could open' run $words --key alpha.key
done
[ ! -e copied ] || fail "ciphertext was copied"
expect 0 'the key is not used' run serve bare --key alpha.key --locked --run true

echo "== what is not an image"
mkdir folder
mkfifo pipe
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
for command in info "serve --run true" "serve --read-write --run true"; do
  expect 2 'folder is a directory' run $command folder
  expect 2 'nothing is empty' run $command nothing
  expect 2 'sock is a socket' run $command sock
  expect 2 'pipe is a pipe' run $command pipe
  expect 2 'neither a file nor a block device' run $command /dev/null
  expect 5 'cannot open absent: no such file' run $command absent
done
gzip -k b.img
tar -cf b.tar b.img
expect 4 'this is a gzip file, not an image' run serve b.img.gz --key alpha.key --run true
expect 4 'this is a tar archive' run info b.tar
rm b.img.gz b.tar
if [ "$(id -u)" = 0 ]; then
  chmod 755 "$work"
  install -m 000 b.img secret.img
  expect 5 'permission denied' setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$LATCHKEY" info secret.img
fi

echo "== a command line that makes no sense, and help"
expect 2 'no command was given' run
expect 2 "'bogus' is not a command" run bogus
expect 2 'IMAGE is required' run info
expect 2 'excludes' run serve a.img --socket s --listen 127.0.0.1:0
expect 2 'requires --read-write' run serve a.img --discard --run true
expect 2 'requires --listen' run serve a.img --insecure --run true
expect 2 'command is empty' run serve a.img --run ''
for command in info serve expose mount umount; do
  run $command --help >out
  run help $command | cmp - out || fail "help $command is not $command --help"
  awk 'length > 100 { exit 1 }' out || fail "$command --help has lines beyond 100 columns"
done
run key add --help | cmp - <(run help key add) || fail "help key add is not key add --help"
expect 2 "'latchkey key bogus' is not a command" run help key bogus
for words in "info a.img" "info --json a.img" version help "serve --help"; do
  expect 5 'cannot write to standard output: no space' sh -c "'$LATCHKEY' $words >/dev/full"
done
expect 5 'cannot write' sh -c "'$LATCHKEY' serve a.img --key alpha.key --socket s >/dev/full"
[ ! -e s ] || fail "a server that could not say ready left its socket"

echo "== serve --run"
said=$(run serve a.img --key alpha.key --run 'ls /proc/self/fd | tr "\n" " "')
[ "$said" = '0 1 2 3 ' ] || fail "the command inherits descriptors: $said" # 3: the folder it lists
said=$(run serve a.img --key alpha.key --run 'stat -c %a,%F "$unixsocket"; echo "$uri"; \
  stat -c %a "$(dirname "$unixsocket")"' | tr '\n' ' ')
[[ "$said" =~ ^600,socket\ nbd\+unix:///\?socket=.*\ 700\ $ ]] || fail "the private socket: $said"
expect 1 'exit status 7' run serve a.img --key alpha.key --run 'exit 7'
expect 1 'signal 9' run serve a.img --key alpha.key --run 'kill -9 $$'
XDG_RUNTIME_DIR=/nonexistent run serve a.img --key alpha.key --run true
for signal in INT TERM HUP; do
  rm -f started
  env --default-signal "$LATCHKEY" serve a.img --key alpha.key --run \
    'echo >started; exec sleep 60' </dev/null 2>stderr & server=$!
  await test -e started || fail "the command of --run did not start"
  kill -$signal $server
  status=0
  wait $server || status=$?
  [ $status = 1 ] || fail "SIG$signal during --run ends it with $status, as if the command were done"
  grep -q 'was stopped before its end, and ended with signal 15' stderr || fail "said: $(cat stderr)"
done
# One that is done in spite of it.
env --default-signal "$LATCHKEY" serve a.img --key alpha.key --run \
  'trap "exit 0" TERM; echo >done; sleep 60 & wait' </dev/null & server=$!
await test -e done || fail "the command of --run did not start"
kill -TERM $server
wait $server || fail "a command that ended well ends it with $?"

echo "== where it listens is checked before any key is"
expect 2 'sock exists' run serve a.img --socket sock
expect 5 'no such file' run serve a.img --socket folder/absent/s
expect 2 'write HOST:PORT' run serve a.img --listen nowhere
expect 2 'not a loopback address' run serve a.img --listen 0.0.0.0:0
expect 0 'anybody who can reach' run serve a.img --key alpha.key --listen 0.0.0.0:0 --insecure \
  --run true
expect 0 'any user of this machine' run serve a.img --key alpha.key --listen 127.0.0.1:0 \
  --run 'nbdinfo --size "$uri"'

# start NAME ARGUMENT...: a server on NAME.sock, in $server.
start() {
  local name=$1
  shift
  env --default-signal "$LATCHKEY" serve "$@" --socket "$name.sock" >"$name.ready" </dev/null \
    2>"$name.err" & server=$!
  await test -s "$name.ready" || fail "$name did not start: $(cat "$name.err")"
}
uri_of() { sed 's/^ready //' "$1.ready"; }
echo "== one image, two servers"
start reader a.img --key alpha.key
reader=$server
start second a.img --key alpha.key
second=$server
[ "$(stat -c %a second.sock)" = 600 ] || fail "the socket's mode is $(stat -c %a second.sock)"
expect 5 'is open in another program' run serve a.img --read-write --key alpha.key --run true
kill -INT $reader
kill -TERM $second
wait $reader || fail "SIGINT ends a server with $?"
wait $second || fail "SIGTERM ends a server with $?"
[ ! -e reader.sock ] && [ ! -e second.sock ] || fail "a socket stays"
start writer a.img --read-write --key alpha.key
expect 5 'open for writing in another program' run serve a.img --key alpha.key --run true
run info a.img | grep -q 'warning:.*open for writing' || fail "info does not see the writer"
kill $server
wait $server || fail "the writer ended with $?"

echo "== an image that is cut off while it is served; a stop while it is busy"
head -c 8M /dev/urandom >cut.raw
start cut cut.raw
truncate -s 2M cut.raw
! nbdcopy "$(uri_of cut)" null: 2>/dev/null || fail "bytes that are gone were read"
await grep -q 'shorter than when it was opened' cut.err || fail "the cut: $(cat cut.err)"
kill $server
wait $server || fail "it ended with $?"
truncate -s 64M busy.raw
start busy busy.raw --read-write
qemu-io -f raw -c 'write -P 1 0 32M' -c 'write -P 2 0 32M' -c 'write -P 3 0 32M' \
  "$(uri_of busy)" >busy.log 2>&1 & client=$!
await sh -c '! cmp -s -n 4096 busy.raw /dev/zero' || fail "the client does not write"
kill $server
wait $server || fail "a busy server ended with $?"
wait $client || true
[ ! -e busy.sock ] || fail "the busy server's socket stays"

echo "== a full disk: the client is told, and every flushed byte is there"
if [ "$(id -u)" = 0 ]; then
  mkdir small
  mount -t tmpfs -o size=9M tmpfs small
  qemu-img create -q -f vpc -o subformat=dynamic,force_size=on small/d.vhd 64M
  run serve small/d.vhd --read-write --run 'for i in 1 2 3 4 5 6 7 8 9 10 11; do
    if ! qemu-io -f raw -c "write -P $i $((i * 2))M 1M" -c flush "$uri" >log 2>&1 ||
      grep -q failed log; then cp log failed; exit 0; fi
    echo $i >last
  done' 2>stderr
  grep -qi 'no space left' failed || fail "the client was not told: $(cat log)"
  run info small/d.vhd >/dev/null || fail "the image does not open any more"
  run serve small/d.vhd --run 'for i in $(seq $(cat last)); do
    qemu-io -r -f raw -c "read -P $i $((i * 2))M 1M" "$uri" >log 2>&1 || exit 1
    ! grep -qi "verification failed\|error" log || exit 1
  done' || fail "a flushed byte is gone: $(cat log)"
  umount small
else
  echo "(not root: no small tmpfs)"
fi
echo "ok"
