#!/usr/bin/env bash
# Real volumes made by others, opened as a user would: through `serve` and nbdcopy, and through
# `expose`; as they are, and as a partition of disks of every kind. Their plaintext has a known
# digest.
# Usage: corpus.sh plain | gpt512 | gpt4096 | mbr512 | mbr4096 [bitlocker]
. "$(dirname "$0")/../support/lib.sh"

wrapping=$1
kind_of_volume=${2:-others}
corpus=${LATCHKEY_CORPUS:-}
[ -n "$corpus" ] && [ -e "$corpus/expected.tsv" ] || skip "LATCHKEY_CORPUS does not name a corpus"
need nbdcopy qemu-img fdisk
need_fuse
PATH=$PATH:/sbin:/usr/sbin
export LATCHKEY

# The digest of what an export gives, by each of the two ways.
by_nbd() {
  "$LATCHKEY" serve "$@" --run 'nbdcopy "$uri" - | sha256sum' </dev/null | cut -d' ' -f1
}
by_fuse() {
  local image=$1 file=$2
  shift 2
  mkdir -p "$work/exposed"
  "$LATCHKEY" expose "$image" "$work/exposed" "$@" </dev/null
  digest "$work/exposed/$file"
  "$LATCHKEY" umount "$work/exposed"
}

# check NAME DIGEST FILE IMAGE [OPTION...]
check() {
  local name=$1 wanted=$2 file=$3 image=$4 got
  shift 4
  got=$(by_nbd "$image" "$@")
  [ "$got" = "$wanted" ] || fail "$name by NBD: $got, not $wanted"
  got=$(by_fuse "$image" "$file" "$@")
  [ "$got" = "$wanted" ] || fail "$name by FUSE: $got, not $wanted"
  echo "ok: $name"
}

# partitioned IMAGE: a disk whose partition 2 is the image, in $work/disk.raw.
partitioned() {
  local bytes sector label
  bytes=$(stat -c %s "$1")
  case $wrapping in
    gpt512) sector=512 label=g ;;
    gpt4096) sector=4096 label=g ;;
    mbr512) sector=512 label=o ;;
    mbr4096) sector=4096 label=o ;;
  esac
  rm -f "$work/disk.raw"
  truncate -s $((bytes + 4 * 1024 * 1024)) "$work/disk.raw"
  # Partition 1 is 1 MiB of nothing; partition 2 begins right after it and holds the image exactly.
  local start=$((2 * 1024 * 1024 / sector)) kind=
  [ "$label" = o ] && kind=$'p\n'
  printf '%s\nn\n%s1\n%s\n%s\nn\n%s2\n%s\n%s\nw\n' "$label" "$kind" $((start / 2)) $((start - 1)) \
    "$kind" "$start" $((start + bytes / sector - 1)) |
    fdisk -b "$sector" -w always -W always "$work/disk.raw" >"$work/fdisk.log" 2>&1 ||
    fail "fdisk: $(cat "$work/fdisk.log")"
  dd if="$1" of="$work/disk.raw" bs=1M seek=2 conv=notrunc,sparse status=none
}

# $work/disk.raw in both kinds of VHD.
in_vhds() {
  qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$work/disk.raw" "$work/fixed.vhd"
  qemu-img convert -f raw -O vpc -o force_size=on "$work/disk.raw" "$work/dynamic.vhd"
}

# in_containers NAME DIGEST FILE OPTION...: $work/disk.raw as it is and in both kinds of VHD.
in_containers() {
  local name=$1 wanted=$2 file=$3
  shift 3
  check "$name, raw" "$wanted" "$file" "$work/disk.raw" "$@"
  check "$name, fixed VHD" "$wanted" "$file" "$work/fixed.vhd" "$@"
  check "$name, dynamic VHD" "$wanted" "$file" "$work/dynamic.vhd" "$@"
}

