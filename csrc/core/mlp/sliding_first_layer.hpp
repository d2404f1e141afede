// Sliding units of the first layer: each keeps an orthonormal basis of the samples it slides on,
// and its row of weights may only move across them.
#pragma once

#include "../team.hpp"
#include "network.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class SlidingFirstLayer {
public:
  // Samples one unit may slide on.
  static constexpr int kPerUnit = 16;
  // Of the descent for theta, and the change at which it ends.
  static constexpr int kMaxCycles = 400;
  static constexpr double kConverged = 1e-12;
  // Samples, and deeper gradients, with a squared cosine beyond this are parallel.
  static constexpr double kParallel = 1.0 - 1e-8;

  KRF_HD SlidingFirstLayer(Network<TeamT> &network, Arena &arena)
      : net_(network), team_(network.team),
        capacity_(network.layout.s.copies * network.layout.s.units[1]),
        unit_(take_ints(arena, capacity_)), begin_(take_ints(arena, capacity_ + 1)),
        owner_(take_ints(arena, capacity_)),
        basis_(arena.take(static_cast<long long>(capacity_) * network.layout.ld(0))) {}

  KRF_HD int capacity() const { return capacity_; }
  KRF_HD bool any() const { return vectors_ > 0; }
  KRF_HD int vectors() const { return vectors_; }
  KRF_HD void clear() { units_ = vectors_ = 0; }

  // The sliding units of `mode`; those that find no room get the mode of the sign of their z.
  KRF_HD void collect(double *mode, const double *Z) {
    const MlpLayout &layout = net_.layout;
    const int n = net_.n(), width = layout.s.units[1], ldz = layout.ldz(0);
    units_ = team_.collect(
        capacity_,
        [&](int e) {
          const double *m = mode + layout.offset(e / width, 0, n) + e % width;
          for (int s = 0; s < n; ++s)
            if (m[static_cast<long long>(s) * ldz] < 0.0)
              return true;
          return false;
        },
        unit_);
    if (units_ == 0) {
      vectors_ = 0;
      return;
    }
    team_.once([&] {
      int used = 0;
      for (int i = 0; i < units_; ++i) {
        begin_[i] = used;
        const long long here = layout.offset(unit_[i] / width, 0, n) + unit_[i] % width;
        int samples = 0;
        for (int s = 0; s < n; ++s) {
          const long long e = here + static_cast<long long>(s) * ldz;
          if (!(mode[e] < 0.0))
            continue;
          if (used == capacity_ || samples == kPerUnit) {
            mode[e] = Z[e] > 0.0 ? 1.0 : 0.0;
            continue;
          }
          ++samples;
          if (orthonormal(sample(s), begin_[i], used))
            owner_[used++] = unit_[i];
        }
      }
      begin_[units_] = used;
    });
    vectors_ = begin_[units_];
  }

  // v without what would move a sliding z.
  KRF_HD void project(double *v) const {
    const MlpLayout &layout = net_.layout;
    const int width = layout.s.units[1], ld = layout.ld(0);
    if (vectors_ == 0)
      return;
    team_.each(units_, [&](int i) {
      double *row =
          v + layout.weights(unit_[i] / width, 0) + static_cast<long long>(unit_[i] % width) * ld;
      for (int b = begin_[i]; b < begin_[i + 1]; ++b)
        remove(vector(b), row);
    });
  }

  // out[row][b]: what `project` takes from the row's gradient, one orthonormal direction each.
  KRF_HD void projected_coefficients(const FeatureRows &r, double *out, int ldo) const {
    const MlpLayout &layout = net_.layout;
    const int width = layout.s.units[1], ldz = layout.ldz(0), ld = layout.ld(0);
    team_.each(r.rows * ldo, [&](int e) {
      const int row = e / ldo, b = e % ldo;
      double value = 0;
      if (b < vectors_) {
        value = r.delta[layout.offset(owner_[b] / width, 0, r.capacity) +
                        static_cast<long long>(row) * ldz + owner_[b] % width];
        if (value != 0.0)
          value *= dot(vector(b), r.X + static_cast<long long>(row) * ld);
      }
      out[e] = value;
    });
  }

  // theta of the sliding samples.  Parallel samples meet their kinks together, opposite ones on
  // opposite sides, so they share one theta.  What is found is the point of the box [0, 1] at which
  // the unit's weights move least, which no sample then pushes off its kink from within.  Where one
  // does from an edge of the box, theta is put beyond that edge by what is missing: it lets go.
  // Samples may be dependent, as when a unit's weights vanish and all kinks meet.  The flow is that
  // of the samples and of u_deep times the deeper rows.
  KRF_HD KRF_APART void fractions(const Pass &p, const FeatureRows &deep, const double *u_deep,
                                  int deep_count, const double *mode, const double *dloss_da,
                                  double *theta) const {
    const MlpLayout &layout = net_.layout;
    const int n = net_.n(), width = layout.s.units[1], ldz = layout.ldz(0), ld = layout.ld(0);
    const bool seeded = layout.outputs() > 1;
    if (vectors_ == 0)
      return;
    team_.each(units_, [&](int i) {
      const int copy = unit_[i] / width, j = unit_[i] % width;
      const long long here = layout.offset(copy, 0, n) + j;
      const double *deeper = deep.delta + layout.offset(copy, 0, deep.capacity) + j;
      // Directions: the first sample of each, what theta weighs, z's rate as theta is, theta.
      int count = 0, index[kPerUnit];
      double held[kPerUnit], rate[kPerUnit], fraction[kPerUnit];
      for (int s = 0; s < n && count < kPerUnit; ++s) {
        if (!(mode[here + static_cast<long long>(s) * ldz] < 0.0))
          continue;
        const double *x = sample(s);
        if (direction_of(x, index, count) < count)
          continue;
        double r = 0;
        for (int m = 0; m < n; ++m) {
          const double d = p.features.delta[here + static_cast<long long>(m) * ldz];
          if (d != 0.0)
            r -= (seeded ? 1.0 : p.dloss_df[m]) * d * dot(x, sample(m));
        }
        for (int m = 0; m < deep_count; ++m)
          r -= u_deep[m] * deeper[static_cast<long long>(m) * ldz] *
               dot(x, deep.X + static_cast<long long>(m) * ld);
        index[count] = s, rate[count] = r, held[count] = fraction[count] = 0.0;
        ++count;
      }
      for (int s = 0; s < n; ++s) {
        const long long e = here + static_cast<long long>(s) * ldz;
        const int k = mode[e] < 0.0 ? direction_of(sample(s), index, count) : count;
        if (k == count)
          continue;
        const double *x = sample(index[k]);
        const double ratio = dot(sample(s), x) / dot(x, x);
        held[k] += std::fabs(ratio) * dloss_da[e];
        if (ratio < 0.0) // active where its direction is not
          for (int l = 0; l < count; ++l)
            rate[l] -= ratio * dloss_da[e] * dot(x, sample(index[l]));
      }
      // Coordinate descent; each sample's share moves its own z and, through the weights, the
      // others'.
      for (int cycle = 0; cycle < kMaxCycles; ++cycle) {
        double largest = 0;
        for (int k = 0; k < count; ++k) {
          const double g = held[k];
          const double *x = sample(index[k]);
          const double wanted = fraction[k] + share(rate[k], g * dot(x, x));
          const double next = g > 0.0 ? smaller(1.0, larger(0.0, wanted)) : 0.0;
          const double change = next - fraction[k];
          if (change == 0.0)
            continue;
          for (int l = 0; l < count; ++l)
            rate[l] -= change * g * dot(x, sample(index[l]));
          fraction[k] = next;
          largest = larger(largest, change < 0 ? -change : change);
        }
        if (!(largest > kConverged))
          break;
      }
      for (int s = 0; s < n; ++s) {
        const long long e = here + static_cast<long long>(s) * ldz;
        const int k = mode[e] < 0.0 ? direction_of(sample(s), index, count) : count;
        if (k == count)
          continue;
        const double *x = sample(index[k]);
        const double missing = share(rate[k], held[k] * dot(x, x));
        const double of_direction =
            fraction[k] + (fraction[k] > 0.0 && fraction[k] < 1.0 ? 0.0 : missing);
        theta[e] = dot(sample(s), x) > 0.0 ? of_direction : 1.0 - of_direction;
      }
    });
  }

  // theta = u / (dL/da).  A kink whose sides do not both point at it (dL/da <= 0) cannot hold a
  // trajectory: it leaves to the side that u says.
  KRF_HD static double share(double u, double dloss_da) {
    return dloss_da > 0.0 ? u / dloss_da : u > 0.0 ? kInfinity : -kInfinity;
  }

