# Sourced by run: the guest's initramfs, made of the unpacked packages, of this machine's cryptsetup
# and e2fsck with their libraries, and of tests/vm/guest.

modules=(virtio_pci virtio_blk virtio_net dm-mod dm-crypt dm-zero aesni-intel xts ecb cbc essiv
         sha256-ssse3 algif_skcipher nbd ext4)

# put_program PATH: a program and its libraries, those of the unpacked packages first.
put_program() {
  local library libraries=$unpacked/usr/lib/x86_64-linux-gnu:$unpacked/lib/x86_64-linux-gnu
  install -D "$1" "$root/bin/$(basename "$1")"
  env LD_LIBRARY_PATH="$libraries" ldd "$1" >ldd.out
  ! grep 'not found' ldd.out || skip "a library of $1 is not installed"
  for library in $(grep -o '/[^ ]*' ldd.out); do put_library "$library"; done
}

put_library() {
  case $1 in
    */ld-linux-x86-64.so.2) install -D "$1" "$root/lib64/ld-linux-x86-64.so.2" ;;
    *) install -D "$1" "$root/lib/x86_64-linux-gnu/$(basename "$1")" ;;
  esac
}

# The modules and all they depend on, as modules.dep says. What is built in is no file.
put_modules() {
  local name file folder=lib/modules/$release
  mkdir -p "$root/$folder"
  cp "$unpacked/$folder"/modules.{builtin,order} "$root/$folder/"
  for name in "${modules[@]}"; do
    if grep -q "/${name//[-_]/[-_]}\.ko" "$unpacked/$folder/modules.builtin"; then continue; fi
    grep "/${name//[-_]/[-_]}\.ko:" "$unpacked/$folder/modules.dep" >dep ||
      fail "the kernel $release has no module $name"
    for file in $(tr -d : <dep); do
      install -D -m 644 "$unpacked/$folder/$file" "$root/$folder/$file"
    done
  done
  "$unpacked/bin/busybox" depmod -b "$root" "$release"
  echo "${modules[*]}" >"$root/modules"
}

# make_initramfs FILE: of what run has put into $root, too.
make_initramfs() {
  local program
  mkdir -p "$root"/{bin,dev,proc,run,sys,tmp,mnt,etc}
  install "$unpacked/bin/busybox" "$root/bin/busybox"
  for program in cryptsetup e2fsck; do put_program "$(readlink -f "$(command -v $program)")"; done
  put_program "$unpacked/sbin/nbd-client"
  # Threads that end load it by name, and ldd does not see that.
  put_library "$(ldconfig -p | awk '$1 == "libgcc_s.so.1" && /x86-64/ { print $NF; exit }')"
  put_modules
  cp "$here"/guest/* "$root/"
  chmod 755 "$root/init"
  (cd "$root" && find . | "$unpacked/bin/busybox" cpio -o -H newc -R 0:0) >"$1" 2>cpio.log ||
    fail "cpio: $(cat cpio.log)"
}
