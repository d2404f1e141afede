// The diagonal network as the integrators see it: the flow nu' = y - X beta(nu) of its dual.
//
// The Jacobian -X diag(s) X^T is one Gram matrix, moved column by column (scaled_gram.hpp).  Its
// slopes are the mean over the predicted stages, so an activation inside the step does not surprise
// Newton.  Every iteration is one fused pass over X that moves the stages z by X^T dN, so each z_i
// keeps the precision of its own small change.
#pragma once

#include "../linalg/shifted_factors.hpp"
#include "../ode/dopri5.hpp"
#include "../ode/radau5.hpp"
#include "../team.hpp"
#include "scaled_gram.hpp"

KRF_BEGIN_NAMESPACE

namespace dual_rules {
inline constexpr double kGramDrift = 0.2;
// After a Newton iteration slower than this the matrix is brought up to date more closely.
inline constexpr double kSlowRate = 0.1;
inline constexpr double kFineDrift = 0.02;
inline constexpr int kStiffStart = 64; // samples from which method = "auto" starts with stiff steps
} // namespace dual_rules

template <Team TeamT, Mirror MirrorT> struct DualSystem : DualState<TeamT, MirrorT> {
  using TeamType = TeamT;
  using Base = DualState<TeamT, MirrorT>;
  using Value = typename TeamT::Value;
  using T = Value;
  using Problem = DiagonalProblem;
  using Output = DiagonalFlowOutput;
  using Base::beta, Base::d, Base::feature_norm, Base::ldd, Base::ldn, Base::mirror, Base::n,
      Base::n_reflectors, Base::next_beta, Base::next_size, Base::next_slope, Base::nu,
      Base::residual, Base::slope, Base::team, Base::velocity, Base::X, Base::y, Base::y_norm2;

  static constexpr double kNewtonShare = 0.3;
  static constexpr double kFirstStepPower = 0.2, kMaxGrowth = 10.0;
  static constexpr int kMaxFailures = 100;
  int length;
  double *field; // nu' is the residual
  ScaledGram<TeamT, MirrorT> scaled_gram;
  ShiftedSolver<TeamT> solver;
  double *Z; // stages of z; the third is the end of a step
  double *mean_slope, *scratch;
  double *dense, *dense_z; // a state inside the last step, relative to its start
  double *w_plus, *w_minus, *power_vector, *power_image;

  KRF_HD DualSystem(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : Base(team_, p, arena), length(ldn), field(residual), scaled_gram(ldn, ldd, arena),
        solver(team_, p.n, arena), Z(arena.take(3LL * ldd)), mean_slope(arena.take(ldd)),
        scratch(arena.take(ldd)), dense(arena.take(ldn)), dense_z(arena.take(ldd)),
        w_plus(arena.take(ldd)), w_minus(arena.take(ldd)), power_vector(arena.take(ldn)),
        power_image(arena.take(ldn)) {}

  KRF_HD static constexpr bool stiff_available() { return true; }
  // In passes of one vector over X: an explicit step costs 8; a stiff step costs 12.5, the update
  // of the Gram matrix and its share of an inverse (the second term), and about forty products of
  // an N x N matrix and a vector (the third).
  KRF_HD double cost_ratio() const {
    return (12.5 + 0.1 * static_cast<double>(n) * n / d + 12.0 * n / d) / 8.0;
  }
  // From here on stiff steps are at most as expensive per unit of time, even while the flow is not
  // stiff yet.
  KRF_HD bool starts_stiff() const { return n >= dual_rules::kStiffStart; }
  KRF_HD void start_stiff() {
    scaled_gram.clear(*this);
    solver.start();
    fill(team, 0.0, power_vector, ldn);
  }
  KRF_HD static double explicit_tolerance(double rtol) { return dopri5::step_tolerance(rtol); }
  KRF_HD double predictor_norm() { return this->beta_norm(); }
  KRF_HD void set_accuracy(double rtol) { mirror.set_accuracy(rtol); }
  KRF_HD static void begin_step(double) {}
  // A convex flow rests nowhere but where its velocity is rounding: at a minimum, or where only
  // rounding is left of the residual (DualState::beyond_reach).
  KRF_HD Rest rest(const DiagonalProblem &p, double *history, const Progress &) {
    return this->measure_velocity() ? rest_at_rounding(p, history) : Rest::kNone;
  }
  KRF_HD KRF_APART Rest rest_at_rounding(const DiagonalProblem &p, double *history) {
    for (int j = 0; j < 3 && this->unreachable < 0.0; ++j)
      this->to_original(history + j * ldn);
    bool basis_changed;
    const bool end = this->beyond_reach(p, scratch, scaled_gram.change, basis_changed);
    if (basis_changed) {
      scaled_gram.clear(*this);
      solver.forget();
    }
    return end ? Rest::kStationary : this->residual_is_rounding() ? Rest::kRounding : Rest::kNone;
  }
  // The basis changes in `prepare`.
  KRF_HD static void renew_basis(double *) {}

  // Relative rate at which the loss falls.
  KRF_HD double rate() {
    T sum = splat<T>(0.0);
    team.for_each(ldd, [&](int i) {
      const T v = read<T>(velocity + i);
      sum += read<T>(slope + i) * v * v;
    });
    return team.sum(sum) / larger(this->loss(), 1e-300);
  }

  // The field at nu + at; keeps z and the mirror's values as those of the end of the step.
  KRF_HD KRF_APART bool evaluate(const double *at, double *out) {
    T bad = splat<T>(0.0);
    team.template map_features<1>(X, ldn, ldd, at, out, [&](int i, const T *z, T *o) {
      write(Z + 2 * ldd + i, z[0]);
      this->store(i, z[0], bad);
      o[0] = read<T>(next_beta + i);
    });
    team.for_each(ldn, [&](int i) { write(out + i, read<T>(y + i) - read<T>(out + i)); });
    return !(team.max(bad) > 0.0);
  }

  // One pass: Z (+)= X^T V, fields F at the new stages, and the size of the change.  False where a
  // stage leaves the domain of the mirror.
  KRF_HD KRF_APART bool move_stages(const double *, const double *V, bool add, double *F,
                                    ErrorNorm &change) {
    T bad = splat<T>(0.0), componentwise = splat<T>(0.0);
    T predictor[3] = {}, predictor_norm = splat<T>(0.0), step = splat<T>(0.0);
    team.template map_features<3>(X, ldn, ldd, V, F, [&](int i, const T *z, T *out) {
      T mean = splat<T>(0.0);
      for (int j = 0; j < 3; ++j) {
        double *at = Z + j * ldd + i;
        const T dz = add ? read<T>(at) + z[j] : z[j];
        write(at, dz);
        auto good = dz < dz;
        const MirrorValue<T> v = mirror.evaluate(i, dz, good);
        bad = select(good, bad, splat<T>(1.0));
        const T moved = v.slope * absolute(z[j]);
        componentwise = greater_of(componentwise, moved / v.size);
        predictor[j] += moved * moved;
        mean += v.slope;
        out[j] = v.beta;
        if (j == 2) {
          predictor_norm += v.beta * v.beta;
          step += v.slope * dz * (v.slope * dz);
          write(next_beta + i, v.beta);
          write(next_slope + i, v.slope);
          write(this->next_size + i, v.size);
        }
      }
      write(mean_slope + i, mean * (1.0 / 3.0));
    });
    const T parts[7] = {predictor[0], predictor[1],  predictor[2], predictor_norm,
                        step,         componentwise, bad};
    double of[7];
    team.template reduce<5, 2>(parts, of);
    if (of[6] > 0.0)
      return false;
    for (int j = 0; j < 3; ++j)
      team.for_each(ldn, [&](int i) {
        double *f = F + j * ldn + i;
        write(f, read<T>(y + i) - read<T>(f));
      });
    change = {of[5], std::sqrt(larger(of[0], larger(of[1], of[2]))), std::sqrt(of[3]),
              std::sqrt(of[4])};
    return true;
  }

  // Gram matrix and factors for a step h; false if the matrix was not definite.  Sets
  // `basis_changed` if the basis changed, which invalidates the stages; old_N turns along.
  KRF_HD KRF_APART bool prepare(double h, double newton_rate, double *old_N, bool &basis_changed) {
    using namespace dual_rules;
    basis_changed = false;
    const double drift = newton_rate > kSlowRate ? kFineDrift : kGramDrift;
    if (!scaled_gram.update(*this, mean_slope, radau5::kGamma / h, drift) && h == solver.h)
      return true;
    const double kept =
        solver.prepare(scaled_gram.matrix, h, {radau5::kGamma, radau5::kAlpha, radau5::kBeta});
    if (kept > 1e-8)
      return true;
    team.for_each(ldd, [&](int i) {
      const T norm = read<T>(feature_norm + i);
      write(scratch + i, h * read<T>(mean_slope + i) * norm * norm);
    });
    const int known = n_reflectors;
    if (this->rotate_stiff_first(scratch, 1e3, scaled_gram.change)) {
      scaled_gram.clear(*this);
      for (int k = known; k < n_reflectors; ++k)
        for (int j = 0; j < 3; ++j)
          this->reflect_vector(this->reflectors + static_cast<long long>(k) * ldn, old_N + j * ldn);
      solver.forget();
      basis_changed = true;
      return true;
    }
    return kept > 0.0;
  }
  KRF_HD void solve(double *b) { solver.solve(b); }
  KRF_HD void solve_stages(double *b) { solver.solve_stages(b, ldn); }

  // To the end of a step that error_norm_at_end has measured.
  KRF_HD void advance(const double *dnu, const double *end_residual) {
    copy(team, end_residual, field, length);
    Base::advance(Z + 2 * ldd, dnu);
    swap(velocity, this->next_velocity);
    this->velocity_known = true;
  }

  KRF_HD void interpolate_stages(const double w[3]) {
    team.for_each(ldd, [&](int i) {
      write(dense_z + i,
            w[0] * read<T>(Z + i) + w[1] * read<T>(Z + ldd + i) + w[2] * read<T>(Z + 2 * ldd + i));
    });
  }
  KRF_HD void interpolate_state(const double *dnu) {
    team.template map_features<1>(X, ldn, ldd, dnu, nullptr,
                                  [&](int i, const T *z, T *) { write(dense_z + i, z[0]); });
  }

  // A polynomial between two points of the mirror's domain may leave it; the chord cannot.
  KRF_HD void keep_in_domain(double x) {
    T bad = splat<T>(0.0);
    team.for_each(ldd, [&](int i) {
      const T dz = read<T>(dense_z + i);
      auto good = dz < dz;
      mirror.evaluate(i, dz, good);
      bad = select(good, bad, splat<T>(1.0));
    });
    if (team.max(bad) > 0.0)
      team.for_each(ldd, [&](int i) { write(dense_z + i, x * read<T>(Z + 2 * ldd + i)); });
  }

  // One step of the power method on the Gram matrix, from the vector of the step before; negative
  // where that would not be faithful.
  KRF_HD KRF_APART double largest_eigenvalue() {
    if (n_reflectors > 0)
      return -1.0;
    const double norm = std::sqrt(team.dot(power_vector, power_vector, ldn));
    if (!(norm > 0.0)) {
      team.each(n, [&](int i) { power_vector[i] = 1.0 + 0.1 * (i % 7); });
      return kInfinity;
    }
    team.for_each(
        ldn, [&](int i) { write(power_vector + i, read<T>(power_vector + i) * (1.0 / norm)); });
    team.template map_features<1>(
        X, ldn, ldd, power_vector, power_image,
        [&](int i, const T *z, T *o) { o[0] = z[0] * read<T>(slope + i); });
    swap(power_vector, power_image);
    return std::sqrt(team.dot(power_vector, power_vector, ldn));
  }

  KRF_HD void write_row(DiagonalFlowOutput &out, int row, double t) {
    write_state(out, row, false, t);
  }
  KRF_HD void write_dense_row(DiagonalFlowOutput &out, int row, double t) {
    write_state(out, row, true, t);
  }
  // The position, or the dense state.
  KRF_HD KRF_APART void write_state(DiagonalFlowOutput &out, int row, bool at_dense, double t) {
    const T zero = splat<T>(0.0);
    // The trial arrays still belong to the end of the step; the scratch of the power method and
    // the weights are free here.
    double *predictor = w_minus;
    team.for_each(ldd, [&](int i) {
      auto good = zero < zero;
      write(predictor + i, mirror.evaluate(i, at_dense ? read<T>(dense_z + i) : zero, good).beta);
    });
    this->subtract_prediction(predictor, power_image);
    const double loss_here = team.dot(power_image, power_image, ldn);
    const long long at = static_cast<long long>(row) * d;
    team.each(d, [&](int i) { out.beta[at + i] = predictor[i]; });
    team.for_each(ldd, [&](int i) {
      T plus, minus;
      mirror.weights(i, at_dense ? read<T>(dense_z + i) : zero, plus, minus);
      write(w_plus + i, plus);
      write(w_minus + i, minus);
    });
    team.each(d, [&](int i) {
      out.w_plus[at + i] = w_plus[i];
      out.w_minus[at + i] = w_minus[i];
    });
    team.for_each(ldn, [&](int i) {
      write(power_image + i, read<T>(nu + i) + (at_dense ? read<T>(dense + i) : zero));
    });
    this->to_original(power_image);
    team.each(n, [&](int i) { out.nu[static_cast<long long>(row) * n + i] = power_image[i]; });
    team.once([&] { out.loss[row] = loss_here, out.t[row] = t; });
  }

  // Of a run that could not start.
  KRF_HD KRF_APART void write_unstarted(DiagonalFlowOutput &out, int row) {
    const long long at = static_cast<long long>(row) * d, at_nu = static_cast<long long>(row) * n;
    team.each(d, [&](int i) { out.beta[at + i] = out.w_plus[at + i] = out.w_minus[at + i] = 0.0; });
    team.each(n, [&](int i) { out.nu[at_nu + i] = 0.0; });
    team.once([&] { out.loss[row] = y_norm2, out.t[row] = 0.0; });
  }
};

KRF_END_NAMESPACE