private:
  KRF_HD double *vector(int b) const {
    return basis_ + static_cast<long long>(b) * net_.layout.ld(0);
  }
  KRF_HD const double *sample(int s) const {
    return net_.X + static_cast<long long>(s) * net_.layout.ld(0);
  }
  KRF_HD double dot(const double *a, const double *b) const {
    double s = 0;
    for (int c = 0; c < net_.layout.ld(0); ++c)
      s += a[c] * b[c];
    return s;
  }
  // Which of these samples x is parallel to; their number where it is to none.
  KRF_HD int direction_of(const double *x, const int *samples, int count) const {
    for (int k = 0; k < count; ++k) {
      const double *q = sample(samples[k]);
      const double both = dot(x, q);
      if (both * both >= kParallel * dot(x, x) * dot(q, q))
        return k;
    }
    return count;
  }
  KRF_HD void remove(const double *q, double *from) const {
    const double s = dot(q, from);
    for (int c = 0; c < net_.layout.ld(0); ++c)
      from[c] -= s * q[c];
  }

  // Vector `used` becomes the direction that x adds to the vectors from `first` on; twice is enough
  // (Kahan).  False where it adds none.
  KRF_HD bool orthonormal(const double *x, int first, int used) const {
    double *q = vector(used);
    const int ld = net_.layout.ld(0);
    for (int c = 0; c < ld; ++c)
      q[c] = x[c];
    for (int pass = 0; pass < 2; ++pass)
      for (int b = first; b < used; ++b)
        remove(vector(b), q);
    const double left = dot(q, q);
    if (!(left > 1e-20 * dot(x, x)))
      return false;
    const double scale = 1.0 / std::sqrt(left);
    for (int c = 0; c < ld; ++c)
      q[c] *= scale;
    return true;
  }

  Network<TeamT> &net_;
  TeamT &team_;
  int capacity_, units_ = 0, vectors_ = 0;
  int *unit_, *begin_, *owner_; // basis vectors begin_[i] .. begin_[i + 1] - 1 belong to unit i
  double *basis_;
};

KRF_END_NAMESPACE
