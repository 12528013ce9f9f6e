# Sourced by run: the images, what is in them, what the guest is to do with each, and reading back
# what it did. Where the guest's part is a function, it is in tests/vm/guest.

cheap=(--pbkdf pbkdf2 --pbkdf-iterations 1000)
cheap_argon2=(--pbkdf argon2id --pbkdf-memory 8M --pbkdf-iterations 4 --pbkdf-parallel 2)
formatted=() # images that Latchkey made
written=()   # those in which the guest writes
for key in first second third fourth fifth gone; do
  printf %s "$key" >"$work/$key"
done

latchkey() { "$LATCHKEY" "$@" </dev/null 2>"$work/stderr" || fail "$*: $(cat "$work/stderr")"; }
options_of() { if [ -e "$work/$1.head" ]; then echo "--header $1.head"; fi; }
serve() { # serve NAME COMMAND [OPTION...]
  local name=$1 command=$2
  shift 2
  latchkey serve "$name" $(options_of "$name") --passphrase-file first "$@" --run "$command"
}
tree_digest() {
  (cd "$1" && find . -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 sha256sum) | sha256sum |
    cut -d' ' -f1
}

# The files that every file system begins with.
make_tree() {
  local i
  mkdir -p tree/small tree/empty
  head -c 3000000 /dev/urandom >tree/large
  for ((i = 1; i <= 60; i++)); do head -c $((i * 317)) /dev/urandom >tree/small/$i; done
  truncate -s 1M tree/hole
  ln -s large tree/link
  tree=$(tree_digest tree)
}

# make NAME OPTION...: an image, filled to the last sector through the NBD server: an ext4 with the
# tree, and 1 MiB of noise behind it. What the guest has to find, and what it is to tell.
make() {
  local name=$1 bytes
  shift
  latchkey format "$name" --passphrase-file first "$@" >/dev/null
  formatted+=("$name")
  bytes=$(serve "$name" 'nbdinfo --size "$uri"')
  head -c "$bytes" /dev/urandom >plain
  mke2fs -q -F -t ext4 -b 4096 -E nodiscard -d tree plain $(((bytes - 1048576) / 4096))
  serve "$name" 'nbdcopy --flush plain "$uri"' --read-write
  wants "$name.plain" "$(digest plain)"
}
wants_contents() { # NAME SECTOR-SIZE
  local check
  wants "$1.sector" "$2"
  wants "$1.files" "$tree"
  for check in fsck mount write-files umount write-sectors; do wants "$1.$check" 0; done
  asks "$1.files-after"
  asks "$1.plain-after"
  written+=("$1")
}
wants_volume() { # NAME
  local sector
  sector=$(cryptsetup_sector "$1")
  wants "$1.open" 0
  wants_contents "$1" "$sector"
  wants "$1.close" 0
}
# What the device that dm-crypt makes must have for sectors, as the header says it.
cryptsetup_sector() {
  latchkey info "$1" $(options_of "$1") | sed -n 's/.*, \([0-9]*\)-byte sectors$/\1/p' | tail -n 1
}

# attached NAME PARTITION OPTION...: a volume on a disk of the guest's.
attached() {
  local name=$1 partition=$2
  make "$name" "${@:3}"
  attach "$name"
  wants_volume "$name"
  plan volume "$name" "\$(disk $name)$partition" /first
}
attached_detached() { # NAME OPTION...
  make "$1" --header "$1.head" "${@:2}"
  attach "$1"
  attach "$1.head"
  wants_volume "$1"
  plan volume "$1" "\$(disk $1)" /first --header "\$(disk $1.head)"
}

# keyed NAME OPTION: a volume whose keys Latchkey gave, changed and took away; the guest tries all,
# and changes some itself.
keyed() {
  local name=$1 key
  latchkey format "$name" --size 20M "$2" --passphrase-file first "${cheap[@]}" >/dev/null
  formatted+=("$name")
  for key in second gone; do
    latchkey key add "$name" --passphrase-file first --new-passphrase-file $key "${cheap[@]}" \
      >/dev/null
  done
  latchkey key change "$name" --passphrase-file first --new-passphrase-file third "${cheap[@]}" \
    >/dev/null
  latchkey key remove "$name" --passphrase-file gone >/dev/null
  latchkey key enroll-recovery "$name" --passphrase-file third "${cheap[@]}" >"$name-recovery"
  tr -d '\n' <"$name-recovery" >"root/$name-recovery"
  attach "$name"
  for key in first gone; do wants "$name.$key" 2; done
  for key in second third "$name-recovery"; do wants "$name.$key" 0; done
  plan opens "$name" "\$(disk $name)" first gone second third "$name-recovery"
  wants "$name.change" 0
  wants "$name.add" 0
  plan change_keys "$name" "\$(disk $name)"
}

guests_own() { # guests_own NAME OPTIONS: a disk for a volume that cryptsetup makes in the guest
  local check
  truncate -s 20M "$1"
  attach "$1"
  for check in format add change open close; do wants "$1.$check" 0; done
  asks "$1.plain-after"
  asks "$1.size"
  plan make_volume "$1" "\$(disk $1)" "$2"
}

key_opens() { # key_opens STATUS IMAGE KEY...: to Latchkey
  local status key
  for key in "${@:3}"; do
    status=0
    "$LATCHKEY" key test "$2" --passphrase-file "$key" >said 2>&1 </dev/null || status=$?
    [ "$status" = "$1" ] || fail "$2: key test with $key ended with $status, not $1: $(cat said)"
  done
}

# Latchkey finds each byte as the guest left it, and the files in it are the guest's, too.
read_back() { # NAME
  local name=$1 wanted
  rm -rf back files
  serve "$name" 'nbdcopy "$uri" back'
  wanted=$(told "$name.plain-after")
  [ "$(digest back)" = "$wanted" ] || fail "$name: Latchkey reads what the guest did not write"
  if grep -qx "$name.plain $wanted" wanted; then fail "$name: the guest wrote nothing"; fi
  e2fsck -fn back >said 2>&1 || fail "$name: e2fsck: $(cat said)"
  mkdir files
  debugfs -R "rdump / $work/files" back >said 2>&1 || fail "$name: debugfs: $(cat said)"
  wanted=$(told "$name.files-after")
  [ "$(tree_digest files)" = "$wanted" ] || fail "$name: its files are not the guest's"
  [ "$wanted" != "$tree" ] || fail "$name: the guest wrote no file"
  echo "ok: $name, read back"
}
read_own() { # NAME
  rm -f back
  latchkey serve "$1" --passphrase-file third --run 'nbdcopy "$uri" back'
  [ "$(stat -c %s back)" = "$(told "$1.size")" ] || fail "$1 has $(stat -c %s back) bytes"
  [ "$(digest back)" = "$(told "$1.plain-after")" ] || fail "$1: not what the guest wrote"
  echo "ok: $1, made by the guest"
}
