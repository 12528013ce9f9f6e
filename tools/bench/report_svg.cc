// The picture: horizontal bars, a table after the other. A bar is the median, the thin line across
// its end reaches from the lowest to the highest repetition. Colours are in one style sheet, with a
// dark set for viewers who prefer that; no script, no font of its own, nothing from elsewhere.
#include <algorithm>

#include <fmt/format.h>

#include "tools/bench/report.h"

namespace latchkey::tools::bench {
namespace {

constexpr double kWidth = 880;
constexpr double kMargin = 24;
constexpr double kBarLeft = 200;   // labels end before it
constexpr double kBarRight = 560;  // figures begin behind it
constexpr double kRowHeight = 24;
constexpr double kBarHeight = 14;

constexpr const char* kStyle = R"(<style>
svg { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 13px }
.page { fill: #ffffff } .text { fill: #1f2328 } .quiet { fill: #59636e }
.ours { fill: #3b6ea5 } .other { fill: #a9b4c0 } .axis { stroke: #d1d9e0 } .spread { stroke: #1f2328 }
.title { font-size: 18px; font-weight: 600 } .heading { font-weight: 600 } .small { font-size: 12px }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } .text { fill: #e6edf3 } .quiet { fill: #9198a1 }
.ours { fill: #6ca4dc } .other { fill: #57606a } .axis { stroke: #3d444d } .spread { stroke: #e6edf3 }
}
</style>
)";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // A control character is no part of any XML document, not even escaped.
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

class Picture {
 public:
  explicit Picture(const Report& report) : report_(report) {}

  std::string draw() {
    line("text title", 28, report_.title);
    line("quiet", 20, report_.machine.describe());
    for (const std::string& how : report_.how) line("quiet", 18, how);
    for (const Table& table : report_.tables) add(table);
    y_ += 12;
    for (const std::string& note : report_.notes) line("quiet small", 18, note);
    if (report_.noisy()) line("quiet small", 18, noise_criterion());
    const double height = y_ + kMargin;
    return fmt::format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
               "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\">\n<title>{2}</title>\n{3}"
               "<rect class=\"page\" width=\"{0:.0f}\" height=\"{1:.0f}\"/>\n",
               kWidth, height, escaped(report_.title), kStyle) +
           body_ + "</svg>\n";
  }

 private:
  void text(const char* kind, double x, double y, const char* anchor, const std::string& what) {
    body_ +=
        fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n",
                    kind, x, y, anchor, escaped(what));
  }
  void line(const char* kind, double height, const std::string& what) {
    y_ += height;
    text(kind, kMargin, y_, "start", what);
  }
  void stroke(const char* kind, double x1, double y1, double x2, double y2) {
    body_ += fmt::format(
        "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", kind, x1,
        y1, x2, y2);
  }

  void add(const Table& table) {
    y_ += 12;
    line("text heading", 22, table.heading + ", " + table.unit);
    double most = 0;
    for (const Row& row : table.rows) most = std::max(most, row.summary.highest);
    if (most <= 0) most = 1;
    y_ += 8;
    const double top = y_;
    for (const Row& row : table.rows) add(table, row, most);
    stroke("axis", kBarLeft, top, kBarLeft, y_);
    if (!table.conclusion.empty()) line("quiet small", 18, table.conclusion);
  }

  void add(const Table& table, const Row& row, double most) {
    const auto x_of = [most](double value) {
      return kBarLeft + (kBarRight - kBarLeft) * value / most;
    };
    const Summary& summary = row.summary;
    const double middle = y_ + kRowHeight / 2;
    const double baseline = middle + 4.5;
    text("text", kBarLeft - 10, baseline, "end", row.label);
    body_ += fmt::format(
        "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\" "
        "rx=\"2\"/>\n",
        row.reference ? "other" : "ours", kBarLeft, middle - kBarHeight / 2,
        x_of(summary.median) - kBarLeft, kBarHeight);
    stroke("spread", x_of(summary.lowest), middle, x_of(summary.highest), middle);
    for (const double end : {summary.lowest, summary.highest}) {
      stroke("spread", x_of(end), middle - 4, x_of(end), middle + 4);
    }
    text("text", kBarRight + 50, baseline, "end",
         fmt::format("{:.{}f}", summary.median, table.decimals));
    text("quiet small", kBarRight + 62, baseline, "start", beside(table, row));
    y_ += kRowHeight;
  }

  static std::string beside(const Table& table, const Row& row) {
    std::string out;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      const Column& column = table.columns[i];
      if (!row.others.at(i) || column.after.empty()) continue;
      out += fmt::format("{}{:.{}f}{}", out.empty() ? "" : ", ", *row.others[i], column.decimals,
                         column.after);
    }
    if (row.summary.noisy()) out += out.empty() ? "noisy" : ", noisy";
    return out;
  }

  const Report& report_;
  std::string body_;
  double y_ = 12;
};

}  // namespace

std::string report_svg(const Report& report) {
  return Picture(report).draw();
}

}  // namespace latchkey::tools::bench
