#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "tools/bench/runner.h"
#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/image.h"
#include "tools/info_report.h"
#include "tools/key_options.h"
#include "tools/unlock_cost.h"

namespace latchkey::tools {
namespace {

struct InfoOptions {
  std::string image;
  KeyOptions keys;  // --header and the limits of key derivation
  std::optional<unsigned> partition;
  bool json = false;
  bool unlock_cost = false;
};

UnlockCosts unlock_costs(const Image& image, const keyslots::KdfLimits& limits) {
  StatusLine progress;
  return measure_unlock_costs(image, limits,
                              [&](const std::string& what) { progress.say("timing " + what); });
}

int run_info(const InfoOptions& options) {
  SurveyOptions survey;
  survey.access = engine::Access::kInspect;
  survey.header_path = options.keys.header;
  survey.partition = options.partition;
  const auto unlock = unlock_options(options.keys);
  if (!unlock) return fail(unlock.error());
  const auto image = survey_image(options.image, survey);
  if (!image) return fail(image.error());
  std::optional<UnlockCosts> costs;
  if (options.unlock_cost) costs = unlock_costs(*image, unlock->limits);
  const UnlockCosts* shown = costs ? &*costs : nullptr;
  fmt::print("{}", options.json ? info_json(*image, shown) : info_text(*image, shown));
  return all_usable(*image) ? kDone : kUnusable;
}

}  // namespace

void add_info_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* command = app.add_subcommand("info", "say what is in an image; needs no key");
  command->add_option("IMAGE", options->image, "the image file or block device")
      ->required()
      ->type_name("");
  command->add_flag("--json", options->json, "the same facts for a program");
  auto* header = command
                     ->add_option("--header", options->keys.header,
                                  "a volume's detached header, or a backup of it")
                     ->type_name("FILE");
  command->add_option("--partition", options->partition, "the partition --header belongs to")
      ->type_name("N")
      ->needs(header);
  auto* cost = command->add_flag("--unlock-cost", options->unlock_cost,
                                 "also measure how long each key derivation takes here");
  add_kdf_limit_options(*command, options->keys);
  for (const char* limit : {"--max-kdf-memory", "--max-kdf-time"}) {
    command->get_option(limit)->needs(cost);
  }
  command->footer(
      "Exit status: 0 every header that was recognised is usable, 4 one is not (all that was "
      "found\n"
      "is printed either way), 2 IMAGE is not an image, 5 it cannot be read.");
  command->callback([options, &exit_status] { exit_status = run_info(*options); });
}

}  // namespace latchkey::tools
