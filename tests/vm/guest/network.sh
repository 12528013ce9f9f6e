# Sourced by init: the kernel's own NBD client at Latchkey's servers, over the emulated network.

host=10.0.2.2 # this machine's loopback, seen through QEMU's user network

set_up_network() {
  ip link set lo up && ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0
}

# connect NAME DEVICE PORT EXPORT OPTION...
connect() {
  local name=$1 device=$2 port=$3 export=$4
  shift 4
  status "$name.connect" nbd-client "$host" "$port" "$device" -N "$export" "$@" || return
  await has_size "$device"
}
has_size() { [ "$(blockdev --getsize64 "$1")" -gt 0 ]; }

disconnect() { # NAME DEVICE OPTION...
  local name=$1 device=$2
  shift 2
  status "$name.disconnect" nbd-client -d "$device" "$@"
}

# What the kernel made of the server's flags, and whether it has sent it flushes.
limits() { # NAME DEVICE
  local queue=/sys/block/${2#/dev/}
  report "$1.cache" "$(cat "$queue/queue/write_cache")"
  report "$1.fua" "$(cat "$queue/queue/fua")"
  report "$1.read-only" "$(cat "$queue/ro")"
}
flushes() { # NAME DEVICE: field 16 of a block device's statistics
  local count
  count=$(awk '{ print $16 }' "/sys/block/${2#/dev/}/stat")
  if [ "$count" -gt 0 ]; then report "$1.flushes" some; else report "$1.flushes" none; fi
}
connections() { # NAME PORT: how many there are to a server
  report "$1.connections" "$(netstat -tn | grep -c "$host:$2 *ESTABLISHED")"
}
