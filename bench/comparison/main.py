"""bench/compare: runs every measure and writes the report."""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import ciphers
import contenders
import images
import measures
import report
from statistics_of_pairs import figure_of, ratio_of


@dataclasses.dataclass
class Result:
    title: str
    measure: measures.Measure
    judged: str
    figures: dict
    ratios: dict


def check(measure, places):
    for label, place in places.items():
        if measures.digest_of_place(place) != measure.expected:
            raise RuntimeError(f"{label} gives other bytes")


def run(title, measure, rounds, folder):
    values = {contender.label: [] for contender in measure.contenders}
    with contextlib.ExitStack() as stack:
        places = {contender.label: stack.enter_context(contender.start(folder))
                  for contender in measure.contenders}
        if not measure.check_after:
            check(measure, places)
        for number in range(rounds + 1):  # the first one warms up
            for label, place in places.items():
                value = measure.client(place)
                if number > 0:
                    values[label].append(value)
                print(".", end="", file=sys.stderr, flush=True)
        if measure.check_after:
            check(measure, places)
    print(file=sys.stderr)
    judged = measure.contenders[0].label
    for path in measure.made_for_it:
        path.unlink()
    return Result(title, measure, judged,
                  {label: figure_of(list_) for label, list_ in values.items()},
                  {label: ratio_of(values[judged], list_)
                   for label, list_ in values.items() if label != judged})


def machine():
    name = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    wide = ", ".join(flag for flag in ("aes", "avx2", "avx512f", "vaes", "vpclmulqdq")
                     if f" {flag} " in flags)
    release = os.uname().release
    return f"{os.cpu_count()} cores, {name} ({wide}), Linux {release}"


def main():
    parser = argparse.ArgumentParser(prog="bench/compare", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="default 9")
    parser.add_argument("--only", default="", help="measures whose title holds this word")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the clean-up runs
    folder = pathlib.Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK)
                                           else None))
    results = []
    try:
        made = images.Images(folder)
        for title, measure in measures.MEASURES:
            if options.only in title:
                print(title, file=sys.stderr)
                results.append(run(title, measure(made), options.rounds, folder))
    finally:
        shutil.rmtree(folder)
    tables = ciphers.measured() if options.only in ciphers.TITLE else []
    lines = list(report.markdown(results, machine(), contenders.versions(), options.rounds))
    if tables:
        lines += ciphers.markdown(tables)
    (options.out / "RESULTS.md").write_text("\n".join(lines) + "\n")
    (options.out / "results.svg").write_text("\n".join(report.svg(results)) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
