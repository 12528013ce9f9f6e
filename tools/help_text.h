// What --help prints, and what is wrong with a command line, in this project's words.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace latchkey::tools {

// Options are shown as they are typed: "--socket PATH".
class HelpText final : public CLI::Formatter {
 public:
  HelpText();
  std::string make_option_opts(const CLI::Option* option) const override;
};

// "latchkey: --keyslot: ...", without the prefix: one line, lower case. Exit status: kUsage.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error);

}  // namespace latchkey::tools
