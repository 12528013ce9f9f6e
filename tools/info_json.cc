#include <nlohmann/json.hpp>

#include "engine/bytes.h"
#include "tools/info_report.h"

namespace latchkey::tools {
namespace {

using Json = nlohmann::ordered_json;

const char* scheme_name(engine::PartitionTable::Scheme scheme) {
  switch (scheme) {
    case engine::PartitionTable::Scheme::kNone:
      return "none";
    case engine::PartitionTable::Scheme::kMbr:
      return "mbr";
    case engine::PartitionTable::Scheme::kGpt:
      return "gpt";
  }
  return "none";
}

const char* severity_name(engine::Notice::Severity severity) {
  switch (severity) {
    case engine::Notice::Severity::kNote:
      return "note";
    case engine::Notice::Severity::kWarning:
      return "warning";
    case engine::Notice::Severity::kDamage:
      return "damage";
  }
  return "note";
}

Json content_json(const engine::ContentSignature& content) {
  if (content.empty()) return nullptr;
  return {{"type", content.type},
          {"label", content.label},
          {"uuid", content.uuid},
          {"needs_recovery", content.needs_recovery}};
}

const char* secret_key(keyslots::SecretKind kind) {
  switch (kind) {
    case keyslots::SecretKind::kPassphrase:
      return "passphrase";
    case keyslots::SecretKind::kKeyFile:
      return "key-file";
    case keyslots::SecretKind::kRecoveryPassword:
      return "recovery-password";
    case keyslots::SecretKind::kExternalKey:
      return "external-key";
    case keyslots::SecretKind::kRawKey:
      return "raw-key";
  }
  return "key";
}

// Null where --unlock-cost was not asked for.
Json cost_json(const UnlockCosts* costs, unsigned region, unsigned protector) {
  if (costs == nullptr) return nullptr;
  const auto cost = costs->find({region, protector});
  if (cost == costs->end()) return nullptr;
  const UnlockCost& found = cost->second;
  return {{"seconds", found.why_not.empty() ? Json(found.seconds) : Json(nullptr)},
          {"why_not", found.why_not}};
}

Json protector_json(const keyslots::Protector& protector, Json cost) {
  Json takes = Json::array();
  for (const keyslots::SecretKind kind : protector.takes) takes.push_back(secret_key(kind));
  return {{"number", protector.number},
          {"label", protector.label},
          {"description", protector.description},
          {"id", protector.id},
          {"created", protector.created},
          {"matches", protector.matches},
          {"takes", std::move(takes)},
          {"needs_secret", protector.needs_secret},
          {"priority", protector.priority},
          {"usable", protector.unusable.empty()},
          {"why_not", protector.unusable},
          {"unlock_cost", std::move(cost)}};
}

// Where a header that nobody named was found.
Json lifted_json(const FoundVolume& volume) {
  if (!volume.lifted) return nullptr;
  return {{"partition", volume.lifted->partition}, {"path", volume.lifted->path}};
}

Json logical_json(const FoundLogicalVolume& one) {
  return {{"name", one.name},
          {"group", one.group},
          {"on", one.on},
          {"bytes", one.volume.size_bytes},
          {"uuid", one.volume.uuid},
          {"content", content_json(one.content)},
          {"usable", one.volume.device != nullptr},
          {"why_not", one.volume.why_not}};
}

Json volume_json(const Region& region, const UnlockCosts* costs) {
  const FoundVolume& volume = *region.volume;
  if (!volume.header) {
    return {{"format", nullptr},
            {"usable", false},
            {"why_not", volume.error ? volume.error->message() : ""},
            {"protectors", Json::array()}};
  }
  const keyslots::VolumeFacts& facts = volume.header->facts();
  Json protectors = Json::array();
  for (const keyslots::Protector& protector : volume.header->protectors()) {
    if (!protector.on_disk) continue;
    protectors.push_back(
        protector_json(protector, cost_json(costs, region.number, protector.number)));
  }
  return {{"format", facts.format},
          {"usable", facts.unusable.empty()},
          {"why_not", facts.unusable},
          {"cipher", facts.cipher},
          {"key_bits", facts.key_bits},
          {"sector_bytes", facts.sector_bytes},
          {"uuid", facts.uuid},
          {"label", facts.label},
          {"payload_offset_bytes", facts.payload_offset},
          {"payload_bytes", facts.payload_bytes},
          {"detached_header", facts.detached},
          {"header_found_in", lifted_json(volume)},
          {"state", facts.state},
          {"protectors", std::move(protectors)}};
}

Json volume_or_null(const Region& region, const UnlockCosts* costs) {
  return region.volume ? volume_json(region, costs) : Json(nullptr);
}

Json partition_json(const Region& region, const UnlockCosts* costs) {
  const engine::Partition& entry = region.entry;
  return {{"number", entry.number},
          {"offset_bytes", entry.offset},
          {"length_bytes", entry.length},
          {"type", entry.type},
          {"type_name", entry.type_name},
          {"name", entry.name},
          {"uuid", entry.uuid},
          {"content", content_json(region.content)},
          {"volume", volume_or_null(region, costs)}};
}

}  // namespace

std::string info_json(const Image& image, const UnlockCosts* costs) {
  Json facts = Json::object();
  for (const auto& [name, value] : image.container.facts) facts[name] = value;
  Json partitions = Json::array();
  for (const Region& region : image.partitions) {
    partitions.push_back(partition_json(region, costs));
  }
  Json logical_volumes = Json::array();
  for (const FoundLogicalVolume& one : image.logical_volumes) {
    logical_volumes.push_back(logical_json(one));
  }
  engine::Notices all_notices = image.notices;
  all_notices.append(image.logical_notices);
  Json notices = Json::array();
  for (const engine::Notice& notice : all_notices.items()) {
    notices.push_back({{"severity", severity_name(notice.severity)},
                       {"where", notice.where},
                       {"text", notice.text}});
  }
  const std::string next = next_command(image);
  const Json report = {
      {"image", image.path},
      {"file_bytes", image.file_bytes},
      {"container", {{"format", image.container.format}, {"facts", std::move(facts)}}},
      {"disk",
       {{"bytes", image.container.disk->size_bytes()},
        {"partition_table", scheme_name(image.table.scheme)},
        {"table_sector_bytes", image.table.sector_bytes},
        {"disk_id", image.table.disk_id},
        {"content", content_json(image.disk.content)},
        {"volume", volume_or_null(image.disk, costs)}}},
      {"partitions", std::move(partitions)},
      {"logical_volumes", std::move(logical_volumes)},
      {"notices", std::move(notices)},
      {"usable", all_usable(image)},
      {"next", next.empty() ? Json(nullptr) : Json(next)}};
  // A path may hold any bytes; what is not UTF-8 is replaced rather than refused.
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace latchkey::tools
