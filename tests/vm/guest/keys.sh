# Sourced by init: keys that Latchkey gave and took away, and volumes made and changed here.

# Cheap key derivation: an emulated processor is slow.
cheap_pbkdf2="--pbkdf pbkdf2 --pbkdf-force-iterations 1000"
cheap_argon2="--pbkdf argon2id --pbkdf-memory 4096 --pbkdf-parallel 1 --pbkdf-force-iterations 4"

# opens NAME DEVICE KEY...: cryptsetup's status for each of the keys; 0 opens, 2 is a wrong key.
opens() {
  local name=$1 device=$2 key
  shift 2
  for key; do
    status "$name.$key" cryptsetup open --test-passphrase --key-file "/$key" "$device"
  done
}

# change_keys NAME DEVICE: "second" becomes "fourth", and "fifth" comes.
change_keys() {
  status "$1.change" cryptsetup luksChangeKey -q $cheap_pbkdf2 --key-file /second "$2" /fourth
  status "$1.add" cryptsetup luksAddKey -q $cheap_pbkdf2 --key-file /third "$2" /fifth
}

# make_volume NAME DEVICE TYPE OPTION...: a volume of the guest's own, its keys and its plaintext.
make_volume() {
  local name=$1 device=$2
  shift 2
  status "$name.format" cryptsetup luksFormat -q --key-file /first "$@" "$device" || return
  status "$name.add" cryptsetup luksAddKey -q $cheap_pbkdf2 --key-file /first "$device" /second
  status "$name.change" cryptsetup luksChangeKey -q $cheap_pbkdf2 --key-file /first "$device" /third
  status "$name.open" cryptsetup open --key-file /third "$device" "$name" || return
  dd if=/dev/urandom of="/dev/mapper/$name" bs=1M status=none # until it is full
  sync
  blockdev --flushbufs "/dev/mapper/$name"
  hash "$name.plain-after" "/dev/mapper/$name"
  report "$name.size" "$(blockdev --getsize64 "/dev/mapper/$name")"
  status "$name.close" cryptsetup close "$name"
}
