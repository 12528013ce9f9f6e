#!/usr/bin/env bash
# Real volumes made by others, copied to every kind of target; their plaintext has a known digest.
# Usage: copy_corpus.sh luks | bitlocker | containers
. "$(dirname "$0")/../support/lib.sh"
folder=$1
corpus=${LATCHKEY_CORPUS:-}
[ -n "$corpus" ] && [ -e "$corpus/expected.tsv" ] || skip "LATCHKEY_CORPUS does not name a corpus"
need qemu-img nbdkit
PATH=$PATH:/sbin:/usr/sbin
cd "$work"
printf 'another\n' >another
cheap=(--pbkdf pbkdf2 --pbkdf-iterations 1000)
nbd="nbd+unix:///?socket=$work/sock"

# copy_all IMAGE DIGEST OPTION...
copy_all() {
  local image=$1 wanted=$2 got
  shift 2
  rm -f out*
  "$LATCHKEY" copy "$image" out.raw "$@" </dev/null >said 2>&1 || fail "$image to raw: $(cat said)"
  got=$(digest out.raw)
  [ "$got" = "$wanted" ] || fail "$image to raw: $got, not $wanted"
  sha256sum --quiet -c out.raw.sha256 || fail "$image: the digest file"
  for format in vhd vhd-dynamic; do
    "$LATCHKEY" copy "$image" out.$format --format $format "$@" </dev/null >/dev/null 2>&1 ||
      fail "$image to $format"
    qemu-img compare -q -f raw -F vpc out.raw out.$format || fail "$image: $format differs"
  done
  "$LATCHKEY" copy "$image" out.luks --encrypt --new-passphrase-file another "${cheap[@]}" \
    --verify "$@" </dev/null >/dev/null 2>&1 || fail "$image to LUKS2"
  "$LATCHKEY" copy out.luks out.back --passphrase-file another </dev/null >/dev/null 2>&1 ||
    fail "$image back from LUKS2"
  cmp out.raw out.back || fail "$image: LUKS2 gave back something else"
  nbdkit -f -U sock -P pid memory "$(stat -c %s out.raw)" &
  await test -s pid || fail "nbdkit does not start"
  "$LATCHKEY" copy "$image" "$nbd" "$@" </dev/null >/dev/null 2>&1 || fail "$image to NBD"
  qemu-img compare -q -f raw -F raw out.raw "$nbd" || fail "$image: NBD differs"
  kill "$(cat pid)"
  wait "$(cat pid)" || true
  rm -f sock pid
  if [ -n "$with_loop" ]; then
    truncate -s "$(stat -c %s out.raw)" device
    loop=$(losetup --find --show device)
    "$LATCHKEY" copy "$image" "$loop" --force "$@" </dev/null >/dev/null 2>&1 || fail "$image to $loop"
    losetup -d "$loop"
    loop=
    cmp out.raw device || fail "$image: the block device differs"
    rm device
  fi
  echo "ok: $image"
}

with_loop=
if [ "$(id -u)" = 0 ] && truncate -s 1M probe && loop=$(losetup --find --show probe 2>/dev/null); then
  losetup -d "$loop"
  loop= with_loop=yes
else
  echo "no block device as a target: that needs root and a loop device"
fi

copied=0 last=
while IFS=$'\x1f' read -r file kind secret expect bytes sha note; do
  case $file in
    $folder/*.vhdx | $folder/*serpent*) continue ;;  # not opened
    $folder/*) ;;
    *) continue ;;
  esac
  # Other keys of the same volume give the same plaintext.
  [ "$file" != "$last" ] || continue
  case $expect in open | disk) ;; *) continue ;; esac
  last=$file
  case $kind in
    keyfile) options=(--key-file "$corpus/$secret") ;;
    passphrase) printf '%s\n' "$secret" >secret && options=(--passphrase-file secret) ;;
    recovery) printf '%s\n' "$secret" >secret && options=(--key secret) ;;
    bek) options=(--key "$corpus/$secret") ;;
    *) options=() ;;
  esac
  copy_all "$corpus/$file" "$sha" "${options[@]}"
  copied=$((copied + 1))
done < <(grep -v "^#" "$corpus/expected.tsv" | tr "\t" "\037")
[ $copied -gt 0 ] || fail "nothing in $folder was copied"
echo "$copied volumes copied"
