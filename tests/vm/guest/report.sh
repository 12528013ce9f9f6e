# Sourced by init: what is seen becomes a line of results.

report() {
  echo "$1 $2" >&3
  echo "[$1 $2] at $(cut -d" " -f1 /proc/uptime) s"
}

# status NAME COMMAND...: the command's exit status.
status() {
  local name=$1 result=0
  shift
  echo "+ $*"
  "$@" || result=$?
  report "$name" "$result"
  return $result
}

# hash NAME FILE [BYTES]: SHA-256 of a file or device, or of its first bytes.
hash() {
  local sum
  if [ $# = 3 ]; then
    sum=$(head -c "$3" "$2" | sha256sum)
  else
    sum=$(sha256sum <"$2")
  fi
  report "$1" "${sum%% *}"
}

# tree NAME FOLDER: one digest of the names and contents of all its files.
tree() {
  local sum
  sum=$(cd "$2" && find . -type f | sort | tr '\n' '\0' | xargs -0 sha256sum | sha256sum)
  report "$1" "${sum%% *}"
}

# await COMMAND...: at most 10 s, for what the kernel does in its own time.
await() {
  local i=0
  until "$@"; do
    i=$((i + 1))
    [ $i -lt 200 ] || return 1
    usleep 50000
  done
}
