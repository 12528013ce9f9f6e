#!/usr/bin/env bash
# Making encrypted images, changing their keys and headers, on the command line; cryptsetup and
# qemu-img have to agree with each of them.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup qemu-img sfdisk nbdcopy
PATH=$PATH:/sbin:/usr/sbin
cd "$work"
run() { "$LATCHKEY" "$@" </dev/null; }
cheap=(--pbkdf pbkdf2 --pbkdf-iterations 1000)
printf 'first\n' >first
printf 'second\n' >second
printf 'third\n' >third
printf 'fourth\n' >fourth
opens() { # opens KEY-TEXT FILE [OPTION...]: to cryptsetup
  printf '%s' "$1" | cryptsetup open --test-passphrase --disable-locks --key-file - "${@:2}"
}
mode() { stat -c %a "$1"; }
ends() { # ends STATUS COMMAND...
  local status=0
  "${@:2}" >said 2>&1 || status=$?
  [ "$status" = "$1" ] || fail "'${*:2}' ended with $status, not $1: $(cat said)"
}

echo "== format: containers, formats, detached headers"
# The volume in each image as a file of its own, for cryptsetup.
volume_of() { # IMAGE CONTAINER PARTITION
  if [ "$2" = raw ]; then cp "$1" disk.raw; else qemu-img convert -f vpc -O raw "$1" disk.raw; fi
  if [ "$3" = gpt ]; then
    sfdisk --verify disk.raw >/dev/null || fail "$1: sfdisk does not like its table"
    dd if=disk.raw of=volume.raw bs=1M skip=1 status=none
  else
    cp disk.raw volume.raw
  fi
}
for container in raw vhd vhd-dynamic; do
  for partition in none gpt; do
    for luks in luks1 luks2; do
      name=$container-$partition-$luks
      run format "$name" --size 24M --container $container --partition $partition --$luks \
        --passphrase-file first "${cheap[@]}" >said || fail "$name"
      grep -q 'pbkdf2-sha256, 1000 iterations' said || fail "$name said: $(cat said)"
      [ "$(mode "$name")" = 600 ] || fail "$name has mode $(mode "$name")"
      volume_of "$name" $container $partition
      cryptsetup luksDump volume.raw >dump || fail "$name: luksDump"
      # Where the cost is named nothing is measured, not for the digest of the volume key either.
      if grep -i 'iterations:' dump | grep -v '[^0-9]1000$'; then fail "$name: other iterations"; fi
      opens first volume.raw || fail "$name: cryptsetup does not open it"
      cp volume.raw before && cryptsetup repair -q --disable-locks volume.raw && cmp before volume.raw ||
        fail "$name: cryptsetup finds something to repair"
      run key test "$name" --passphrase-file first >said || fail "$name: key test"
      grep -q '^keyslot 0 with' said || fail "$name: $(cat said)"
      run info "$name" >/dev/null || fail "$name: info"
    done
  done
done
for pbkdf in argon2id argon2i pbkdf2; do
  cost=(--pbkdf-iterations 1000)
  [ $pbkdf = pbkdf2 ] || cost=(--pbkdf-iterations 4 --pbkdf-memory 1M --pbkdf-parallel 1)
  for sector in 512 4096; do
    for bits in 256 512; do
      for place in attached detached; do
        size=20M header=()
        [ $place = attached ] || size=4M header=(--header head)
        run format each --size $size --pbkdf $pbkdf "${cost[@]}" --sector-size $sector --key-size $bits \
          "${header[@]}" --passphrase-file first >/dev/null || fail "$pbkdf $sector $bits $place"
        opens first each "${header[@]}" || fail "cryptsetup: $pbkdf $sector $bits $place"
        if [ $place = attached ]; then cp each before; else cp head before; fi
        cryptsetup luksDump before >dump || fail "luksDump: $pbkdf $sector $bits $place"
        grep -q "sector: $sector" dump && grep -q "PBKDF: *$pbkdf" dump && grep -q "key:.*$bits bits" dump ||
          fail "$pbkdf $sector $bits $place: $(cat dump)"
        cp before repaired && cryptsetup repair -q --disable-locks repaired && cmp before repaired ||
          fail "cryptsetup repairs $pbkdf $sector $bits $place"
        rm -f each head
      done
    done
  done
