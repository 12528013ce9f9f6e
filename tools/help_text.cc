#include "tools/help_text.h"

#include <algorithm>
#include <cctype>

namespace latchkey::tools {
namespace {

constexpr std::size_t kColumn = 28;

}  // namespace

HelpText::HelpText() {
  column_width(kColumn);
  label("SUBCOMMAND", "COMMAND");
  label("Subcommands", "Commands");
  label("Positionals", "Arguments");
}

std::string HelpText::make_option_opts(const CLI::Option* option) const {
  const std::string type = option->get_type_name();
  return type.empty() ? "" : " " + type;
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  if (app.get_subcommands().empty()) {
    const auto words = app.remaining();
    const auto word = std::find_if(words.begin(), words.end(),
                                   [](const std::string& text) { return !text.empty(); });
    return word == words.end() ? "no command was given" : "'" + *word + "' is not a command";
  }
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  const bool word = text.size() < 2 || std::islower(static_cast<unsigned char>(text[1])) != 0 ||
                    text[1] == ' ';  // not IMAGE
  if (word && !text.empty())
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace latchkey::tools