# about_bitlocker FILE: what `info` must say of it, a line a text. Read off the volumes with
# libbde and cryptsetup.
about_bitlocker() {
  case $1 in
    bitlocker/aes-cbc-128.img)
      printf '%s\n' 'AES-CBC 128' '512-byte sectors' E9726FAB-7656-4BC5-BB9E-ADF115953328 \
        'passphrase.*CDFDF65E-42EA-4486-AC2C-DB11D8B619F9' \
        'recovery password.*3FD763F9-74C7-4E90-8FA2-1F6A2E2B4E0C' 'fully encrypted'
      ;;
    bitlocker/aes-xts-128.img)
      printf '%s\n' 'XTS-AES 128' '512-byte sectors' 8F595209-F5B9-49A0-85D4-CB8F80258C27 \
        'passphrase.*3E55195C-8811-4D9B-97B4-2B9E5F8F5384' \
        'recovery password.*64311DEA-4587-4029-924A-BA299647998E' 'fully encrypted'
      ;;
    bitlocker/aes-xts-256.img)
      printf '%s\n' 'XTS-AES 256' '512-byte sectors' 635B3BDD-2AE5-453B-9BAE-68D325268A11 \
        'passphrase.*1C151A5A-6BCF-4D29-9393-D94E4A7D346A' \
        'recovery password.*83ABDB8F-3218-4BFD-ACED-215E1E189BDF' 'fully encrypted'
      ;;
    bitlocker/aes-cbc-elephant-128.img)
      printf '%s\n' 'AES-CBC 128' 'lephant' D1668FB9-2C16-40AA-8959-3493815234E6 \
        'recovery password.*B4454890-F4B2-4303-A788-E237176E400B' \
        'passphrase.*C2171489-53F5-45DF-A351-F38474A08DE7' 'fully encrypted'
      ;;
    bitlocker/togo-aes-cbc-128.img)
      printf '%s\n' 'AES-CBC 128' '512-byte sectors' E75379CF-8B7B-48D7-9210-84B63E730CF5 \
        'passphrase.*B8A05EFC-7939-4393-B4A7-DF3EA480530B' \
        'recovery password.*7B15C1AF-DEFA-4A3F-A89F-45B93812337E' 'fully encrypted'
      ;;
    bitlocker/aes-cbc-128-4k.img)
      printf '%s\n' 'AES-CBC 128' '4096-byte sectors' E6C131E8-3875-4833-AF6B-7807E8EFF324 \
        'passphrase.*6C6A13C8-7D6D-47B5-A704-E151E39C0E38' \
        'recovery password.*218A3504-0990-4EA3-871F-E7E8A4C1EA85' 'fully encrypted'
      ;;
    bitlocker/aes-xts-128-startup-key.img)
      printf '%s\n' 'XTS-AES 128' 5A95DB04-6EBC-4BA9-99A3-15A87A3D07B2 \
        'passphrase.*4F6AE327-F4CF-470B-A6F6-9DE8FDB7C051' \
        'recovery password.*294BC732-F82F-404C-A2CE-D1094ED59506' \
        'external key.*4381F759-C4F8-4DE0-BB61-FC33A831BDA5' \
        4381F759-C4F8-4DE0-BB61-FC33A831BDA5.BEK 'fully encrypted'
      ;;
    bitlocker/aes-xts-128-two-recovery.img)
      printf '%s\n' 'XTS-AES 128' 316A9DD0-5D5D-48FB-A2E8-0A02BB08701C \
        'passphrase.*2A9089BC-1E0F-4DB4-AB28-323D58789D4B' \
        'recovery password.*E7E48BAE-FF13-4F14-8222-971D469FAE0D' \
        'recovery password.*B7ADC334-FE6D-4AE4-B5C4-1C1D0DBC335B' 'fully encrypted'
      ;;
    bitlocker/aes-xts-128-clearkey-only.img)
      printf '%s\n' 'XTS-AES 128' DF73CB51-FF48-4033-8D56-A32CC2B1AB7A \
        'clear key.*F99F18E8-0348-4A6B-AFDF-58B1DD71F0D1' 'fully encrypted' 'suspended'
      ;;
    bitlocker/partially-encrypted-aes-cbc-128.img)
      printf '%s\n' 'AES-CBC 128' FE2AF132-A122-43B5-AE02-2DB7462D4507 \
        'passphrase.*5530D300-515D-46D7-B8D6-E77A9DBE8BF5' \
        'recovery password.*BF563C45-4036-42F4-B04A-46F2C9862570' \
        'clear key.*31F1BAEB-30F1-4D28-A288-3F25FA5B5D6E' 'encrypted'
      ;;
    bitlocker/aes-xts-128-eow.img)
      printf '%s\n' 'XTS-AES 128' 825FB80E-E416-422C-A36A-E996BD6B2022 \
        'passphrase.*8D719702-4896-405A-8128-51B6F285E42C' \
        'recovery password.*2565364C-947D-4CF0-9FA2-4EA51E3BBE86'
      ;;
    bitlocker/vista-aes-cbc-elephant-128.img)
      printf '%s\n' 'AES-CBC 128' 'lephant' 07E6814C-822F-4802-A39B-3BAC4832ED7F \
        'external key.*64683BBA-61D9-4350-B8B9-A5FD12E87290' \
        'recovery password.*B59C92D8-B1B1-485E-A8FF-B7EAFBA260F3' Vista 'the end is missing'
      ;;
    *) fail "nothing is known of $1" ;;
  esac
}