done
bytes=$(stat -c %s vhd-gpt-luks2)
[ "$bytes" = $((24 * 1024 * 1024 + 512)) ] || fail "a fixed vhd has $bytes bytes"
for luks in luks1 luks2; do
  run format data --size 8M --header head --$luks --passphrase-file first "${cheap[@]}" >/dev/null
  [ "$(mode head)" = 600 ] || fail "the header has mode $(mode head)"
  opens first --header head data || fail "$luks: a detached header does not open"
  run key test data --header head --passphrase-file first >/dev/null || fail "detached"
  rm data head
done

echo "== format: options"
run format o --size 20M --cipher aes-cbc-essiv:sha256 --key-size 256 --sector-size 512 \
  --label 'my disk' --hash sha512 --uuid 11111111-2222-3333-4444-555555555555 \
  --pbkdf argon2i --pbkdf-memory 1M --pbkdf-iterations 4 --pbkdf-parallel 1 \
  --passphrase-file first >/dev/null
cryptsetup luksDump o >dump
for word in 'aes-cbc-essiv:sha256' '256 bits' '512 .bytes' 'my disk' argon2i sha512 11111111-2222; do
  grep -q -- "$word" dump || fail "luksDump does not have '$word'"
done
opens first o || fail "its options do not open"
run format hashed --size 20M --hash sha512 --passphrase-file first "${cheap[@]}" |
  grep -q 'pbkdf2-sha512' || fail "--hash is not the key derivation's"
opens first hashed || fail "a key derivation with sha512"
run format timed --size 20M --unlock-time 200ms --passphrase-file first >said
grep -q argon2id said || fail "measured: $(cat said)"
opens first timed || fail "measured costs do not open"
run format gen --size 20M --generate-key gen.key "${cheap[@]}" >/dev/null
[ "$(mode gen.key)" = 600 ] && [ "$(stat -c %s gen.key)" = 32 ] || fail "the key file made"
cryptsetup open --test-passphrase --disable-locks --key-file gen.key gen || fail "the key made"

echo "== format: refusals leave everything as it was"
digest o >was
expect 1 'LUKS2 volume 11111111.*not overwritten' run format o --size 20M --passphrase-file first
expect 1 'vhd-dynamic disk.*p1: a LUKS2 volume' run format vhd-dynamic-gpt-luks2 --size 20M \
  --passphrase-file first
expect 1 'gen.key exists' run format x --size 20M --generate-key gen.key "${cheap[@]}"
expect 2 'is needed' run format x --passphrase-file first
expect 2 'whole number of MiB' run format x --size 20000K --container vhd --passphrase-file first
expect 2 'too small' run format x --size 4M --passphrase-file first "${cheap[@]}"
expect 2 'luks1 knows' run format x --size 20M --luks1 --pbkdf argon2id --passphrase-file first
expect 4 'not supported' run format x --size 20M --cipher rot13-ecb-plain --passphrase-file first \
  "${cheap[@]}"
