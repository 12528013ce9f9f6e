# Sourced by init: encrypted volumes on virtio disks and network block devices, opened by dm-crypt.

# disk NAME: the virtio disk with this serial number.
disk() {
  local serial
  for serial in /sys/block/vd*/serial; do
    if [ "$(cat "$serial")" = "$1" ]; then
      serial=${serial%/serial}
      echo "/dev/${serial##*/}"
    fi
  done
}

# Single sectors past the file system, the device's very last among them, past the page cache.
write_sectors() { # DEVICE
  local device=$1 sector sectors at
  sector=$(blockdev --getss "$device")
  sectors=$(($(blockdev --getsize64 "$device") / sector))
  for at in $((sectors - 1)) $((sectors - 7)) $((sectors - 524288 / sector)); do
    dd if=/dev/urandom of="$device" bs="$sector" seek="$at" count=1 oflag=direct conv=notrunc \
      status=none || return 1
  done
}

# A new file, a removed one, a folder, and a part of a large file, all in one transaction or many.
write_files() { # FOLDER
  mkdir "$1/guest" &&
    dd if=/dev/urandom of="$1/guest/new" bs=100001 count=15 conv=fsync status=none &&
    dd if=/dev/urandom of="$1/large" bs=1000 seek=1001 count=77 conv=notrunc,fsync status=none &&
    rm "$1/small/17" &&
    cp "$1/small/18" "$1/guest/copy" &&
    sync
}

# contents NAME DEVICE: reads everything in a device that holds an ext4, then writes to both.
contents() {
  local name=$1 device=$2
  report "$name.sector" "$(blockdev --getss "$device")"
  hash "$name.plain" "$device"
  status "$name.fsck" e2fsck -fn "$device"
  status "$name.mount" mount -t ext4 "$device" /mnt || return
  tree "$name.files" /mnt
  status "$name.write-files" write_files /mnt
  tree "$name.files-after" /mnt
  status "$name.umount" umount /mnt
  status "$name.write-sectors" write_sectors "$device"
  blockdev --flushbufs "$device"
  hash "$name.plain-after" "$device"
}

# volume NAME DEVICE PASSPHRASE-FILE [OPTION...]: all of that in a volume that cryptsetup opens.
volume() {
  local name=$1 device=$2 pass=$3
  shift 3
  await test -b "$device"
  status "$name.open" cryptsetup open --key-file "$pass" "$@" "$device" "$name" || return
  contents "$name" "/dev/mapper/$name"
  status "$name.close" cryptsetup close "$name"
}

# Which of its drivers the kernel has used is what /proc/crypto lists by now.
cipher_drivers() {
  grep -q 'driver *: xts-aes-aesni' /proc/crypto && report cipher.xts aesni
}

# Pieces that no sector ends with, and sectors of the volume's very front, which BitLocker keeps in
# another place.
write_pieces() { # DEVICE
  local sector at
  sector=$(blockdev --getss "$1")
  dd if=/dev/urandom of="$1" bs=100001 seek=7 count=9 conv=notrunc,fsync status=none || return 1
  for at in 0 $((8192 / sector - 1)) $((8192 / sector)); do
    dd if=/dev/urandom of="$1" bs="$sector" seek="$at" count=1 conv=notrunc,fsync status=none ||
      return 1
  done
}

bitlocker() { # NAME DEVICE KEY-FILE
  local name=$1 device=/dev/mapper/$1
  status "$name.open" cryptsetup open --type bitlk --key-file "$3" "$2" "$name" || return
  hash "$name.plain" "$device"
  status "$name.write-pieces" write_pieces "$device"
  status "$name.write-sectors" write_sectors "$device"
  blockdev --flushbufs "$device"
  hash "$name.plain-after" "$device"
  status "$name.close" cryptsetup close "$name"
}
