# Sourced by run: BitLocker volumes that Latchkey wrote, for cryptsetup and dm-crypt to open.
# The builder of the tests makes them, with other contents than Latchkey then writes.

bitlockers=()

# bitlocker NAME OPTION...: options of the builder.
bitlocker() {
  local name=$1 bytes=12582912 what at check
  [ -n "${MAKE_BITLOCKER:-}" ] || return 0
  mkdir "keys-$name"
  head -c "$bytes" /dev/urandom >plain
  "$MAKE_BITLOCKER" plain "$name" "keys-$name" external=vm "${@:2}"
  head -c "$bytes" /dev/urandom >plain
  # What is BitLocker's own reads as zeros and takes no others.
  while IFS='=' read -r what at; do
    case $what in
      metadata?) zero_plain "$at" 65536 ;;
      relocated) zero_plain "$at" 8192 ;;
    esac
  done <"keys-$name/layout"
  latchkey serve "$name" --read-write --key "keys-$name/bek.0" --run 'nbdcopy --flush plain "$uri"'
  cp "keys-$name/bek.0" "root/$name.bek"
  attach "$name"
  bitlockers+=("$name")
  wants "$name.plain" "$(digest plain)"
  for check in open write-pieces write-sectors close; do wants "$name.$check" 0; done
  asks "$name.plain-after"
  plan bitlocker "$name" "\$(disk $name)" "/$name.bek"
}
zero_plain() { # OFFSET LENGTH
  dd if=/dev/zero of=plain bs=512 seek=$(($1 / 512)) count=$(($2 / 512)) conv=notrunc status=none
}

read_bitlocker() { # NAME
  local name=$1 wanted
  rm -f back
  latchkey serve "$name" --key "keys-$name/bek.0" --run 'nbdcopy "$uri" back'
  wanted=$(told "$name.plain-after")
  [ "$(digest back)" = "$wanted" ] || fail "$name: Latchkey reads what the guest did not write"
  if grep -qx "$name.plain $wanted" wanted; then fail "$name: the guest wrote nothing"; fi
  echo "ok: $name, read back"
}
