"""The images all contenders get: one plaintext and what LUKS1, VHD and BitLocker make of it.
They lie in memory (a tmpfs), so that storage costs everybody the same: nearly nothing."""

import os
import pathlib
import subprocess

from contenders import LATCHKEY

MEBIBYTE = 1 << 20
LUKS_HEADER_BYTES = 2 * MEBIBYTE
PLAIN_BYTES = 512 * MEBIBYTE
BITLOCKER_BYTES = 128 * MEBIBYTE


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)


class Images:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.passphrase = self.folder / "passphrase"
        self.passphrase.write_text("secret")

    def plain(self, size_bytes=PLAIN_BYTES):
        path = self.folder / f"plain-{size_bytes // MEBIBYTE}"
        if not path.exists():
            with path.open("wb") as file:
                for _ in range(size_bytes // MEBIBYTE):
                    file.write(os.urandom(MEBIBYTE))
        return path

    def luks(self, name="luks"):
        """A LUKS1 volume (what nbdkit and QEMU can open) around the plaintext."""
        path = self.folder / name
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(LUKS_HEADER_BYTES + PLAIN_BYTES)
            run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--cipher", "aes-xts-plain64",
                "--key-size", 512, "--pbkdf-force-iterations", 1000, "--key-file", self.passphrase,
                path)
            run(LATCHKEY, "serve", path, "--read-write", "--passphrase-file", self.passphrase,
                "--run", f'nbdcopy {self.plain()} "$uri"')
        return path

    def vhd(self, kind):
        """The LUKS volume in a VHD; `kind` is QEMU's subformat."""
        path = self.folder / f"{kind}.vhd"
        if not path.exists():
            run("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o",
                f"subformat={kind},force_size=on", self.luks(), path)
        return path

    def bitlocker(self, cipher):
        """(volume, its plaintext, the file with its recovery password)"""
        keys = self.folder / f"{cipher}-keys"
        path = self.folder / f"{cipher}.bitlocker"
        if not path.exists():
            keys.mkdir()
            source = self.folder / "ntfs"
            with source.open("wb") as file:
                file.truncate(BITLOCKER_BYTES)
            run("mkntfs", "-q", "-F", "-f", "-s", 512, "-p", 0, "-H", 255, "-S", 63, source)
            data = self.folder / "data"
            data.write_bytes(os.urandom(BITLOCKER_BYTES * 3 // 4))
            run("ntfscp", "-f", source, data, "data")
            run(os.environ["MAKE_BITLOCKER"], source, path, keys, f"cipher={cipher}", "recovery=1")
            source.unlink()
            data.unlink()
        return path, keys / "plain", next(keys.glob("recovery.*"))
