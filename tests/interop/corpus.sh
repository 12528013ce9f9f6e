#!/usr/bin/env bash
# Real volumes made by others, opened as a user would: through `serve` and nbdcopy, and through
# `expose`; as they are, and as a partition of disks of every kind. Their plaintext has a known
# digest. Usage: corpus.sh plain | gpt512 | gpt4096 | mbr512 | mbr4096
. "$(dirname "$0")/../support/lib.sh"

wrapping=$1
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

# in_containers NAME DIGEST FILE OPTION...: $work/disk.raw as it is and in both kinds of VHD.
in_containers() {
  local name=$1 wanted=$2 file=$3
  shift 3
  check "$name, raw" "$wanted" "$file" "$work/disk.raw" "$@"
  qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$work/disk.raw" "$work/fixed.vhd"
  check "$name, fixed VHD" "$wanted" "$file" "$work/fixed.vhd" "$@"
  qemu-img convert -f raw -O vpc -o force_size=on "$work/disk.raw" "$work/dynamic.vhd"
  check "$name, dynamic VHD" "$wanted" "$file" "$work/dynamic.vhd" "$@"
}

opened=0
mkdir "$work/empty"
while IFS=$'\x1f' read -r file kind secret expect bytes sha note; do
  case $file in
    luks/* | containers/*.vhd) ;;
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
  esac
  case $expect:$wrapping in
    open:plain)
      case $note in
        *serpent*) expect 4 "serpent-xts-plain64" "$LATCHKEY" serve "$image" "${options[@]}" ;;
        *) check "$file" "$sha" disk "$image" "${options[@]}" && opened=$((opened + 1)) ;;
      esac
      ;;
    open:*)
      case $note in *serpent*) continue ;; esac
      partitioned "$image"
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
