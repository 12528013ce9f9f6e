# Sourced by run: images behind Latchkey's NBD server, on this machine's loopback, for the guest.

connected() { # NAME: what every connection has to do
  wants "$1.connect" 0
  wants "$1.disconnect" 0
}
limits() { # NAME CACHE FUA READ-ONLY
  wants "$1.cache" "$2"
  wants "$1.fua" "$3"
  wants "$1.read-only" "$4"
  plan limits "$1" "$5"
}

# Plaintext, decrypted by Latchkey: over two connections, and once more over another way into the
# kernel (ioctl instead of netlink); then as the partition of the whole disk.
served_plaintext() { # NAME OPTION...
  local name=$1 bytes
  make "$name" "${@:2}"
  bytes=$(stat -c %s plain)
  start_server "$name" "$name" --read-write --passphrase-file first
  connected "$name"
  plan connect "$name" /dev/nbd0 "$port" "''" -C 2
  wants "$name.connections" 2
  plan connections "$name" "$port"
  limits "$name" "write back" 1 0 /dev/nbd0
  wants_contents "$name" 512
  plan contents "$name" /dev/nbd0
  wants "$name.flushes" some
  plan flushes "$name" /dev/nbd0
  plan disconnect "$name" /dev/nbd0

  connected "$name-again"
  plan connect "$name-again" /dev/nbd1 "$port" "''" -nonetlink
  asks "$name-again.plain"
  plan hash "$name-again.plain" /dev/nbd1
  plan disconnect "$name-again" /dev/nbd1 -nonetlink

  connected "$name-disk"
  plan connect "$name-disk" /dev/nbd2 "$port" disk
  plan await test -b /dev/nbd2p1
  asks "$name-disk.plain"
  plan hash "$name-disk.plain" /dev/nbd2p1 "$bytes"
  plan disconnect "$name-disk" /dev/nbd2
}

# Ciphertext, which the guest decrypts.
served_ciphertext() { # NAME OPTION...
  local name=$1
  make "$name" "${@:2}"
  start_server "$name" "$name" --read-write --locked
  connected "$name"
  plan connect "$name" /dev/nbd3 "$port" disk
  wants_volume "$name"
  plan volume "$name" /dev/nbd3 /first
  wants "$name.flushes" some
  plan flushes "$name" /dev/nbd3
  plan disconnect "$name" /dev/nbd3
}

# A server that is not told --read-write: the kernel knows, and cannot write.
served_read_only() { # NAME OPTION...
  local name=$1
  make "$name" "${@:2}"
  digest "$name" >"$name.digest"
  start_server "$name" "$name" --passphrase-file first
  connected "$name"
  plan connect "$name" /dev/nbd4 "$port" "''"
  limits "$name" "write back" 0 1 /dev/nbd4
  plan hash "$name.plain" /dev/nbd4
  wants "$name.write" 1
  plan status "$name.write" dd if=/dev/urandom of=/dev/nbd4 bs=4096 count=1 conv=notrunc,fsync
  plan disconnect "$name" /dev/nbd4
}
