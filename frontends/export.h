// What a front end presents: named devices, one of them the default. Front ends see nothing else of
// the project: no containers, no keys.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/block_device.h"

namespace latchkey::frontends {

struct Export {
  std::string name;         // "disk", "p1", "rootvg/rootlv": unique, at most one '/' (a folder)
  std::string description;  // one line for NBD's LIST and INFO: "ext4 inside LUKS2"
  engine::DevicePtr device;
};

struct ExportList {
  std::vector<Export> exports;    // never empty
  std::size_t default_index = 0;  // what NBD's empty export name means

  const Export& default_export() const { return exports[default_index]; }
  const Export* find(const std::string& name) const {
    for (const Export& candidate : exports) {
      if (candidate.name == name) return &candidate;
    }
    return nullptr;
  }
};

}  // namespace latchkey::frontends
