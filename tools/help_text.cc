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

namespace {

std::string unexpected(const CLI::App& app) {
  std::string options;
  std::size_t others = 0;
  for (const std::string& word : app.remaining(true)) {
    if (word.starts_with('-')) {
      options += (options.empty() ? "" : " ") + word.substr(0, word.find('='));
    } else {
      ++others;
    }
  }
  if (options.empty()) return others == 1 ? "one argument too many" : "too many arguments";
  return "not known here: " + options;
}

}  // namespace

std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  if (app.get_subcommands().empty()) {
    const auto words = app.remaining();
    const auto word = std::find_if(words.begin(), words.end(),
                                   [](const std::string& text) { return !text.empty(); });
    return word == words.end() ? "no command was given" : "'" + *word + "' is not a command";
  }
  // What is no option may be a secret that belongs into a file: it is not said again.
  const auto* extras = dynamic_cast<const CLI::ExtrasError*>(&error);
  std::string text = extras == nullptr ? error.what() : unexpected(app);
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  const bool word = text.size() < 2 || std::islower(static_cast<unsigned char>(text[1])) != 0 ||
                    text[1] == ' ';  // not IMAGE
  if (word && !text.empty())
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace latchkey::tools
