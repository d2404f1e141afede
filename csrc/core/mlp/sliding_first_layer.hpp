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
  static constexpr int kFewVectors = 256; // up to so many there is room for all
  // Of the descent for theta, and the change at which it ends.
  static constexpr int kMaxCycles = 400;
  static constexpr double kConverged = 1e-12;
  // theta of a kink that the trajectory leaves to a side that is not known yet.  NaN, because no
  // comparison with it holds.
  static constexpr double kUndecided = __builtin_nan("");
  // Samples, and deeper gradients, with a squared cosine beyond this are parallel.
  static constexpr double kParallel = 1.0 - 1e-8;

  KRF_HD SlidingFirstLayer(Network<TeamT> &network, Arena &arena)
      : net_(network), team_(network.team), capacity_(room_for(network.layout)),
        unit_(arena.take<int>(unit_count())), begin_(arena.take<int>(unit_count() + 1)),
        owner_(arena.take<int>(capacity_)),
        basis_(take_matrix(arena, capacity_, network.layout.ld(0))) {}

  KRF_HD int capacity() const { return capacity_; }
  KRF_HD bool any() const { return vectors_ > 0; }
  KRF_HD int vectors() const { return vectors_; }
  KRF_HD void clear() { units_ = vectors_ = 0; }

  // The sliding units of `mode`; those that find no room get the mode of the sign of their z.
  KRF_HD void collect(double *mode, const double *Z) {
    const int n = net_.n(), ldz = net_.layout.ldz(0);
    units_ = team_.collect(
        unit_count(),
        [&](int unit) {
          const Matrix modes{mode + first_element(unit, n), ldz};
          for (int s = 0; s < n; ++s)
            if (*modes.row(s) < 0.0)
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
      for (int i = 0; i < units_; ++i)
        used = collect_unit(i, used, mode, Z);
      begin_[units_] = used;
    });
    vectors_ = begin_[units_];
  }

  // v without what would move a sliding z.
  KRF_HD void project(double *v) const {
    const MlpLayout &layout = net_.layout;
    if (vectors_ == 0)
      return;
    team_.each(units_, [&](int i) {
      const int unit = unit_[i];
      const Matrix weights{v + layout.weights(unit / width(), 0), layout.ld(0)};
      for (int b = begin_[i]; b < begin_[i + 1]; ++b)
        remove(vector(b), weights.row(unit % width()));
    });
  }

  // out[row][b]: what `project` takes from the row's gradient, one orthonormal direction each.
  KRF_HD void projected_coefficients(const FeatureRows &r, Matrix out) const {
    const int ldz = net_.layout.ldz(0);
    const ConstMatrix X{r.X, net_.layout.ld(0)};
    team_.each(r.rows * out.ld, [&](int e) {
      const int row = e / out.ld, b = e % out.ld;
      double value = 0;
      if (b < vectors_) {
        value = *ConstMatrix{r.delta + first_element(owner_[b], r.capacity), ldz}.row(row);
        if (value != 0.0)
          value *= dot(vector(b), X.row(row));
      }
      out.data[e] = value;
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
    if (vectors_ == 0)
      return;
    team_.each(units_, [&](int i) {
      Directions directions;
      find_directions(unit_[i], p, deep, u_deep, deep_count, mode, directions);
      add_held(unit_[i], mode, dloss_da, directions);
      descend(directions);
      write_fractions(unit_[i], mode, directions, theta);
    });
  }

  // theta = u / (dL/da): z moves like u where the unit does not pass, like u - dL/da where it does.
  // A kink whose sides do not both point at it (dL/da <= 0) cannot hold a trajectory: it leaves to
  // the side that both point to.  Where both point away, it has left to the side that turned away
  // first, and only a shorter step can tell which that was.
  KRF_HD static double share(double u, double dloss_da) {
    if (dloss_da > 0.0)
      return u / dloss_da;
    return u > 0.0 ? kInfinity : u < 0.0 && u > dloss_da ? kUndecided : -kInfinity;
  }

private:
  // The directions of a unit's sliding samples.
  struct Directions {
    int count = 0;
    int sample[kPerUnit];      // the first of each
    double held[kPerUnit];     // what theta weighs: dL/da in units of that sample
    double rate[kPerUnit];     // of its z, with theta as it is
    double fraction[kPerUnit]; // theta
  };

  KRF_HD int width() const { return net_.layout.s.units[1]; }
  KRF_HD int unit_count() const { return net_.layout.s.copies * width(); }
  // Elements of arrays with a row per sample: that of a unit in the first row.
  KRF_HD long long first_element(int unit, int rows) const {
    return net_.layout.offset(unit / width(), 0, rows) + unit % width();
  }
  // The basis of sliding unit i, in vectors from `used` on; returns those used afterwards.
  KRF_HD int collect_unit(int i, int used, double *mode, const double *Z) {
    const int n = net_.n(), ldz = net_.layout.ldz(0);
    const long long unit_at = first_element(unit_[i], n);
    const Matrix modes{mode + unit_at, ldz};
    const ConstMatrix z{Z + unit_at, ldz};
    begin_[i] = used;
    int samples = 0;
    for (int s = 0; s < n; ++s) {
      if (!(*modes.row(s) < 0.0))
        continue;
      if (used == capacity_ || samples == kPerUnit) {
        *modes.row(s) = *z.row(s) > 0.0 ? 1.0 : 0.0;
        continue;
      }
      ++samples;
      if (orthonormal(sample(s), begin_[i], used))
        owner_[used++] = unit_[i];
    }
    return used;
  }

  KRF_HD int sliding_direction(int s, double mode, const Directions &d) const {
    return mode < 0.0 ? direction_of(sample(s), d.sample, d.count) : d.count;
  }

  KRF_HD void find_directions(int unit, const Pass &p, const FeatureRows &deep,
                              const double *u_deep, int deep_count, const double *mode,
                              Directions &d) const {
    const int n = net_.n(), ldz = net_.layout.ldz(0), ld = net_.layout.ld(0);
    const bool seeded = net_.layout.outputs() > 1;
    const long long unit_at = first_element(unit, n);
    const ConstMatrix modes{mode + unit_at, ldz}, delta{p.features.delta + unit_at, ldz};
    const ConstMatrix deeper{deep.delta + first_element(unit, deep.capacity), ldz};
    const ConstMatrix deep_X{deep.X, ld};
    for (int s = 0; s < n && d.count < kPerUnit; ++s) {
      const double *x = sample(s);
      if (!(*modes.row(s) < 0.0) || direction_of(x, d.sample, d.count) < d.count)
        continue;
      double rate = 0;
      for (int m = 0; m < n; ++m) {
        const double of_m = *delta.row(m);
        if (of_m != 0.0)
          rate -= (seeded ? 1.0 : p.dloss_df[m]) * of_m * dot(x, sample(m));
      }
      for (int m = 0; m < deep_count; ++m)
        rate -= u_deep[m] * *deeper.row(m) * dot(x, deep_X.row(m));
      d.sample[d.count] = s, d.rate[d.count] = rate;
      d.held[d.count] = d.fraction[d.count] = 0.0;
      ++d.count;
    }
  }

  KRF_HD void add_held(int unit, const double *mode, const double *dloss_da, Directions &d) const {
    const int n = net_.n(), ldz = net_.layout.ldz(0);
    const long long unit_at = first_element(unit, n);
    const ConstMatrix modes{mode + unit_at, ldz}, derivative{dloss_da + unit_at, ldz};
    for (int s = 0; s < n; ++s) {
      const int k = sliding_direction(s, *modes.row(s), d);
      if (k == d.count)
        continue;
      const double *x = sample(d.sample[k]);
      const double ratio = dot(sample(s), x) / dot(x, x), of_s = *derivative.row(s);
      d.held[k] += std::fabs(ratio) * of_s;
      if (ratio < 0.0) // active where its direction is not
        for (int l = 0; l < d.count; ++l)
          d.rate[l] -= ratio * of_s * dot(x, sample(d.sample[l]));
    }
  }

  // Coordinate descent; each direction's share moves its own z and, through the weights, those of
  // the others.
  KRF_HD void descend(Directions &d) const {
    for (int cycle = 0; cycle < kMaxCycles; ++cycle) {
      double largest = 0;
      for (int k = 0; k < d.count; ++k) {
        const double g = d.held[k];
        const double *x = sample(d.sample[k]);
        const double wanted = d.fraction[k] + share(d.rate[k], g * dot(x, x));
        const double next = g > 0.0 ? smaller(1.0, larger(0.0, wanted)) : 0.0;
        const double change = next - d.fraction[k];
        if (change == 0.0)
          continue;
        for (int l = 0; l < d.count; ++l)
          d.rate[l] -= change * g * dot(x, sample(d.sample[l]));
        d.fraction[k] = next;
        largest = larger(largest, change < 0 ? -change : change);
      }
      if (!(largest > kConverged))
        break;
    }
  }

  KRF_HD void write_fractions(int unit, const double *mode, const Directions &d,
                              double *theta) const {
    const int n = net_.n(), ldz = net_.layout.ldz(0);
    const long long unit_at = first_element(unit, n);
    const ConstMatrix modes{mode + unit_at, ldz};
    const Matrix out{theta + unit_at, ldz};
    for (int s = 0; s < n; ++s) {
      const int k = sliding_direction(s, *modes.row(s), d);
      if (k == d.count)
        continue;
      const double *x = sample(d.sample[k]);
      const double missing = share(d.rate[k], d.held[k] * dot(x, x));
      const double of_direction =
          d.fraction[k] + (d.fraction[k] > 0.0 && d.fraction[k] < 1.0 ? 0.0 : missing);
      *out.row(s) = dot(sample(s), x) > 0.0 ? of_direction : 1.0 - of_direction;
    }
  }

  KRF_HD double *vector(int b) const { return basis_.row(b); }
  KRF_HD const double *sample(int s) const { return ConstMatrix{net_.X, net_.layout.ld(0)}.row(s); }
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
  // The number of basis vectors for all units: one for each unit; in small networks as many as the
  // units may need.  Where they are too few, steps end at every crossing of the kinks that are
  // left.
  KRF_HD static int room_for(const MlpLayout &layout) {
    const int units = layout.s.copies * layout.s.units[1];
    const int each = layout.s.units[0] + layout.s.bias;
    const int all = units * (each < kPerUnit ? each : kPerUnit);
    const int room = units > kFewVectors ? units : kFewVectors;
    return all < room ? all : room;
  }

  int capacity_, units_ = 0, vectors_ = 0;
  int *unit_, *begin_, *owner_; // basis vectors begin_[i] .. begin_[i + 1] - 1 belong to unit i
  Matrix basis_;
};

KRF_END_NAMESPACE
