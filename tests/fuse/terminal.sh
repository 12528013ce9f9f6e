#!/usr/bin/env bash
# expose at a terminal: the background child can still ask for the passphrase, control-C at the
# prompt leaves nothing behind, and a terminal that closes does not end a server that was ready.
. "$(dirname "$0")/../support/lib.sh"
need cryptsetup python3
need_fuse

mkdir "$work/dir"
make_luks "$work/luks.img" 24M
cat >"$work/terminal.py" <<'PY'
import os, pty, select, sys, time

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

program, image, directory = sys.argv[1:]
prompt = b"Passphrase"
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
env --default-signal python3 "$work/terminal.py" "$LATCHKEY" "$work/luks.img" "$work/dir"
"$LATCHKEY" umount "$work/dir"
await no_servers || fail "the server stays"

echo "== without a terminal there is nobody to ask"
expect 3 '' setsid -w "$LATCHKEY" expose "$work/luks.img" "$work/dir"
echo "ok"
