# Sourced by run: what the guest has to say, and whether it said so. The guest judges nothing: it
# sends exit statuses and digests, each under a name, and every name is expected here exactly once.

wants() { echo "$1 ${*:2}" >>"$work/wanted"; } # wants NAME VALUE
asks() { echo "$1" >>"$work/asked"; }         # asks NAME: a digest that told gives later
plan() { echo "$*" >>"$work/root/plan"; }     # plan COMMAND: for the guest's shell

# told NAME: the digest, or number, that the guest found out.
told() {
  local value
  value=$(awk -v name="$1" '$1 == name { print $2 }' "$work/results")
  [ -n "$value" ] || fail "the guest did not tell $1"
  echo "$value"
}

told_same() { # told_same NAME NAME
  [ "$(told "$1")" = "$(told "$2")" ] || fail "$1 and $2 differ: $(told "$1"), $(told "$2")"
}

judge() {
  tr -d '\r' <"$work/results.raw" >"$work/results"
  { cut -d' ' -f1 "$work/wanted" && cat "$work/asked"; } | sort >"$work/names.wanted"
  [ -z "$(uniq -d "$work/names.wanted")" ] || fail "two checks have one name"
  cut -d' ' -f1 "$work/results" | sort >"$work/names"
  local bad=0 name value got
  while read -r name; do
    echo "not ok: $name is missing"
    bad=1
  done < <(comm -23 "$work/names.wanted" "$work/names")
  while read -r name; do
    echo "not ok: $name was not expected, or twice: $(grep "^$name " "$work/results" | tr '\n' ' ')"
    bad=1
  done < <(comm -13 "$work/names.wanted" "$work/names")
  while read -r name value; do
    got=$(awk -v name="$name" '$1 == name { print substr($0, length(name) + 2) }' "$work/results")
    if [ "$got" = "$value" ]; then
      echo "ok: $name"
    else
      echo "not ok: $name is '$got', not '$value'"
      bad=1
    fi
  done <"$work/wanted"
  [ "$bad" = 0 ] || {
    tail -n 60 "$work/console"
    fail "the kernel does not agree"
  }
}
