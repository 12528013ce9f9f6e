"""What is compared: a client that does the same work with every contender, and how good the ratio
has to be. A measure never compares different work: the bytes are checked by digest first, the
client is the same program with the same options, the cache is in the same state."""

import dataclasses
import hashlib
import json
import os
import subprocess
import time
import typing

from contenders import LATCHKEY, Copy, bdemount, dislocker, latchkey_copy, latchkey_fuse
from contenders import latchkey_nbd, nbdkit, qemu_copy, qemu_fuse_luks, qemu_nbd_luks

CHUNK_BYTES = 1 << 20
FIO_SECONDS = 2


@dataclasses.dataclass
class Measure:
    unit: str
    contenders: list  # the first is the one that is judged
    client: typing.Callable  # place -> figure in `unit`
    expected: str  # digest that reading a place must give
    at_least: dict  # label of another -> least ratio wanted
    check_after: bool = False  # writing: the digest is right only afterwards
    made_for_it: list = dataclasses.field(default_factory=list)  # files, removed afterwards


def digest_of_stream(read):
    digest = hashlib.sha256()
    while chunk := read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def digest_of_file(path):
    with open(path, "rb", buffering=0) as file:
        return digest_of_stream(file.read)


def digest_of_place(place):
    if isinstance(place, Copy):
        with subprocess.Popen(place.read_back(place.out), stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL) as reader:
            return digest_of_stream(reader.stdout.read)
    if not place.startswith("nbd"):
        return digest_of_file(place)
    with subprocess.Popen(["nbdcopy", place, "-"], stdout=subprocess.PIPE) as copy:
        return digest_of_stream(copy.stdout.read)


