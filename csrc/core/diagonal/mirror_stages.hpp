// Radau's stages as positions of the mirror, and positions between them.
//
// Every iteration is one fused pass over X that moves the stages z by X' dN, so each z_i keeps the
// precision of its own small change.
#pragma once

#include "mirror_state.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, Mirror MirrorT> struct MirrorStages {
  using T = typename TeamT::Value;

  MirrorState<TeamT, MirrorT> &state;
  int ldd;
  double *Z; // stages of z; the third is the trial end
  double *mean_slope;
  double *dense_z; // of z, inside the last step, relative to its start

  KRF_HD MirrorStages(MirrorState<TeamT, MirrorT> &state_, Arena &arena)
      : state(state_), ldd(state_.ldd), Z(arena.take(3LL * ldd)), mean_slope(arena.take(ldd)),
        dense_z(arena.take(ldd)) {}

  KRF_HD double *end() const { return Z + 2LL * ldd; }

  // What a pass over X computes at feature i: its z at the trial end, kept; beta there.
  KRF_HD T map_end(int i, T z, T &bad) {
    write(end() + i, z);
    return state.evaluate_mirror(i, z, bad);
  }

  // Squares of the change of the predictor, one per stage; of the predictor and of its change over
  // the step, at the end; the largest change of a part; whether a stage is out of domain.
  using Sums = PassSums<T, 5, 2>;
  // What a pass over X needs of the mirror, by value: a pass writes arrays, after which the
  // compiler would read pointers in memory again.
  struct Pass {
    MirrorT mirror;
    MirrorArrays next;
    double *Z, *mean_slope;
    int ldd;

    // At feature i, where the stages z of the step move by dz (from zero, unless `add`): beta at
    // the stages.  The mean of the slopes, each times a share(stage), is kept at the predicted
    // stages for the Jacobian; the mirror's values of the end are kept at those that Newton's
    // iteration has corrected.
    template <class Share>
    KRF_HD void map_stages(int i, const T *dz, bool add, T *beta, Sums &sums,
                           const Share &share) const {
      T mean = splat<T>(0.0);
      T *const parts = sums.parts;
      for (int j = 0; j < 3; ++j) {
        double *at = Z + j * ldd + i;
        const T z = add ? read<T>(at) + dz[j] : dz[j];
        write(at, z);
        auto good = z < z;
        const MirrorValue<T> v = mirror.evaluate(i, z, good);
        parts[6] = select(good, parts[6], splat<T>(1.0));
        const T moved = v.slope * absolute(dz[j]);
        parts[5] = greater_of(parts[5], v.relative_slope * absolute(dz[j]));
        parts[j] += moved * moved;
        mean += share(j) * v.slope;
        beta[j] = v.beta;
        if (j < 2)
          continue;
        parts[3] += v.beta * v.beta;
        parts[4] += v.slope * z * (v.slope * z);
        if (add)
          next.store(i, v);
      }
      if (!add)
        write(mean_slope + i, mean * (1.0 / 3.0));
    }
  };
  KRF_HD Pass pass() const { return {state.mirror, state.next, Z, mean_slope, ldd}; }

  KRF_HD void interpolate(const double w[3]) {
    state.team.for_each(ldd, [&](int i) {
      write(dense_z + i,
            w[0] * read<T>(Z + i) + w[1] * read<T>(Z + ldd + i) + w[2] * read<T>(Z + 2 * ldd + i));
    });
  }
  // A polynomial between two points of the mirror's domain may leave it; the chord, at fraction x,
  // cannot.
  KRF_HD void keep_in_domain(double x) {
    T bad = splat<T>(0.0);
    state.team.for_each(ldd, [&](int i) {
      const T dz = read<T>(dense_z + i);
      auto good = dz < dz;
      state.mirror.evaluate(i, dz, good);
      bad = select(good, bad, splat<T>(1.0));
    });
    if (state.team.max(bad) > 0.0)
      state.team.for_each(ldd, [&](int i) { write(dense_z + i, x * read<T>(end() + i)); });
  }
};

KRF_END_NAMESPACE