expect 3 'no terminal' setsid -w "$LATCHKEY" format x --size 20M "${cheap[@]}"
[ ! -e x ] || fail "a refused format left a file"
[ "$(digest o)" = "$(cat was)" ] || fail "a refused format changed the image"
# With --force, too: what is asked for is looked at before a byte is written.
refused() { # refused STATUS PATTERN OPTION...
  expect "$1" "$2" run format o --size 20M --force --passphrase-file first "${cheap[@]}" "${@:3}"
  [ "$(digest o)" = "$(cat was)" ] || fail "'${*:3}' was refused, and the image is changed"
}
refused 2 'sector size' --sector-size 1000
refused 4 'not supported' --cipher rot13-ecb-plain
refused 4 'not supported' --hash rot13
refused 2 'too long' --label "$(printf 'x%.0s' {1..48})"
refused 2 'not a uuid' --uuid hello
refused 2 'not a file system' --mkfs minix
refused 2 '--label' --mkfs xfs --label thirteen-long
refused 2 '--label' --mkfs vfat --label twelve-chars
refused 4 'sectors of 512' --mkfs exfat --sector-size 4096
refused 1 'exists' --header gen
refused 5 'cannot make' --header no/folder
expect 2 'too small' run format o --size 8M --force --passphrase-file first "${cheap[@]}"
expect 2 'too small' run format o --size 1M --force --partition gpt --passphrase-file first "${cheap[@]}"
expect 2 '2040 GiB' run format o --size 2041G --container vhd-dynamic --force --passphrase-file first \
  "${cheap[@]}"
expect 4 'would take' run format o --size 20M --force --passphrase-file first --pbkdf argon2id \
  --pbkdf-memory 1M --pbkdf-iterations 400000000 --pbkdf-parallel 1
expect 5 'cannot' run format o --size 20M --force --passphrase-file nothing-there "${cheap[@]}"
[ "$(digest o)" = "$(cat was)" ] || fail "a refused format --force changed the image"
expect 5 'cannot make' run format no/folder --size 20M --generate-key lost.key --header lost.head \
  "${cheap[@]}"
[ ! -e lost.key ] && [ ! -e lost.head ] || fail "a failed format left its key or header"
ln -s nowhere dangling
expect 2 'link to nothing' run format dangling --size 20M --passphrase-file first "${cheap[@]}"
[ -L dangling ] || fail "the link is gone"
mkfifo pipe
expect 2 'neither a file' timeout 20 "$LATCHKEY" format pipe --size 20M --passphrase-file first "${cheap[@]}"
run format o --size 20M --force --passphrase-file second "${cheap[@]}" >/dev/null
opens second o || fail "--force"
if opens first o 2>/dev/null; then fail "the old key still opens"; fi

expect 2 'is named for two things' run format self --size 20M --generate-key ./self "${cheap[@]}"
[ ! -e self ] || fail "something of it was made"
cp first eaten
expect 1 'are the same storage' run format eaten --size 20M --key-file eaten --force "${cheap[@]}"
cmp first eaten || fail "a key was overwritten by its volume"
expect 2 'named like a vhdx file' run format a.vhdx --size 20M --passphrase-file first "${cheap[@]}"
run format byname.vhd --size 20M --passphrase-file first "${cheap[@]}" >/dev/null
[ "$(stat -c %s byname.vhd)" = $((20 * 1024 * 1024 + 512)) ] || fail "not a VHD by its name"