def timed(command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def read_nbd(size_bytes):
    return lambda place: size_bytes / 1e9 / timed(
        ["nbdcopy", "--connections=4", place, "null:"])


def write_nbd(plain, size_bytes):
    return lambda place: size_bytes / 1e9 / timed(["nbdcopy", str(plain), place])


def random_reads(jobs, depth):
    def client(place):
        done = subprocess.run(
            ["fio", "--name=read", "--ioengine=nbd", f"--uri={place}", "--rw=randread", "--bs=4k",
             f"--iodepth={depth}", f"--numjobs={jobs}", "--group_reporting", "--time_based",
             f"--runtime={FIO_SECONDS}", "--randseed=1", "--output-format=json"],
            check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        report = json.loads(done.stdout[done.stdout.index("{"):])
        return report["jobs"][0]["read"]["iops"] / 1000
    return client


def read_file(size_bytes):
    def client(place):
        with open(place, "rb") as file:  # nothing of it is left in the page cache
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return size_bytes / 1e9 / timed(["dd", f"if={place}", "of=/dev/null", "bs=1M"])
    return client


def copy_file(size_bytes):
    def client(place):
        place.out.unlink(missing_ok=True)
        return size_bytes / 1e9 / timed(place.command(place.out))
    return client


def luks_key(images):
    return ["--passphrase-file", str(images.passphrase)]


def readers_of_luks(images):
    """Latchkey, and the others: nbdkit without encryption first."""
    luks = images.luks()
    return (latchkey_nbd("Latchkey", luks, *luks_key(images)),
            [nbdkit("nbdkit plaintext", images.plain()),
             nbdkit("nbdkit luks", luks, "--filter=luks", f"passphrase=+{images.passphrase}"),
             qemu_nbd_luks("qemu-nbd luks", luks, images.passphrase)])


def nbd_sequential_read(images):
    latchkey, others = readers_of_luks(images)
    aesni = latchkey_nbd("Latchkey AES-NI", images.luks(), *luks_key(images),
                         environment={"LATCHKEY_CIPHER": "aesni"})
    return Measure(
        "GB/s", [latchkey, latchkey_nbd("Latchkey plaintext", images.plain()), aesni, *others],
        read_nbd(images.plain().stat().st_size), digest_of_file(images.plain()),
        {"Latchkey plaintext": 0.9, "nbdkit plaintext": 1.25, "nbdkit luks": 6,
         "qemu-nbd luks": 10})


def nbd_random_read(jobs, depth, luks_least, qemu_least):
    def measure(images):
        latchkey, others = readers_of_luks(images)
        return Measure(
            "thousand/s", [latchkey, *others], random_reads(jobs, depth),
            digest_of_file(images.plain()),
            {"nbdkit plaintext": 1, "nbdkit luks": luks_least, "qemu-nbd luks": qemu_least})
    return measure


def nbd_sequential_write(images):
    plain = images.plain()
    size = plain.stat().st_size
    copies = [images.luks(f"written-{number}") for number in range(3)]
    written = images.folder / "written-plain"
    with written.open("wb") as file:
        file.truncate(size)
    return Measure(
        "GB/s",
        [latchkey_nbd("Latchkey", copies[0], "--read-write", *luks_key(images)),
         nbdkit("nbdkit plaintext", written, writable=True),
         nbdkit("nbdkit luks", copies[1], "--filter=luks",
                f"passphrase=+{images.passphrase}", writable=True),
         qemu_nbd_luks("qemu-nbd luks", copies[2], images.passphrase, writable=True)],
        write_nbd(plain, size), digest_of_file(plain),
        {"nbdkit plaintext": 0.9, "nbdkit luks": 3.5, "qemu-nbd luks": 6},
        check_after=True, made_for_it=[*copies, written])


def vhd_sequential_read(images):
    dynamic, fixed = images.vhd("dynamic"), images.vhd("fixed")
    return Measure(
        "GB/s", [latchkey_nbd("Latchkey dynamic", dynamic, *luks_key(images)),
                 latchkey_nbd("Latchkey fixed", fixed, *luks_key(images))],
        read_nbd(images.plain().stat().st_size), digest_of_file(images.plain()),
        {"Latchkey fixed": 0.9}, made_for_it=[dynamic, fixed])


def fuse_bitlocker(cipher, at_least):
    def measure(images):
        volume, plain, password_file = images.bitlocker(cipher)
        password = password_file.read_text().strip()
        return Measure(
            "GB/s", [latchkey_fuse("Latchkey", volume, "disk", "--key", str(password_file)),
                     dislocker("dislocker", volume, password),
                     bdemount("bdemount", volume, password)],
            read_file(plain.stat().st_size), digest_of_file(plain), at_least,
            made_for_it=[volume])
    return measure


def fuse_luks(images):
    return Measure(
        "GB/s", [latchkey_fuse("Latchkey", images.luks(), "disk", *luks_key(images)),
                 qemu_fuse_luks("qemu-storage-daemon luks", images.luks(), images.passphrase)],
        read_file(images.plain().stat().st_size), digest_of_file(images.plain()),
        {"qemu-storage-daemon luks": 10})


def copy_out_of_luks(images):
    fixed = images.vhd("fixed")
    source = ["-O", "raw", "--image-opts",
              f"driver=luks,key-secret=key,file.driver=vpc,file.file.filename={fixed}"]
    read_back = lambda out: ["cat", str(out)]
    return Measure(
        "GB/s",
        [latchkey_copy("Latchkey", fixed, images.passphrase, "--no-manifest", read_back=read_back),
         latchkey_copy("Latchkey with sha256", fixed, images.passphrase, "--force",
                       read_back=read_back),
         qemu_copy("qemu-img luks", source, images.passphrase, read_back=read_back)],
        copy_file(images.plain().stat().st_size), digest_of_file(images.plain()),
        {"qemu-img luks": 3}, check_after=True, made_for_it=[fixed])


def copy_into_luks(images):
    plain = images.plain()
    new_volume = ["--encrypt", "--luks1", "--pbkdf-iterations", "1000",
                  "--new-passphrase-file", str(images.passphrase)]
    read_back = lambda out: [LATCHKEY, "serve", str(out), *luks_key(images), "--run",
                             'nbdcopy "$uri" -']
    return Measure(
        "GB/s",
        [Copy("Latchkey", lambda out: [LATCHKEY, "copy", str(plain), str(out), "--no-manifest",
                                       *new_volume], read_back),
         Copy("Latchkey with sha256", lambda out: [LATCHKEY, "copy", str(plain), str(out),
                                                   "--force", *new_volume], read_back),
         qemu_copy("qemu-img luks", ["-f", "raw", str(plain)], images.passphrase,
                   "-O", "luks", "-o", "key-secret=key,iter-time=10", read_back=read_back)],
        copy_file(plain.stat().st_size), digest_of_file(plain), {"qemu-img luks": 3},
        check_after=True)


RANDOM = "LUKS by NBD, 4 KiB random reads (fio), depth"
MEASURES = [
    ("LUKS by NBD, sequential read (nbdcopy, 4 connections)", nbd_sequential_read),
    (f"{RANDOM} 32, 1 connection", nbd_random_read(1, 32, 3, 6)),
    (f"{RANDOM} 32, 2 connections", nbd_random_read(2, 32, 4.5, 9)),
    (f"{RANDOM} 1, 1 connection", nbd_random_read(1, 1, 1, 1)),
    ("LUKS by NBD, sequential write (nbdcopy)", nbd_sequential_write),
    ("LUKS in a VHD by NBD, sequential read (nbdcopy, 4 connections)", vhd_sequential_read),
    ("BitLocker XTS-AES 128 by FUSE (dd bs=1M)",
     fuse_bitlocker("xts128", {"dislocker": 10, "bdemount": 20})),
    ("BitLocker AES-CBC 128 + Elephant by FUSE (dd bs=1M)",
     fuse_bitlocker("elephant128", {"dislocker": 10})),
    ("LUKS by FUSE (dd bs=1M)", fuse_luks),
    ("Copy of LUKS in a fixed VHD to a raw file", copy_out_of_luks),
    ("Copy of a raw file into LUKS", copy_into_luks),
]
