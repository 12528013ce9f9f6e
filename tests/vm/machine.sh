# Sourced by run: Latchkey's servers and the emulated machine.

drives=()  # of QEMU: the guest's virtio disks
servers_=() # process numbers of servers

# attach FILE: as a disk of the guest's, which finds it by its serial number, the file's name.
attach() {
  drives+=(-drive "if=none,id=$1,format=raw,file=$work/$1"
    -device "virtio-blk-pci,drive=$1,serial=$1")
}

# start_server NAME IMAGE OPTION...: sets $port.
start_server() {
  local name=$1
  shift
  "$LATCHKEY" serve "$@" --listen 127.0.0.1:0 >"$name.ready" 2>"$name.log" </dev/null &
  servers_+=($!)
  await grep -q ready "$name.ready" || fail "no server for $name: $(cat "$name.log")"
  port=$(sed -n 's/^ready nbd:.*:\([0-9]*\)$/\1/p' "$name.ready")
  [ -n "$port" ] || fail "$name has no port: $(cat "$name.ready")"
}

stop_servers() {
  local pid
  for pid in "${servers_[@]}"; do
    kill "$pid" || fail "a server ended before its time: $(cat ./*.log)"
    wait "$pid" || fail "a server ended with $?: $(cat ./*.log)"
  done
  servers_=()
}

# Software emulation with two processors, so that dm-crypt works in parallel as it does elsewhere.
# The guest powers off by itself; a panic ends it too.
boot() { # INITRAMFS
  local status=0 seconds=$SECONDS
  : >results.raw
  : >console
  timeout -k 10 "${LATCHKEY_VM_TIMEOUT:-900}" qemu-system-x86_64 \
    -machine pc,accel=tcg -cpu max -smp 2 -m 512 -nodefaults -no-user-config -no-reboot \
    -display none -monitor none -serial "file:$work/console" -serial "file:$work/results.raw" \
    -kernel "$unpacked/boot/vmlinuz-$release" -initrd "$1" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on" \
    -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
    "${drives[@]}" </dev/null &
  wait $! || status=$?
  [ -z "${LATCHKEY_VM_LOG:-}" ] || cp console results.raw "$LATCHKEY_VM_LOG/"
  [ "$status" = 0 ] || {
    tail -n 60 console
    fail "the emulated machine ended with $status after $((SECONDS - seconds)) s"
  }
  echo "it ran for $((SECONDS - seconds)) s"
}
