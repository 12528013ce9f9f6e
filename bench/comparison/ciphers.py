"""The ciphers alone, in cache, on one core, as `latchkey bench cipher` measures them: against OpenSSL
called once a sector, and against the AES rounds alone, which no cipher can be faster than."""

import json
import subprocess

from contenders import LATCHKEY

TITLE = "Ciphers in cache, one core (latchkey bench cipher)"
# Least x of OpenSSL, and least % of the limit; of CBC, decryption only.
AIMS = {
    ("aes-xts-plain64", 512, 4096, "avx512"): (4, 83),
    ("aes-xts-plain64", 512, 4096, "aesni"): (1.0, None),
    ("aes-xts-plain64", 512, 512, "avx512"): (7, 83),
    ("aes-xts-plain64", 512, 512, "aesni"): (1.8, None),
    ("aes-cbc-essiv:sha256", 256, 512, "avx512"): (3, None),
}


def measured():
    command = [LATCHKEY, "bench", "cipher", "--variant", "all", "--seconds", "60", "--json"]
    return json.loads(subprocess.run(command, check=True, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE).stdout)["tables"]


def with_aim(value, least, places):
    text = f"{value:.{places}f}"
    if least is None:
        return text
    return f"{text} (at least {least}: {'yes' if value >= least else '**no**'})"


def markdown(tables):
    yield f"## {TITLE}\n"
    yield "The limit is AES rounds on registers alone, with the same instructions; that of OpenSSL is"
    yield "the fastest of them.\n"
    yield "| cipher | key bits | sectors | | | GB/s | x OpenSSL | % of the limit |"
    yield "|---|---|---|---|---|---|---|---|"
    for table in tables:
        cipher = (table["cipher"], table["key_bits"], table["sector_bytes"])
        for result in table["results"]:
            if result["what"] not in ("encrypt", "decrypt"):
                continue
            x_least, limit_least = AIMS.get((*cipher, result["variant"]), (None, None))
            if "-cbc-" in cipher[0] and result["what"] == "encrypt":
                x_least = None
            noisy = " noisy" if result["noisy"] else ""
            yield (f"| {cipher[0]} | {cipher[1]} | {cipher[2]} | {result['variant']} | "
                   f"{result['what']} | {result['median']:.2f} ({result['lowest']:.2f} to "
                   f"{result['highest']:.2f}{noisy}) | "
                   f"{with_aim(result['x_openssl'], x_least, 2)} | "
                   f"{with_aim(result['percent_of_limit'], limit_least, 0)} |")
    yield ""
