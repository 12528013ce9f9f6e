// latchkey bench: how fast the ciphers are here, and where the time goes when an image is read.
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "tools/bench/cipher_bench.h"
#include "tools/bench/image_bench.h"
#include "tools/bench/interruption.h"
#include "tools/bench/report.h"
#include "tools/bench/runner.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/fault_printer.h"
#include "tools/open_image.h"
#include "tools/same_storage.h"
#include "tools/sizes.h"

namespace latchkey::tools {

using engine::Error;
using engine::ErrorCode;
using engine::Result;

namespace {

struct OutputOptions {
  bool json = false;
  std::string svg;
  bool force = false;
};

struct ImageOptions {
  OpenOptions open;
  bench::ImageBenchOptions bench;
  std::string size;
  OutputOptions output;
};

struct CipherOptions {
  bench::CipherBenchOptions bench;
  OutputOptions output;
};

void add_measuring_options(CLI::App& command, double& seconds, unsigned& repetitions) {
  command
      .add_option("--seconds", seconds,
                  fmt::format("about how long to measure (default: {:.0f})", seconds))
      ->type_name("S")
      ->check(CLI::Range(0.01, 86400.0).description(""));
  command
      .add_option("--repetitions", repetitions,
                  fmt::format("how often each is measured (default: {})", repetitions))
      ->type_name("N")
      ->check(CLI::Range(1U, bench::kMaxRepetitions).description(""));
}

void add_output_options(CLI::App& command, OutputOptions& output) {
  command.add_flag("--json", output.json, "the same figures for a program");
  auto* svg = command.add_option("--svg", output.svg, "draw them, too")->type_name("FILE");
  command.add_flag("--force", output.force, "replace FILE where it exists")->needs(svg);
}

Result<void> show(const bench::Report& report, const OutputOptions& output) {
  fmt::print("{}", output.json ? report_json(report) : report_text(report));
  if (output.svg.empty()) return {};
  return bench::write_picture(output.svg, output.force, report_svg(report));
}

// Measures until it is done or a signal comes; then ends as the signal would have it.
template <class Measure>
int measure_and_show(const Measure& measure, const OutputOptions& output) {
  auto interruption = bench::Interruption::arm();
  if (!interruption) return fail(interruption.error());
  std::optional<Result<bench::Report>> report;
  {
    const FaultPrinter faults;
    StatusLine progress;
    report.emplace(measure(progress, (*interruption)->flag()));
  }
  (*interruption)->finish();
  if (!*report) return fail(report->error());
  const auto shown = show(**report, output);
  return shown ? static_cast<int>(kDone) : fail(shown.error());
}

Result<void> check_output(const OutputOptions& output) {
  if (output.svg.empty()) return {};
  return bench::check_picture_place(output.svg, output.force);
}

int run_cipher(const CipherOptions& options) {
  if (auto good = check_output(options.output); !good) return fail(good.error());
  return measure_and_show(
      [&](StatusLine& progress, const std::atomic<bool>& interrupted) {
        return bench::bench_cipher(options.bench, progress, interrupted);
      },
      options.output);
}

int run_image(ImageOptions& options) {
  if (options.open.image.empty()) {
    return fail(Error(ErrorCode::kUsage, "IMAGE is required")
                    .with_hint("latchkey bench cipher measures the ciphers without an image"));
  }
  if (auto good = check_output(options.output); !good) return fail(good.error());
  std::vector<std::string> read = options.open.keys.files();
  read.push_back(options.open.image);
  if (auto apart = check_apart({options.output.svg}, read); !apart) return fail(apart.error());
  if (!options.size.empty()) {
    const auto size = parse_size(options.size);
    if (!size || *size == 0) {
      return fail(Error(ErrorCode::kUsage, "--size: '" + options.size + "' is not a size")
                      .with_hint("write it like 256M or 1G"));
    }
    options.bench.most_bytes = *size;
  }
  auto opened = open_image(options.open);
  if (!opened) return fail(opened.error());
  return measure_and_show(
      [&](StatusLine& progress, const std::atomic<bool>& interrupted) {
        return bench::bench_image(*opened, options.bench, progress, interrupted);
      },
      options.output);
}

void add_cipher_command(CLI::App& bench_command, int& exit_status) {
  auto options = std::make_shared<CipherOptions>();
  CLI::App* command =
      bench_command.add_subcommand("cipher", "the sector ciphers alone, in cache; no image");
  bench::CipherBenchOptions& bench = options->bench;
  command->add_option("--cipher", bench.cipher, "like aes-xts-plain64 (default: the usual ones)")
      ->type_name("C");
  command->add_option("--sector-size", bench.sector_bytes, "512, 1024, 2048 or 4096 bytes")
      ->type_name("S");
  command
      ->add_option("--key-size", bench.key_bits,
                   "in bits, as cryptsetup counts: 512 is AES-256 in XTS")
      ->type_name("BITS");
  command->add_option("--threads", bench.threads, "how many work at the same time (default: 1)")
      ->type_name("N")
      ->check(CLI::Range(1U, bench::kMaxBenchThreads).description(""));
  command
      ->add_option("--variant", bench.variant,
                   "avx512, avx2, aesni, openssl, or all that this processor can run\n"
                   "(default: what volumes are opened with here)")
      ->type_name("V");
  add_measuring_options(*command, bench.seconds, bench.repetitions);
  add_output_options(*command, options->output);
  command->footer(
      "Beside each variant it measures OpenSSL, called once a sector, and the AES rounds alone,\n"
      "which are the limit, all in turn. A noisy result is called so: repeat it on a machine that\n"
      "has nothing else to do.\n\n"
      "Examples:\n"
      "  latchkey bench cipher --variant all --svg ciphers.svg\n"
      "  latchkey bench cipher --cipher aes-xts-plain64 --key-size 512 --sector-size 4096");
  command->callback([options, &exit_status] { exit_status = run_cipher(*options); });
}

}  // namespace

void add_bench_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<ImageOptions>();
  options->open.shows_disk = false;
  CLI::App* command =
      app.add_subcommand("bench", "measure the ciphers, or where an image's time goes");
  command->add_option("IMAGE", options->open.image, "the image file or block device")
      ->type_name("");
  command->add_option("--size", options->size, "read at most this much of it (default: 256M)")
      ->type_name("SIZE");
  command->add_flag("--cold", options->bench.cold,
                    "drop the image from the page cache before each repetition\n"
                    "(default: read it into the cache first)");
  add_measuring_options(*command, options->bench.seconds, options->bench.repetitions);
  add_output_options(*command, options->output);
  add_partition_option(*command, options->open);
  add_locked_option(*command, options->open);
  add_cipher_variant_option(*command);
  add_key_options(*command, options->open.keys);
  command->footer(
      "Reads the same amount from the file alone, through the container, decrypted, by NBD and\n"
      "through FUSE, in turn, and says which of these takes the time. Never writes the image.\n\n"
      "Examples:\n"
      "  latchkey bench disk.vhd --key disk.key\n"
      "  latchkey bench disk.vhd --key disk.key --cold --size 1G --svg disk.svg\n"
      "  latchkey bench cipher --help");
  add_cipher_command(*command, exit_status);
  command->callback([command, options, &exit_status] {
    if (command->get_subcommands().empty()) exit_status = run_image(*options);
  });
}

}  // namespace latchkey::tools