echo "== keys come and go"
for luks in luks1 luks2; do
  rm -f k
  run format k --size 20M --$luks --passphrase-file first "${cheap[@]}" >/dev/null
  run key add k --passphrase-file first --new-passphrase-file second "${cheap[@]}" >said
  grep -q 'keyslot 1' said || fail "$luks add: $(cat said)"
  opens first k && opens second k || fail "$luks: both open"
  run key change k --passphrase-file first --new-passphrase-file third "${cheap[@]}" >/dev/null
  opens third k || fail "$luks: changed"
  if opens first k 2>/dev/null; then fail "$luks: the changed key opens"; fi
  expect 3 'no key fits' run key test k --passphrase-file first
  expect 3 'no key fits' run key add k --passphrase-file first --new-passphrase-file second
  expect 1 'and no other' run key remove k --slot 1 --passphrase-file second
  # A key from standard input can be read once.
  "$LATCHKEY" key add k --passphrase-file first --new-passphrase-file third "${cheap[@]}" \
    </dev/null >/dev/null 2>&1 && fail "$luks: the changed key adds one"
  expect 1 'and no other' sh -c '"$0" key remove k --slot 1 --passphrase-file - <second' "$LATCHKEY"
  expect 2 . run key add k --passphrase-file third --slot 1 --generate-key unused "${cheap[@]}"
  [ ! -e unused ] || fail "a refused key add left its key file"
  run key remove k --slot 1 --passphrase-file third >/dev/null
  if opens second k 2>/dev/null; then fail "$luks: the removed key opens"; fi
  digest k >was
  expect 1 'the last key' run key remove k --passphrase-file third
  [ "$(digest k)" = "$(cat was)" ] || fail "$luks: a refused removal changed something"
  recovery=$(run key enroll-recovery k --passphrase-file third 2>/dev/null)
  [[ $recovery =~ ^([0-9]{6}-){7}[0-9]{6}$ ]] || fail "recovery: $recovery"
  opens "$recovery" k || fail "$luks: the recovery passphrase"
  printf '%s\n' "${recovery//-/ }" >typed
  run key test k --passphrase-file typed >/dev/null || fail "$luks: the recovery passphrase, typed with blanks"
  [ $luks = luks1 ] || run key list k | grep -q 'latchkey-recovery' || fail "its token"
  cp k before && cryptsetup repair -q --disable-locks k && cmp before k || fail "$luks: repair"
  run header check k >/dev/null || fail "$luks: header check: $(run header check k)"
  run key remove k --passphrase-file third >/dev/null
  opens "$recovery" k || fail "$luks: recovery alone"
  run key remove k --passphrase-file typed --force >/dev/null
  ends 4 run header check k
done
run key list o | grep -q 'keyslot 0' || fail "list"
run key list o --json | python3 -c 'import json,sys; assert json.load(sys.stdin)["keyslots"][0]["keyslot"] == 0'
# What cryptsetup changes is seen here.
printf first >first.raw
printf second >second.raw
truncate -s 20M c
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --disable-locks \
  --key-file first.raw c
run key add c --passphrase-file first --new-passphrase-file third --priority first "${cheap[@]}" >/dev/null
cryptsetup luksDump c | grep -q 'Priority:.*preferred' || fail "--priority"
run key set c --slot 1 --priority named --label 'new name' >/dev/null
cryptsetup luksDump c >said
grep -q 'Priority:.*ignored' said && grep -q 'Label:.*new name' said || fail "key set: $(cat said)"
expect 3 '' run key test c --passphrase-file third
run key test c --passphrase-file third --keyslot 1 >/dev/null || fail "key set --priority named"
expect 2 'too long' run key set c --slot 1 --priority first --label "$(printf 'x%.0s' {1..48})"
expect 2 'is not in use' run key set c --slot 5 --priority first --label other
expect 2 'control' run key set c --label $'a\e[2Jb'
expect 2 'control' run key set c --label $'\xff'
cryptsetup luksDump c >said
grep -q 'Priority:.*ignored' said && grep -q 'Label:.*new name' said || fail "half done: $(cat said)"
run key set c --slot 1 --priority normal >/dev/null
run key set c --label '' >/dev/null
cryptsetup luksDump c >said
grep -q 'Label:.*(no label)' said && ! grep -q ignored said || fail "key set, back: $(cat said)"
expect 2 'go together' run key set c --slot 1
expect 2 'nothing to set' run key set c
cryptsetup luksAddKey -q --disable-locks --key-file first.raw --pbkdf pbkdf2 \
  --pbkdf-force-iterations 1000 c second.raw
run key test c --passphrase-file second | grep -q 'keyslot 2' || fail "a key of cryptsetup's"

