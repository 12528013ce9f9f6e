#include <memory>
#include <string>

#include <fmt/format.h>

#include "tools/commands.h"
#include "tools/exit_status.h"
#include "tools/image.h"
#include "tools/info_report.h"

namespace latchkey::tools {
namespace {

struct InfoOptions {
  std::string image;
  std::string header;
  std::optional<unsigned> partition;
  bool json = false;
};

int run_info(const InfoOptions& options) {
  SurveyOptions survey;
  survey.access = engine::Access::kInspect;
  survey.header_path = options.header;
  survey.partition = options.partition;
  const auto image = survey_image(options.image, survey);
  if (!image) return fail(image.error());
  fmt::print("{}", options.json ? info_json(*image) : info_text(*image));
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
  auto* header =
      command
          ->add_option("--header", options->header, "a volume's detached header, or a backup of it")
          ->type_name("FILE");
  command->add_option("--partition", options->partition, "the partition --header belongs to")
      ->type_name("N")
      ->needs(header);
  command->footer(
      "Exit status: 0 every header that was recognised is usable, 4 one is not (all that was "
      "found\n"
      "is printed either way), 2 IMAGE is not an image, 5 it cannot be read.");
  command->callback([options, &exit_status] { exit_status = run_info(*options); });
}

}  // namespace latchkey::tools
