#!/usr/bin/env bash
# expose at a terminal: the background child can still ask for the passphrase, control-C at the
# prompt leaves nothing behind, and a terminal that closes does not end a server that was ready.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup python3
need_fuse

mkdir "$work/dir"
make_luks "$work/luks.img" 24M
cat >"$work/terminal.py" <<'PY'
import os, pty, select, time

def run(answers, *command):
    """The command at a terminal; (prompt, answer) pairs. Its wait status and what it said."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    said, end = b"", time.time() + 60
    answers = list(answers)
    while time.time() < end:
        if not select.select([fd], [], [], 60)[0]:
            break
        try:
            got = os.read(fd, 4096)
        except OSError:  # the last process has closed the terminal
            break
        if not got:
            break
        said += got
        if answers and answers[0][0] in said:
            os.write(fd, answers.pop(0)[1])
    os.close(fd)
    return os.waitpid(pid, 0)[1], said.decode()

prompt = b"Passphrase"
PY
cat >"$work/expose.py" <<'PY'
import os, sys
from terminal import prompt, run

program, image, directory = sys.argv[1:]
status, said = run([(prompt, b"\x03")], program, "expose", image, directory)
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == 2, (status, said)
assert not os.path.ismount(directory), said

# What is typed before the prompt is there is thrown away, as it should be: wait for the second one.
again = b"takes this passphrase\r\nPassphrase for"
status, said = run([(prompt, b"wrong\n"), (again, b"correct horse\n")], program, "expose", image,
                   directory)
assert status == 0, (status, said)
assert "correct horse" not in said, "the passphrase was echoed"
assert os.path.ismount(directory), said
# The terminal is gone by now.
with open(directory + "/disk", "rb") as f:
    assert len(f.read(1 << 20)) == 1 << 20
PY
env --default-signal python3 "$work/expose.py" "$LATCHKEY" "$work/luks.img" "$work/dir"
"$LATCHKEY" umount "$work/dir"
await no_servers || fail "the server stays"

echo "== a recovery passphrase that was mistyped is asked for again, and what is wrong with it said"
"$LATCHKEY" key enroll-recovery "$work/luks.img" --passphrase-file "$work/pass" --pbkdf pbkdf2 \
  --pbkdf-iterations 1000 >"$work/recovery" 2>/dev/null
cat >"$work/recover.py" <<'PY'
import os, sys
from terminal import prompt, run

recovery = open(sys.argv[1]).read().strip()
groups = recovery.split("-")
assert [len(group) for group in groups] == 8 * [6], "not a recovery passphrase"
slips = ["-".join(groups[:2] + [groups[2][:5]] + groups[3:]),
         "-".join(groups[:6] + ["%06d" % (int(groups[6]) ^ 1)] + groups[7:])]
answers = [(prompt, slips[0] + "\n"),
           ("group 3 has 5 digits, not 6\r\nPassphrase", slips[1] + "\n"),
           ("group 7 was mistyped: it is not a multiple of 11\r\nPassphrase", recovery + "\n")]
status, said = run([(seen if isinstance(seen, bytes) else seen.encode(), typed.encode())
                    for seen, typed in answers], *sys.argv[2:])
assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, (status, said)
assert recovery not in said, "the recovery passphrase was echoed"
PY
for command in 'key test' 'serve --run true'; do
  # shellcheck disable=SC2086
  env --default-signal python3 "$work/recover.py" "$work/recovery" "$LATCHKEY" $command \
    "$work/luks.img"
done

echo "== without a terminal there is nobody to ask"
expect 3 '' setsid -w "$LATCHKEY" expose "$work/luks.img" "$work/dir"
echo "ok"