echo "== what a removal left that was cut short"
for version in --luks1 --luks2; do
  run format halfway --size 20M --force $version --passphrase-file first "${cheap[@]}" >/dev/null
  for key in second third fourth; do
    run key add halfway --passphrase-file first --new-passphrase-file $key "${cheap[@]}" >/dev/null
  done
  run key remove halfway --passphrase-file second >/dev/null
  expect 2 'key remove --unused' run key remove halfway --slot 1 --passphrase-file first
  at=15000000 data=16777217 # near the end of LUKS2's key slots area
  [ $version = --luks2 ] || at=$(((8 + 7 * 504 + 1) * 512)) data=2097153 # in LUKS1's eighth
  printf 'left over' | dd of=halfway bs=1 seek=$at conv=notrunc status=none
  digest <(tail -c +$data halfway) >was
  run key remove halfway --unused >said || fail "$version: --unused"
  grep -q '^overwritten: .* that no key slot uses' said || fail "said: $(cat said)"
  ! grep -q 'left over' halfway || fail "$version: not overwritten"
  [ "$(digest <(tail -c +$data halfway))" = "$(cat was)" ] || fail "$version: too much"
  cryptsetup luksDump halfway >/dev/null || fail "$version: after --unused"
  for key in first third fourth; do opens $key halfway || fail "$version: $key after --unused"; done
  run header check halfway >/dev/null || fail "$version: $(run header check halfway)"
  expect 2 'excludes' run key remove halfway --unused --slot 0
  expect 2 'excludes' run key remove halfway --unused --key first
done

echo "== headers: backup, restore, check, repair"
for image in c vhd-gpt-luks1 vhd-dynamic-gpt-luks2; do
  rm -f b* w*
  run header backup $image b 2>/dev/null
  [ "$(mode b)" = 600 ] || fail "the backup has mode $(mode b)"
  sha256sum -c --quiet b.sha256 || fail "its digest"
  run key add $image --passphrase-file first --new-key-file gen.key "${cheap[@]}" >/dev/null
  expect 1 'say --yes' setsid -w "$LATCHKEY" header restore $image b --backup w
  [ ! -e w ] || fail "a backup of what was not changed"
  run header restore $image b --backup w --yes >/dev/null 2>&1
  [ "$(mode w)" = 600 ] || fail "what was there has mode $(mode w)"
  run key test $image --passphrase-file first >/dev/null || fail "$image: restored"
  expect 3 'no key fits' run key test $image --key-file gen.key
  run header check $image >/dev/null || fail "$image: $(run header check $image)"
  printf x | dd of=b bs=1 seek=5000 conv=notrunc status=none
  expect 4 'it has changed' run header restore $image b --backup w2 --yes
done
run header backup timed other 2>/dev/null
expect 1 'not of this volume.*uuid' run header restore c other --backup w2 --yes
[ ! -e w2 ] || fail "refused, and yet a backup"
# A volume that was re-encrypted keeps its uuid: its key is another one than the backup's.
for luks in luks1 luks2; do
  rm -f r* other w2*
  for image in r other; do
    run format $image --size 20M --$luks --uuid 22222222-2222-3333-4444-555555555555 \
      --passphrase-file first "${cheap[@]}" >/dev/null
  done
  run header backup r r.head 2>/dev/null
  digest other >was
  expect 1 'volume key here is another one' run header restore other r.head --backup w2 --yes
  [ "$(digest other)" = "$(cat was)" ] || fail "$luks: refused, and yet restored"
  run header restore other r.head --backup w2 --yes --force >/dev/null 2>&1 || fail "--force"
  run key test other --passphrase-file first >/dev/null || fail "$luks: not restored"
  expect 3 'no key fits' run header check r --passphrase-file second
  expect 5 'cannot' run header check r --passphrase-file nothing-there
  run header check r --passphrase-file first >/dev/null || fail "$luks: check with a key"
done
# A named header that is gone is missed, and the data beside it is not taken for it.
run format rr --size 20M --passphrase-file first "${cheap[@]}" >/dev/null
truncate -s 16M gone
digest rr >was
rm -f w2*
if run header restore rr r.head --header gone --backup w2 --yes >said 2>&1; then
  fail "restored: $(cat said)"