# check_info FILE IMAGE: everything that is known of the volume, a protector's lines taken as one.
check_info() {
  local text
  "$LATCHKEY" info "$2" >"$work/info" || fail "info $1: $(cat "$work/info")"
  sed -zi 's/\n          */ /g' "$work/info"
  grep -q 'BitLocker' "$work/info" || fail "info $1 does not say BitLocker: $(cat "$work/info")"
  while read -r text; do
    grep -qi -- "$text" "$work/info" || fail "info $1 does not say '$text': $(cat "$work/info")"
  done < <(about_bitlocker "$1")
  ! LC_ALL=C grep -q '[^[:print:]]' "$work/info" || fail "info $1 is not printable"
}

opened=0
wrapped=
mkdir "$work/empty"
while IFS=$'\x1f' read -r file kind secret expect bytes sha note; do
  case $kind_of_volume:$file in
    others:luks/* | others:containers/*.vhd | bitlocker:bitlocker/*) ;;
    *) continue ;;
  esac
  image=$corpus/$file
  options=()
  case $kind in
    keyfile) options=(--key-file "$corpus/$secret") ;;
    passphrase)
      printf '%s\n' "$secret" >"$work/secret"
      options=(--passphrase-file "$work/secret")
      ;;
    recovery)
      printf '%s\n' "$secret" >"$work/secret"
      options=(--key "$work/secret")
      ;;
    bek) options=(--key "$corpus/$secret") ;;
  esac
  [ $kind_of_volume:$wrapping = bitlocker:plain ] && check_info "$file" "$image"
  case $expect:$wrapping in
    open:plain)
      case $note in
        *serpent*) expect 4 "serpent-xts-plain64" "$LATCHKEY" serve "$image" "${options[@]}" ;;
        *) check "$file" "$sha" disk "$image" "${options[@]}" && opened=$((opened + 1)) ;;
      esac
      ;;
    open:*)
      case $note in *serpent*) continue ;; esac
      # Several keys of one volume stand in consecutive lines.
      [ "$wrapped" = "$file" ] || { partitioned "$image" && in_vhds; }
      wrapped=$file
      in_containers "$file in $wrapping" "$sha" p2 "${options[@]}"
      opened=$((opened + 1))
      ;;
    disk:plain) check "$file" "$sha" disk "$image" && opened=$((opened + 1)) ;;
    refuse:plain)
      printf 'any\n' >"$work/secret"
      expect 4 "keyslot" "$LATCHKEY" serve "$image" --passphrase-file "$work/secret"
      expect 4 "keyslot" "$LATCHKEY" expose "$image" "$work/empty" \
        --passphrase-file "$work/secret"
      ;;
    wrong-key:plain)
      printf 'any\n' >"$work/secret"
      expect 3 "tried" "$LATCHKEY" serve "$image" --passphrase-file "$work/secret"
      ;;
    unlock:plain)
      printf 'certainly not\n' >"$work/wrong"
      expect 3 "tried" "$LATCHKEY" serve "$image" --passphrase-file "$work/wrong"
      "$LATCHKEY" serve "$image" "${options[@]}" --run true </dev/null || fail "$file did not unlock"
      ;;
    info:plain) "$LATCHKEY" info "$image" >"$work/info" || [ $? = 4 ] || fail "info $file" ;;
  esac
done < <(grep -v '^#' "$corpus/expected.tsv" | tr '\t' '\037')
[ "$opened" -gt 0 ] || fail "the corpus has no volume to open"
echo "$opened images opened"
