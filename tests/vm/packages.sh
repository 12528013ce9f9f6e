# Sourced by run: Debian's own kernel and the guest's programs, out of Debian's packages. They are
# downloaded and unpacked in a cache folder and never installed: a kernel would become the one that
# this machine boots, and busybox-static would replace its busybox.
#
# After guest_packages, $unpacked is the root of what was unpacked, $release the kernel's release.

# guest_packages CACHE: takes what the folder has, or fills it. Remove it to get newer packages.
guest_packages() {
  local cache=$1
  unpacked=$cache/unpacked
  if [ ! -e "$unpacked/release" ]; then
    need apt-get apt-cache dpkg-deb
    echo "== getting Debian's kernel and the guest's programs into $cache"
    download_and_unpack
    mkdir -p "$cache"
    rm -rf "$unpacked"
    mv "$work/packages/root" "$unpacked"
    mv "$work/packages/release" "$unpacked/release" # now it is whole
    rm -rf "$work/packages"
  fi
  release=$(cat "$unpacked/release")
}

apt() { # apt TOOL ARGUMENT...: with the lists that are in use, and without waiting for a network
  local tool=$1
  shift
  "$tool" -q "${lists[@]}" -o APT::Sandbox::User=root -o Acquire::Retries=1 \
    -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}

# The flavour for virtual machines: a quarter of the size, and everything that is needed here.
kernel_package() {
  apt apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }'
}

download() {
  local kernel
  rm -f ./*.deb
  kernel=$(kernel_package)
  [ -n "$kernel" ] || return 1
  apt apt-get download "$kernel" busybox-static nbd-client libnl-3-200 libnl-genl-3-200
}

download_and_unpack() {
  local lists=() package kernel
  mkdir -p "$work/packages/root" "$work/packages/lists/partial" "$work/packages/archives/partial"
  cd "$work/packages"
  if ! download >apt.log 2>&1; then
    # This machine's package lists are absent or old; fresh ones of our own leave them as they are.
    lists=(-o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/archives")
    if ! apt apt-get update >>apt.log 2>&1 || ! download >>apt.log 2>&1; then
      sed -n '/^[EW]: /p' apt.log | tail -n 3
      skip "Debian's packages (linux-image-cloud-amd64, busybox-static, nbd-client) cannot be had"
    fi
  fi
  for package in *.deb; do dpkg-deb -x "$package" root; done
  kernel=$(basename root/boot/vmlinuz-*)
  root/bin/busybox depmod -b "$PWD/root" "${kernel#vmlinuz-}"
  echo "${kernel#vmlinuz-}" >release
  cd "$work"
}