fi
[ "$(digest rr)" = "$(cat was)" ] || fail "the data was written instead of its header"
for at in 20 5000 16404; do
  printf x | dd of=c bs=1 seek=$at conv=notrunc status=none
  ends 1 run header check c
  rm -f w2*
  run header repair c --backup w2 --yes >said 2>/dev/null || fail "repair"
  grep -q 'written anew' said || fail "repair said: $(cat said)"
  run header check c >/dev/null || fail "after repair: $(run header check c)"
  cryptsetup luksDump c >/dev/null
done
dd if=/dev/zero of=c bs=512 seek=70 count=1 conv=notrunc status=none
ends 4 run header check c
grep -q 'keyslot 0.*overwritten' said || fail "check said: $(cat said)"

# cryptsetup's mark of a LUKS1 volume under re-encryption is no damage.
run format busy --size 20M --luks1 --passphrase-file first "${cheap[@]}" >/dev/null
printf '\336\255' | dd of=busy bs=1 seek=4 conv=notrunc status=none
digest busy >was
ends 4 run info busy
grep -q 're-encryption of this luks1 volume was interrupted' said || fail "info said: $(cat said)"
expect 4 'was interrupted' run header repair busy --backup w3 --yes
[ "$(digest busy)" = "$(cat was)" ] || fail "it was marked as whole"

# A partition table in the place of the first copy: which of the two is meant, a person has to say.
# Boot code with it takes away the letters LUKS; without it they stay.
for code in 0 446; do
  run format parted --size 20M --force --passphrase-file first "${cheap[@]}" >/dev/null
  rm -f parted.saved* && run header backup parted parted.saved 2>/dev/null
  head -c $code /dev/urandom | dd of=parted conv=notrunc status=none
  printf 'label: dos\nstart=2048\n' | sfdisk -q --wipe never parted
  digest parted >was
  run info parted | grep -q 'whose second copy is whole' || fail "info: $(run info parted)"
  rm -f w7*
  expect 2 'no partition of parted' run header repair parted --backup w7 --yes --force
  whole=(parted --partition 0)
  expect 1 '--force writes the header over it' run header repair "${whole[@]}" --backup w7 --yes
  expect 1 'a partition table, which the header' run header restore "${whole[@]}" parted.saved \
    --backup w7 --yes
  run header check "${whole[@]}" >said || [ $? = 1 ]
  grep -q 'it wants --force' said || fail "check: $(cat said)"
  expect 1 'no encrypted volume' run key remove "${whole[@]}" --unused
  [ ! -e w7 ] && [ "$(digest parted)" = "$(cat was)" ] || fail "refused, and yet something was done"
  run header repair "${whole[@]}" --backup w7 --yes --force >/dev/null 2>said || fail "repair: $(cat said)"
  run key test parted --passphrase-file first >/dev/null || fail "a partition table is still there"
done
run header repair parted --backup w8 --yes >said || fail "repair of a whole one"
grep -q 'nothing to repair' said && [ ! -e w8 ] || fail "repair of a whole one: $(cat said)"

echo "== the header of one that is kept apart is not written over data"
run format apart --size 20M --header apart.head --passphrase-file first "${cheap[@]}" >/dev/null
run header backup apart apart.saved --header apart.head 2>/dev/null
digest apart >was
expect 1 'kept apart from its data' run header restore apart apart.saved --backup w4 --yes
[ ! -e w4 ] && [ "$(digest apart)" = "$(cat was)" ] || fail "the data was overwritten"
# Its file can be gone, or something else.
size=$(stat -c %s apart.head)
rm apart.head && truncate -s "$size" apart.head
run header restore apart apart.saved --header apart.head --backup w4 --yes >/dev/null 2>said ||
  fail "a wiped header: $(cat said)"
run key test apart --header apart.head --passphrase-file first >/dev/null || fail "restored"
head -c "$size" /dev/urandom >other.head
expect 1 'is it the right file' run header restore apart apart.saved --header other.head --backup w5 --yes
# What is put aside is all that is overwritten.
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
  --luks2-keyslots-size 24m --key-file first --header large.head apart
