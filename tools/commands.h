// The commands. Each adds its options to the command line and, when it is the one asked for, runs
// and stores its exit status.
#pragma once

#include <CLI/CLI.hpp>

namespace latchkey::tools {

void add_info_command(CLI::App& app, int& exit_status);
void add_serve_command(CLI::App& app, int& exit_status);
void add_expose_command(CLI::App& app, int& exit_status);
void add_mount_command(CLI::App& app, int& exit_status);
void add_umount_command(CLI::App& app, int& exit_status);
void add_key_command(CLI::App& app, int& exit_status);
void add_bench_command(CLI::App& app, int& exit_status);
void add_key_fetch(CLI::App& key, int& exit_status);  // `key fetch`
void add_key_slots(CLI::App& key, int& exit_status);  // `key list`, `key add` and so on
void add_format_command(CLI::App& app, int& exit_status);
void add_header_command(CLI::App& app, int& exit_status);
void add_copy_command(CLI::App& app, int& exit_status);

}  // namespace latchkey::tools
