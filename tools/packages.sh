# Sourced by tools/latchkey and tests/run: which Debian packages are needed, and how they get here.
# Everything these functions say goes to stderr.

# To build the program.
build_packages=(g++ cmake ninja-build pkg-config libssl-dev libfuse3-dev libfmt-dev libcli11-dev
                nlohmann-json3-dev libargon2-dev libcurl4-openssl-dev libp11-kit-dev
                libext2fs-dev libfsxfs-dev libbfio-dev libnbd-dev)
# To use it: fusermount3 for ordinary users, ntfs-3g and fuse2fs for mount.
run_packages=(fuse3 ntfs-3g fuse2fs)
# The demo makes a disk and reads it back with somebody else's client.
demo_packages=(cryptsetup-bin e2fsprogs fdisk libnbd-bin qemu-utils)
# The tests: libraries, real peers, real clients and real file systems.
test_packages=(libgtest-dev libgmock-dev libbenchmark-dev libnbd-bin nbdkit qemu-utils qemu-system-common
               cryptsetup-bin fio e2fsprogs xfsprogs btrfs-progs dosfstools exfatprogs fdisk gdisk jq xxd
               util-linux openssl procps psmisc python3 xz-utils softhsm2 opensc dislocker libbde-utils lvm2
               qemu-system-x86)

# install_packages PACKAGE...: installs what is missing; asks first on a terminal. Never touches
# what is installed already.
install_packages() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "latchkey: these packages are missing: ${missing[*]}" >&2
      echo "hint: as root, apt-get install ${missing[*]}" >&2
      return 5
    }
    sudo=(sudo)
  fi
  if [ -t 0 ] && [ -t 2 ]; then
    local answer
    read -r -p "Install ${#missing[@]} Debian packages (${missing[*]})? [Y/n] " answer >&2
    case "$answer" in
      "" | y | Y | yes) ;;
      *)
        echo "latchkey: nothing was installed" >&2
        return 5
        ;;
    esac
  fi
  echo "latchkey: installing ${missing[*]}" >&2
  {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
  } </dev/null >&2 || {
    echo "latchkey: apt-get could not install ${missing[*]}" >&2
    return 5
  }
}