run header backup apart large.saved --header large.head 2>/dev/null
truncate -s 40M apart
digest apart >was
expect 1 'kept apart from its data' run header restore apart large.saved --backup w5 --yes
[ ! -e w5 ] || fail "refused, and yet something was put aside"
run header restore apart large.saved --backup w5 --yes --force >/dev/null 2>said ||
  fail "--force: $(cat said)"
[ "$(digest apart)" != "$(cat was)" ] || fail "--force overwrote nothing"
cp apart undone
dd if=w5 of=undone conv=notrunc status=none
[ "$(digest undone)" = "$(cat was)" ] || fail "what was put aside is not all that was overwritten"

echo "== a header with no room beside it"
truncate -s 20M tight
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
  --luks2-keyslots-size 256k --key-file first tight
run header backup tight tight.saved 2>/dev/null
printf second | cryptsetup luksChangeKey -q --disable-locks --key-file first --pbkdf pbkdf2 \
  --pbkdf-force-iterations 1000 tight - 2>/dev/null || fail "luksChangeKey"
digest tight >was
expect 1 'a power cut would leave neither' run header restore tight tight.saved --backup w6 --yes
[ ! -e w6 ] && [ "$(digest tight)" = "$(cat was)" ] || fail "refused, and yet something was done"
run header restore tight tight.saved --backup w6 --yes --force >/dev/null 2>&1 || fail "--force"
run key test tight --key-file first >/dev/null || fail "tight: not restored"

echo "== a detached header is written, the data is not"
run format data --size 8M --header head --passphrase-file first "${cheap[@]}" >/dev/null
digest data >was
run key add data --header head --passphrase-file first --new-passphrase-file second "${cheap[@]}" >/dev/null
run key change data --header head --passphrase-file first --new-passphrase-file third "${cheap[@]}" >/dev/null
opens second --header head data && opens third --header head data || fail "detached keys"
[ "$(digest data)" = "$(cat was)" ] || fail "the data file was changed"

echo "== format --mkfs"
need_fuse
run format fs.vhd --size 64M --container vhd --partition gpt --mkfs ext4 --label files \
  --passphrase-file first "${cheap[@]}" >/dev/null
mkdir plain
run expose fs.vhd plain --passphrase-file first
e2fsck -fn plain/p1 >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
dumpe2fs -h plain/p1 2>/dev/null | grep -q 'volume name: *files' || fail "its label"
run umount plain
# Nothing in it is smaller than the volume's sectors.
for kind in ext2 ext4 xfs btrfs vfat ntfs exfat; do
  command -v mkfs.$kind >/dev/null || { echo "   no mkfs.$kind here: not tried"; continue; }
  run format fs.$kind --size 340M --mkfs $kind --label files --passphrase-file first "${cheap[@]}" \
    >said || fail "--mkfs $kind"
  sector=4096
  [ $kind != exfat ] || sector=512
  grep -q "sectors of $sector" said || fail "--mkfs $kind: $(cat said)"
  run expose fs.$kind plain --passphrase-file first
  [ "$(blkid -p -o value -s TYPE plain/disk)" = $kind ] || fail "$kind: blkid"
  [ "$(blkid -p -o value -s LABEL plain/disk | tr a-z A-Z)" = FILES ] || fail "$kind: its label"
  number() { od -An -j "$1" -N "$2" --endian="${3:-little}" -t u"$2" plain/disk | tr -d ' '; }
  case $kind in
    ext*) [ "$(number 1048 4)" = 2 ] || fail "$kind: blocks of $(number 1048 4)" ;;
    xfs) [ "$(number 102 2 big)" = 4096 ] || fail "xfs: sectors of $(number 102 2 big)" ;;
    vfat | ntfs) [ "$(number 11 2)" = 4096 ] || fail "$kind: sectors of $(number 11 2)" ;;
  esac
  run umount plain
  rm fs.$kind
done
echo "all right"
