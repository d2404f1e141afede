// From predictions to the gradient of a margin loss, by logarithms alone.
#pragma once

#include "../loss.hpp"
#include "../team.hpp"

KRF_BEGIN_NAMESPACE

namespace margin_rules {
// Margins of the samples that matter differ by ln(1 / p), which beside a margin of 1e10 is nothing
// but makes p turn as sharply as a step: p is (-l')^(1 / width), normalised, with the width
// kSmoothing rtol times the least margin, where that exceeds one.  Margins then differ by
// width ln(1 / p), of which kSpread widths are more than enough.  A least margin below zero has no
// width: there the loss of a classifier that is far wrong would count as rounding.
inline constexpr double kSmoothing = 0.2, kSpread = 20.0;
inline constexpr double kCounts = 1e-5; // share of the largest p from which on a sample matters
} // namespace margin_rules

// What a pass over the predictions finds.
struct MarginSums {
  double log_loss, log_slope; // ln L, and ln S, S the sum of -l'
  double moved;               // the largest change of a margin that matters, over `width`
  double width;               // of p (margin_rules)
};

template <Team TeamT> struct MarginField {
  using T = typename TeamT::Value;

  TeamT &team;
  int length;
  const double *y; // labels; zero in the padding
  MarginLossKind loss;
  double smoothing = 0;

  KRF_HD MarginField(TeamT &team_, int length_, const double *y_, MarginLossKind loss_)
      : team(team_), length(length_), y(y_), loss(loss_) {}

  // Predictions become y p, p = -l'(m) / S.  The margins are kept in `margins`, if given, and
  // compared with those there.
  KRF_HD KRF_APART MarginSums evaluate(double *f, double *margins) {
    return with_margin_loss(
        loss, [&](auto kind) { return this->template evaluate_of<decltype(kind)>(f, margins); });
  }

  // c = -l'' / l'
  KRF_HD KRF_APART void curvature(const double *margins, double *c) {
    with_margin_loss(loss, [&](auto kind) {
      team.for_each(length, [&](int i) {
        write(c + i, exponential(decltype(kind)::log_curvature(read<T>(margins + i))));
      });
    });
  }

  // Whether a loss is so small that all margins are positive, so that it can always fall: a sample
  // with a margin of zero alone has exp(0), or log(2).
  KRF_HD bool is_separated(double log_loss) const {
    const double limit = loss == MarginLossKind::kExponential ? 0.0 : kLogOfLog2;
    return log_loss < limit - 8.0 * kEpsilon; // by more than the rounding of ln L
  }

private:
  static constexpr double kLogOfLog2 = -0.36651292058166432701;

  // Sums are relative to their largest terms, which are those of the least margin.
  KRF_HD double least_margin(const double *f) {
    T most = splat<T>(0.0); // by which a margin is below that of sample 0
    const double first = y[0] * f[0];
    team.for_each(length, [&](int i) {
      const T sign = read<T>(y + i), m = sign * read<T>(f + i);
      most = greater_of(most, select(absolute(sign) > 0.0, first - m, splat<T>(0.0)));
    });
    return first - team.max(most);
  }

  template <MarginLoss LossT> KRF_HD MarginSums evaluate_of(double *f, double *margins) {
    const double least = least_margin(f);
    const double top_value = LossT::log_value(least), top_slope = LossT::log_slope(least);
    const double width = larger(1.0, smoothing * least), sharpness = 1.0 / width;
    const T zero = splat<T>(0.0);
    T sums[3] = {zero, zero, zero};
    team.for_each(length, [&](int i) {
      const T sign = read<T>(y + i), m = sign * read<T>(f + i);
      const auto is_sample = absolute(sign) > 0.0;
      const T share =
          select(is_sample, exponential((LossT::log_slope(m) - top_slope) * sharpness), zero);
      sums[0] += share;
      sums[1] += select(is_sample, exponential(LossT::log_value(m) - top_value), zero);
      if (margins) {
        const T change = absolute(m - read<T>(margins + i));
        sums[2] = greater_of(sums[2], select(share > margin_rules::kCounts, change, zero));
        write(margins + i, m);
      }
      write(f + i, sign * share);
    });
    double of[3];
    team.template reduce<2, 1>(sums, of);
    scale(team, 1.0 / of[0], f, length);
    const double log_loss = top_value + std::log(of[1]);
    // Where p is smoothed, margins are so large that -l' is l.
    const double log_slope = width > 1.0 ? log_loss : top_slope + std::log(of[0]);
    return {log_loss, log_slope, of[2] * sharpness, width};
  }
};

KRF_END_NAMESPACE
