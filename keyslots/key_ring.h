// All the secrets a command was given, in the order it should try them.
//
// A KeySource yields candidates for one protector (likeliest first, empty: none). The ring joins
// the sources, drops candidates whose bytes are the same as an earlier one's, so that no KDF runs
// twice, and puts those first that were made for the protector (Secret::protector_id). One thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "keyslots/secret.h"
#include "keyslots/volume_header.h"

namespace latchkey::keyslots {

class KeySource {
 public:
  virtual ~KeySource() = default;
  // The pointers stay valid while the source lives. Errors (a file that cannot be read, a prompt
  // that was given up) stop the unlocking.
  virtual engine::Result<std::vector<const Secret*>> candidates(const Protector& protector) = 0;
  // Of the secrets that are known already, whatever takes them.
  virtual std::vector<std::string> labels() const = 0;
};

// Secrets read beforehand; each is offered to every protector that takes its kind.
class FixedSecrets final : public KeySource {
 public:
  void add(Secret secret) { secrets_.push_back(std::make_unique<Secret>(std::move(secret))); }
  bool empty() const noexcept { return secrets_.empty(); }
  engine::Result<std::vector<const Secret*>> candidates(const Protector& protector) override;
  std::vector<std::string> labels() const override;

 private:
  std::vector<std::unique_ptr<Secret>> secrets_;
};

class KeyRing {
 public:
  void add(std::unique_ptr<KeySource> source) { sources_.push_back(std::move(source)); }
  bool empty() const noexcept { return sources_.empty(); }
  engine::Result<std::vector<const Secret*>> candidates(const Protector& protector) const;
  std::vector<std::string> labels() const;  // each once, in order

 private:
  std::vector<std::unique_ptr<KeySource>> sources_;
};

}  // namespace latchkey::keyslots
