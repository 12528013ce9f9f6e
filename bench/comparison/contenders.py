"""Who is compared: each contender is a program that is running while its block is, and a place to
read from or write to. They are started in the same way, stopped by their own process id, and
unmounted where they mount."""

import contextlib
import os
import subprocess
import time

LATCHKEY = os.environ["LATCHKEY"]
STARTING_SECONDS = 30


def wait_until(ready, process, what):
    end = time.monotonic() + STARTING_SECONDS
    while not ready():
        if process.poll():  # some go into the background, ending with 0
            raise RuntimeError(f"{what} ended with {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"{what} was not ready in {STARTING_SECONDS} s")
        time.sleep(0.02)


@contextlib.contextmanager
def running(command, ready, environment=None):
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env=dict(os.environ, **(environment or {})))
    try:
        wait_until(ready, process, command[0])
        yield process
    finally:
        process.terminate()
        process.wait()


class Nbd:
    """A server on a unix socket; `place` is its URI."""

    def __init__(self, label, command, environment=None):
        self.label = label
        self.command = command
        self.environment = environment

    @contextlib.contextmanager
    def start(self, folder):
        socket = folder / f"{self.label.replace(' ', '-')}.sock"
        with running(self.command(str(socket)), socket.exists, self.environment):
            yield f"nbd+unix:///?socket={socket}"
        socket.unlink(missing_ok=True)  # not every server does


class Fuse:
    """A file system with one file; `place` is that file's path."""

    def __init__(self, label, command, file):
        self.label = label
        self.command = command
        self.file = file

    @contextlib.contextmanager
    def start(self, folder):
        mount_point = folder / self.label.replace(" ", "-")
        mount_point.mkdir()
        process = subprocess.Popen(self.command(str(mount_point)), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        file = mount_point / self.file
        try:
            wait_until(file.exists, process, self.label)
            yield str(file)
        finally:
            subprocess.run(["fusermount3", "-u", str(mount_point)], check=False)
            process.wait(STARTING_SECONDS)
            mount_point.rmdir()


class FuseExport(Fuse):
    """qemu-storage-daemon mounts over a file, not a folder."""

    @contextlib.contextmanager
    def start(self, folder):
        file = folder / self.label.replace(" ", "-")
        file.touch()
        with running(self.command(str(file)), lambda: file.stat().st_size > 0):
            yield str(file)
        file.unlink()


class Copy:
    """A program that makes a file and ends; `place` makes the file and gives its plaintext back."""

    def __init__(self, label, command, read_back):
        self.label = label
        self.command = command
        self.read_back = read_back  # a command that writes the plaintext of its argument to stdout

    @contextlib.contextmanager
    def start(self, folder):
        self.out = folder / f"copy-{self.label.replace(' ', '-')}"
        try:
            yield self
        finally:
            self.out.unlink(missing_ok=True)


def latchkey_copy(label, image, passphrase, *options, read_back):
    return Copy(label, lambda out: [LATCHKEY, "copy", str(image), str(out), *options,
                                    "--passphrase-file", str(passphrase)], read_back)


def qemu_copy(label, source, passphrase, *options, read_back):
    return Copy(label, lambda out: [
        "qemu-img", "convert", "--object", f"secret,id=key,file={passphrase}", *options,
        *source, str(out)], read_back)


def latchkey_nbd(label, image, *options, environment=None):
    return Nbd(label, lambda socket: [LATCHKEY, "serve", str(image), "--socket", socket, *options],
               environment)


def nbdkit(label, image, *filter_and_key, writable=False):
    mode = [] if writable else ["-r"]
    return Nbd(label, lambda socket: ["nbdkit", "-f", *mode, "-U", socket, *filter_and_key[:1],
                                      "file", str(image), *filter_and_key[1:]])


def qemu_nbd_luks(label, image, passphrase, writable=False):
    mode = [] if writable else ["-r"]
    return Nbd(label, lambda socket: [
        "qemu-nbd", *mode, "-t", "-e", "8", "-k", socket,
        "--object", f"secret,id=key,file={passphrase}",
        "--image-opts", f"driver=luks,key-secret=key,file.filename={image}"])


def latchkey_fuse(label, image, file, *options):
    return Fuse(label, lambda folder: [LATCHKEY, "expose", str(image), folder, *options], file)


def dislocker(label, image, recovery_password):
    return Fuse(label, lambda folder: ["dislocker-fuse", "-r", "-V", str(image),
                                       f"-p{recovery_password}", "--", folder], "dislocker-file")


def bdemount(label, image, recovery_password):
    return Fuse(label, lambda folder: ["bdemount", "-r", recovery_password, str(image), folder],
                "bde1")


def qemu_fuse_luks(label, image, passphrase):
    return FuseExport(label, lambda file: [
        "qemu-storage-daemon",
        "--object", f"secret,id=key,file={passphrase}",
        "--blockdev", f"driver=file,node-name=file,filename={image},read-only=on",
        "--blockdev", "driver=luks,node-name=luks,file=file,key-secret=key,read-only=on",
        "--export", f"type=fuse,id=export,node-name=luks,mountpoint={file}"], None)


def version_of(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else "?"


def versions():
    return [version_of(command) for command in (
        [LATCHKEY, "version"], ["nbdkit", "--version"], ["qemu-nbd", "--version"],
        ["dislocker", "-h"], ["bdemount", "-V"], ["fio", "--version"], ["nbdcopy", "--version"])]
