#include <string>
#include <variant>

#include <nlohmann/json.hpp>

#include "tools/bench/report.h"

namespace latchkey::tools::bench {
namespace {

using Json = nlohmann::ordered_json;

void add_facts(Json& into, const Facts& facts) {
  for (const auto& [name, fact] : facts) {
    std::visit([&into, &key = name](const auto& value) { into[key] = value; }, fact);
  }
}

Json row_json(const Table& table, const Row& row) {
  Json out = Json::object();
  add_facts(out, row.facts);
  const Summary& summary = row.summary;
  out["median"] = summary.median;
  out["lowest"] = summary.lowest;
  out["highest"] = summary.highest;
  out["lower_quartile"] = summary.lower_quartile;
  out["upper_quartile"] = summary.upper_quartile;
  out["repetitions"] = summary.count;
  out["noisy"] = summary.noisy();
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const auto& other = row.others.at(i);
    out[table.columns[i].key] = other ? Json(*other) : Json(nullptr);
  }
  return out;
}

Json table_json(const Table& table) {
  Json out = Json::object();
  add_facts(out, table.facts);
  out["unit"] = table.unit_key;
  Json rows = Json::array();
  for (const Row& row : table.rows) rows.push_back(row_json(table, row));
  out["results"] = std::move(rows);
  return out;
}

}  // namespace

std::string report_json(const Report& report) {
  Json settings = Json::object();
  add_facts(settings, report.settings);
  Json tables = Json::array();
  for (const Table& table : report.tables) tables.push_back(table_json(table));
  const Json out = {{"benchmark", report.benchmark},
                    {"machine",
                     {{"processor", report.machine.processor},
                      {"cores", report.machine.cores},
                      {"kernel", report.machine.kernel}}},
                    {"settings", std::move(settings)},
                    {"noisy_spread", kNoisySpread},
                    {"notes", report.notes},
                    {"tables", std::move(tables)}};
  // A path may hold any bytes; what is not UTF-8 is replaced rather than refused.
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace latchkey::tools::bench
