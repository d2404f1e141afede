// Losses: L = sum over samples n of l(f_n, y_n), each l a struct of static functions.
#pragma once

#include "base/elementary.hpp"

namespace krf {
// Values are those of kernelrich_fast/backends.
enum class LossKind : int { kSquared = 0, kCrossEntropy = 1 };
enum class MarginLossKind : int { kExponential = 0, kLogistic = 1 };
} // namespace krf

KRF_BEGIN_NAMESPACE

// kKind
// evaluate(f, outputs, y, dl_df)  l(f, y) of one sample with `outputs` predictions, and its
//                        derivatives by them
// prediction_scale2(y)   the square of what errors of the sample's predictions are relative to
template <class L>
concept Loss = requires(const double *f, int outputs, double y, double *dl_df) {
  { L::kKind };
  { L::evaluate(f, outputs, y, dl_df) };
  { L::prediction_scale2(y) };
};

// A loss with constant second derivative kCurvature, so that dl/df = -kCurvature residual(f, y):
// the flows that solve with their Gram matrix take it.
template <class L>
concept QuadraticLoss = Loss<L> && requires(double f, double y) {
  requires L::kCurvature > 0.0;
  { L::residual(f, y) };
};

struct SquaredLoss {
  static constexpr LossKind kKind = LossKind::kSquared;
  static constexpr double kCurvature = 2.0;
  template <class T> KRF_HD static T residual(T f, T y) { return y - f; }

  KRF_HD inline static double evaluate(const double *f, int, double y, double *dl_df) {
    const double r = f[0] - y;
    dl_df[0] = 2.0 * r;
    return r * r;
  }
  KRF_HD static double prediction_scale2(double y) { return y * y; }
};

// -log p_y for the class y, p the softmax of f.  The predictions are logits, of order one.
struct CrossEntropyLoss {
  static constexpr LossKind kKind = LossKind::kCrossEntropy;

  KRF_HD static double evaluate(const double *f, int outputs, double y, double *dl_df) {
    const int label = static_cast<int>(y);
    int top = 0;
    for (int c = 1; c < outputs; ++c)
      top = f[c] > f[top] ? c : top;
    double others = 0; // sum of exp(f_c - f_top) over c != top
    for (int c = 0; c < outputs; ++c)
      others += c == top ? 0.0 : std::exp(f[c] - f[top]);
    double wrong = 0; // 1 - p_label as a sum of what is small
    for (int c = 0; c < outputs; ++c) {
      dl_df[c] = std::exp(f[c] - f[top]) / (1.0 + others);
      wrong += c == label ? 0.0 : dl_df[c];
    }
    dl_df[label] = -wrong;
    return (f[top] - f[label]) + std::log1p(others);
  }
  KRF_HD static double prediction_scale2(double) { return 1.0; }
};

// Losses of a margin m = y f, y = -1 or +1, as functions of a value type T.  They are convex, fall,
// and are only known by their logarithms, since margins of 1e10 are ordinary:
// kKind
// log_value(m)           ln l(m)
// log_slope(m)           ln(-l'(m))
// log_curvature(m)       ln(-l''(m) / l'(m)), not positive
template <class L>
concept MarginLoss = requires(double m) {
  { L::kKind };
  { L::log_value(m) };
  { L::log_slope(m) };
  { L::log_curvature(m) };
};

struct ExponentialLoss {
  static constexpr MarginLossKind kKind = MarginLossKind::kExponential;
  template <class T> KRF_HD static T log_value(T m) { return 0.0 - m; }
  template <class T> KRF_HD static T log_slope(T m) { return 0.0 - m; }
  template <class T> KRF_HD static T log_curvature(T) { return splat<T>(0.0); }
};

// ln(1 + e^-m)
struct LogisticLoss {
  static constexpr MarginLossKind kKind = MarginLossKind::kLogistic;
  // ln(1 + e^-|m|), to its own accuracy: by the rounding error of 1 + x.
  template <class T> KRF_HD static T small_part(T m) {
    const T x = exponential(0.0 - absolute(m)), u = 1.0 + x;
    const T lost = u - 1.0;
    return select(lost > 0.0, logarithm(u) * (x / greater_of(lost, splat<T>(1e-300))), x);
  }
  template <class T> KRF_HD static T log_value(T m) {
    const T zero = splat<T>(0.0), far = splat<T>(40.0);
    const T value = small_part(m) + greater_of(0.0 - m, zero);
    return select(m > far, 0.0 - m, logarithm(value));
  }
  template <class T> KRF_HD static T log_slope(T m) {
    return lesser_of(0.0 - m, splat<T>(0.0)) - small_part(m);
  }
  template <class T> KRF_HD static T log_curvature(T m) {
    return lesser_of(m, splat<T>(0.0)) - small_part(m);
  }
};

// use(loss) for the struct of a kind; a new loss is a struct and a line here.
template <class Use> KRF_HD auto with_loss(LossKind kind, Use use) {
  switch (kind) {
  case LossKind::kCrossEntropy:
    return use(CrossEntropyLoss{});
  case LossKind::kSquared:
    break;
  }
  return use(SquaredLoss{});
}
template <class Use> KRF_HD auto with_margin_loss(MarginLossKind kind, Use use) {
  return kind == MarginLossKind::kLogistic ? use(LogisticLoss{}) : use(ExponentialLoss{});
}

KRF_END_NAMESPACE
