// One run of `copy`, from a device and a wish to an exit status: it makes or reopens OUT, copies,
// keeps beside OUT how far it is, verifies, and writes the manifest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/result.h"
#include "frontends/export.h"
#include "tools/copy/copy_target.h"
#include "tools/new_key_options.h"

namespace latchkey::tools {

struct CopyRequest {
  std::string image;                  // as it was given
  std::string container;              // "raw", "vhd", "vhd-dynamic"
  frontends::Export source;           // what of it is copied
  std::vector<std::string> locked;    // regions in it that are ciphertext: "p2"
  std::vector<std::string> warnings;  // what is wrong with the image: "partition 2: it should ..."
  std::vector<std::string> read_files;  // headers and keys: never written
  CopyTargetOptions target;
  NewKeyOptions key;  // of a new volume
  unsigned jobs = 1;
  bool verify = false;
  bool keep_going = false;
  bool manifest = true;
  std::string manifest_path;  // empty: beside OUT, where OUT is a file
};

// The exit status. Prints what came of it. Ends the process on SIGINT, SIGTERM and SIGHUP, once
// what was copied is safe.
int run_copy(CopyRequest request);

}  // namespace latchkey::tools
