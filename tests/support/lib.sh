# Sourced by the test scripts: a working directory, and the promise that nothing the script
# mounted, attached or started outlives it, however it ends.
set -euo pipefail

LATCHKEY=${LATCHKEY:?the program to test}
work=$(mktemp -d /tmp/latchkey-test.XXXXXX)
# Records of root's mounts are in /run/latchkey whatever this says.
export XDG_RUNTIME_DIR=$work

clean_up() {
  local status=$?
  set +e
  cd /
  local point
  for point in $(awk -v work="$work" 'index($5, work) == 1 { print $5 }' /proc/self/mountinfo | tac)
  do
    umount "$point" 2>/dev/null || umount -l "$point" 2>/dev/null || fusermount3 -uz "$point"
  done
  local pid
  for pid in $(jobs -p); do kill "$pid" 2>/dev/null; done
  # Servers end with their mounts; one that did not is a failure of the test and must not stay.
  for pid in $(servers); do
    await gone "$pid" || kill -9 "$pid"
  done
  [ -z "$loop" ] || losetup -d "$loop"
  rm -rf "$work"
  exit "$status"
}
loop= # a loop device that the test has attached and not yet detached
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

skip() {
  echo "skipped: $*"
  exit 77
}

need() {
  local program
  for program; do
    command -v "$program" >/dev/null || skip "the program $program is not installed"
  done
}

need_fuse() {
  [ -r /dev/fuse ] && [ -w /dev/fuse ] || skip "/dev/fuse cannot be used here"
}

need_root() {
  [ "$(id -u)" = 0 ] || skip "needs root"
}

need_file_system() {
  grep -qw "$1" /proc/filesystems || modprobe "$1" 2>/dev/null || skip "this kernel has no driver for $1"
}

# Processes of the program under test that work in this directory.
servers() {
  local folder
  for folder in /proc/[0-9]*; do
    if tr '\0' '\n' 2>/dev/null <"$folder/cmdline" | grep -qF "$work"; then
      [ "$(readlink "$folder/exe")" = "$(readlink -f "$LATCHKEY")" ] && echo "${folder#/proc/}"
    fi
  done
  return 0
}

gone() { ! kill -0 "$1" 2>/dev/null; }
no_servers() { [ -z "$(servers)" ]; }
mounted() { awk -v point="$1" '$5 == point { found = 1 } END { exit !found }' /proc/self/mountinfo; }
not_mounted() { ! mounted "$1"; }
# Nobody holds a lock on the image any more.
image_closed() { flock -n -x "$1" true; }

# The one server that runs. One before it may have closed its image and be about to end.
one_server() { [ "$(servers | wc -l)" = 1 ]; }
the_server() {
  await one_server || fail "not one server runs but: $(servers | tr '\n' ' ')"
  servers
}

# Waits for a condition, at most 30 s.
await() {
  local i
  for ((i = 0; i < 1500; i++)); do
    "$@" && return 0
    sleep 0.02
  done
  return 1
}

# expect STATUS PATTERN COMMAND...: the command ends with the status and says PATTERN on stderr.
expect() {
  local wanted=$1 pattern=$2 status=0
  shift 2
  "$@" 2>"$work/stderr" </dev/null || status=$?
  [ "$status" = "$wanted" ] || fail "'$*' ended with $status, not $wanted: $(cat "$work/stderr")"
  grep -q -- "$pattern" "$work/stderr" || fail "'$*' did not say '$pattern': $(cat "$work/stderr")"
}

digest() { sha256sum <"$1" | cut -d' ' -f1; }

printf 'correct horse' >"$work/pass"
# make_luks IMAGE SIZE: an empty LUKS2 volume that opens with $work/pass.
make_luks() {
  truncate -s "$2" "$1"
  cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
    --key-file "$work/pass" "$1"
}
