// Units that slide along their kink.
//
// Where the flow on either side of a kink z = 0 points at it, the trajectory stays on it (Filippov)
// with the ReLU's derivative at the fraction theta in [0, 1] that keeps z at zero.  For a gradient
// flow that is the projection of the gradient, computed with all sliding derivatives zero, onto the
// weights along which no sliding z changes: theta only adds multiples of grad z, also where one
// sliding unit feeds another.  The multipliers u of grad z in that projection give theta.
//
// In the first layer grad z is the sample itself, in the unit's row of weights: units do not mix,
// and any number of them may slide (sliding_first_layer.hpp).  Deeper units are few; their
// gradients are rows of features like those of the samples.
#pragma once

#include "../team.hpp"
#include "sliding_first_layer.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class Sliding {
  using T = typename TeamT::Value;

  // Gradients of the deeper sliding z at some weights, and their inner products, factored.
  struct DeepRows {
    FeatureRows rows;
    double *X, *pivot;
    Matrix row_gram;
    // Kinks of one unit on several samples are one surface where its inputs on these samples are
    // parallel, as they are if only one unit before it is active.  `leader` is the first of them,
    // the only one that is a constraint; `ratio` is the input in units of the leader's.  The
    // gradients of z cannot decide: they are parallel on the surface only, and a stage of a step
    // lies beside it.  But if a unit before is active at its own kink, the gradients differ widely,
    // and there are two surfaces.
    int *leader;
    double *ratio;
  };

public:
  // Kinks of deeper units that may slide at once; one more is left to be crossed in small steps.
  static constexpr int kMostDeep = 256;
  // Squared cosines: inputs above the first are parallel but for rounding, and gradients below the
  // second belong to two surfaces.
  static constexpr double kParallelInputs = 1.0 - 1e-12, kSameSurface = 0.9;

  KRF_HD static int deep_capacity(const MlpLayout &layout) {
    const long long kinks = layout.deeper_kinks();
    return kinks < kMostDeep ? static_cast<int>(kinks) : kMostDeep;
  }
  KRF_HD static int most_rows(const MlpLayout &layout) {
    const int deep = deep_capacity(layout);
    return layout.s.n > deep ? layout.s.n : deep;
  }

  // `exact`: tangent kernels will be asked for.
  KRF_HD Sliding(Network<TeamT> &network, bool exact, Arena &arena)
      : net(network), team(network.team), first(network, arena), n_(network.n()), ldn_(padded(n_)),
        capacity_(deep_capacity(network.layout)), lds_(padded(capacity_)),
        ldb_(exact ? padded(first.capacity()) : 0), deep_(arena.take<int>(capacity_)),
        sample_(arena.take<int>(capacity_)), same_(arena.take<int>(most_rows(network.layout))),
        base_(take_deep(arena)), trial_(take_deep(arena)), part_(arena.take(2 * part_size(exact))),
        cross_(take_matrix(arena, exact ? capacity_ : 0, ldn_)),
        mix_(take_matrix(arena, exact ? n_ : 0, lds_)), u_(arena.take(lds_)),
        mixed_(arena.take(lds_)), coefficients_(arena.take(static_cast<long long>(n_) * ldb_)),
        deep_coefficients_(
            arena.take(static_cast<long long>(capacity_) * padded(first.capacity()))) {}

  KRF_HD bool any() const { return first.any() || deep(); }
  KRF_HD bool deep() const { return count_ > 0; }
  KRF_HD const int *same() const { return same_; }

  KRF_HD void start() {
    team.each(most_rows(net.layout), [&](int i) { same_[i] = i; });
    team.each(lds_, [&](int p) { u_[p] = mixed_[p] = 0.0; });
    clear();
  }
  KRF_HD void clear() {
    first.clear();
    count_ = 0;
  }

  // The sliding units of `mode`; those that find no room get the mode of the sign of their z.
  KRF_HD void collect(double *mode, const double *Z) {
    first.collect(mode, Z);
    count_ = 0;
    if (capacity_ == 0)
      return;
    const MlpLayout &layout = net.layout;
    const int size = layout.size(n_);
    const auto slides = [&](int e) { return mode[e] < 0.0 && layout.layer_of(e) > 0; };
    for (;;) {
      T found = splat<T>(0.0);
      team.each(size, [&](int e) {
        if (slides(e))
          found += one_lane<T>(1.0);
      });
      if (team.sum(found) <= capacity_)
        break;
      const int drop = team.largest(size, [&](int e) { return slides(e) ? 1.0 + e : 0.0; });
      team.once([&] { mode[drop] = Z[drop] > 0.0 ? 1.0 : 0.0; });
    }
    count_ = team.collect(size, slides, deep_);
    team.each(count_, [&](int p) { sample_[p] = layout.sample_of(deep_[p]); });
    layers_ = 0;
    for (int p = 0; p < count_; ++p) // of two copies the first may have the deeper ones
      layers_ = layers_ > layout.layer_of(deep_[p]) ? layers_ : layout.layer_of(deep_[p]) + 1;
    base_.rows.rows = trial_.rows.rows = count_;
  }

  // Deeper gradients at the weights that steps start from, or at those of a trial.
  KRF_HD void prepare_base(const double *w, const double *mode, const Pass &p) {
    prepare(base_, w, mode, p);
  }

  // The flow of the loss at a trial: v = -grad L, less what would move a sliding z.
  KRF_HD bool project(const double *w, const double *mode, const Pass &p, double *v) {
    first.project(v);
    if (!deep())
      return true;
    if (!prepare(trial_, w, mode, p))
      return false;
    net.along(trial_.rows, v, same_, u_);
    solve(trial_, u_);
    subtract(v);
    return true;
  }

  // Weights at which the sliding z are zero again, to first order for the deeper ones.
  KRF_HD void restore(const Pass &p, double *w) {
    first.project(w);
    if (!deep())
      return;
    team.each(count_, [&](int i) { u_[i] = p.Z[deep_[i]]; });
    solve(trial_, u_);
    subtract(w);
  }

  // K, the tangent kernel of the samples, becomes that along the weights the sliding units leave
  // free; mix[i][p] is what to take from the gradient of f_i.
  KRF_HD void project_kernel(const FeatureRows &samples, Matrix kernel) {
    inner(samples, coefficients_, samples, coefficients_, net.layout.s.depth, kernel, false);
    if (!deep())
      return;
    inner(base_.rows, deep_coefficients_, samples, coefficients_, layers_, cross_, true);
    team.each(n_ * lds_, [&](int e) {
      const int i = e / lds_, p = e % lds_;
      mix_(i, p) = p < count_ ? cross_(p, i) : 0.0;
    });
    for (int i = 0; i < n_; ++i)
      solve(base_, mix_.row(i));
    team.each(n_ * n_, [&](int e) {
      const int i = e / n_, j = e % n_;
      double sum = 0;
      for (int p = 0; p < count_; ++p)
        sum += mix_(i, p) * cross_(p, j);
      kernel(i, j) -= sum;
    });
  }

  // out = the sum of c_i times the projected gradient of f_i.
  KRF_HD void gradient(const FeatureRows &samples, const double *c, double *out) {
    net.gradient(samples, c, out, false);
    if (deep()) {
      team.each(count_, [&](int p) {
        double sum = 0;
        for (int i = 0; i < n_; ++i)
          sum += mix_(i, p) * c[i];
        mixed_[p] = -sum;
      });
      net.gradient(base_.rows, mixed_, out, true);
    }
    first.project(out);
  }

  // The derivatives of f along the projection of v.
  KRF_HD void along(const FeatureRows &samples, const double *v, double *out) {
    net.along(samples, v, same_, out);
    if (!deep())
      return;
    net.along(base_.rows, v, same_, mixed_);
    team.each(n_, [&](int i) {
      double sum = 0;
      for (int p = 0; p < count_; ++p)
        sum += mix_(i, p) * mixed_[p];
      out[i] -= sum;
    });
  }

  // theta of every sliding unit, after `project` at w; `dloss_da` (as large as Z) receives dL/da.
  KRF_HD void fractions(const double *w, const double *mode, const Pass &p, double *theta,
                        double *dloss_da) {
    const MlpLayout &layout = net.layout;
    for (int copy = 0; copy < layout.s.copies; ++copy) {
      net.seed(copy, p.dloss_df, dloss_da);
      for (int l = layout.s.depth - 2; l >= 0; --l) {
        net.backpropagate(w, copy, l, p.features, dloss_da);
        if (l == 0)
          continue;
        team.each(count_, [&](int i) {
          const int e = deep_[i];
          if (layout.copy_of(e) == copy && layout.layer_of(e) == l)
            theta[e] = shared_fraction(i, dloss_da);
        });
        const long long here = layout.offset(copy, l, n_);
        team.each(n_ * layout.ldz(l), [&](int i) {
          const long long e = here + i;
          dloss_da[e] *= mode[e] > 0.0   ? 1.0
                         : mode[e] < 0.0 ? smaller(larger(theta[e], 0.0), 1.0) // undecided: zero
                                         : 0.0;
        });
      }
    }
    first.fractions(p, trial_.rows, u_, count_, mode, dloss_da, theta);
  }

  Network<TeamT> &net;
  TeamT &team;
  SlidingFirstLayer<TeamT> first;

private:
  KRF_HD DeepRows take_deep(Arena &arena) const {
    DeepRows d;
    d.X = arena.take(static_cast<long long>(capacity_) * net.layout.ld(0));
    d.rows = net.take_rows(capacity_, arena);
    d.rows.X = d.X;
    d.row_gram = take_matrix(arena, capacity_, lds_);
    d.pivot = arena.take(lds_);
    d.leader = arena.take<int>(capacity_);
    d.ratio = arena.take(lds_);
    return d;
  }

  // Doubles of a matrix in `inner`: deep rows by deep rows; if exact, also rows by samples.
  KRF_HD long long part_size(bool exact) const {
    const long long deep = 1LL * capacity_ * lds_, any = 1LL * most_rows(net.layout) * ldn_;
    return exact && any > deep ? any : deep;
  }

  // Behind a surface all its kinks are on their other side: one theta for all of them.
  KRF_HD double shared_fraction(int i, const double *dloss_da) const {
    double moved = 0, held = 0;
    for (int j = 0; j < count_; ++j)
      if (trial_.leader[j] == trial_.leader[i]) {
        moved += trial_.ratio[j] * u_[j];
        held += trial_.ratio[j] * dloss_da[deep_[j]];
      }
    return first.share(moved, held);
  }

  // Whether kinks i and j are one surface, and their inputs in what ratio.
  KRF_HD bool on_one_surface(const DeepRows &d, int i, int j, double &ratio) const {
    const MlpLayout &layout = net.layout;
    const int e = deep_[i], f = deep_[j], l = layout.layer_of(e), copy = layout.copy_of(e);
    if (layout.unit_of(e) != layout.unit_of(f) || l != layout.layer_of(f) ||
        copy != layout.copy_of(f))
      return false;
    const int ld = layout.ldz(l - 1);
    const ConstMatrix inputs{d.rows.A + layout.offset(copy, l - 1, capacity_), ld};
    double both = 0, norm2_i = 0, norm2_j = 0;
    for (int k = 0; k < ld; ++k) {
      both += inputs(i, k) * inputs(j, k);
      norm2_i += inputs(i, k) * inputs(i, k);
      norm2_j += inputs(j, k) * inputs(j, k);
    }
    ratio = both / norm2_j;
    const double product = d.row_gram(i, j);
    return both > 0.0 && square(both) >= kParallelInputs * norm2_i * norm2_j && product > 0.0 &&
           square(product) >= kSameSurface * d.row_gram(i, i) * d.row_gram(j, j);
  }

  KRF_HD void find_surfaces(DeepRows &d) {
    team.once([&] {
      for (int i = 0; i < count_; ++i) {
        d.leader[i] = i;
        d.ratio[i] = 1.0;
        for (int j = 0; j < i; ++j) {
          double ratio = 0;
          if (d.leader[j] == j && on_one_surface(d, i, j, ratio)) {
            d.leader[i] = j;
            d.ratio[i] = ratio;
            break;
          }
        }
      }
    });
  }

  KRF_HD KRF_APART bool prepare(DeepRows &d, const double *w, const double *mode, const Pass &p) {
    if (!deep())
      return true;
    find_gradients(d, w, mode, p);
    // Sliding units may move as one: a hair of regularisation picks one of many u, more of it where
    // rounding has hidden how many there are.
    for (double hair = 1e-14; hair < 1e-3; hair *= 1e4) {
      double trace = 0;
      if (!find_row_gram(d, trace))
        return false;
      team.each(count_, [&](int i) { d.row_gram(i, i) += hair * trace; });
      if (team.factor(d.row_gram.data, d.row_gram.ld, count_, d.pivot) > 0.0)
        return true;
    }
    return false;
  }

  // The gradients of the sliding z: rows of features like those of the samples.
  KRF_HD void find_gradients(DeepRows &d, const double *w, const double *mode, const Pass &p) {
    const MlpLayout &layout = net.layout;
    const int last = layout.s.depth - 1;
    gather(p.features.X, d.X, layout.ld(0));
    for (int copy = 0; copy < layout.s.copies; ++copy) {
      fill(team, 0.0, d.rows.delta + layout.offset(copy, last, capacity_),
           count_ * layout.ldz(last));
      for (int l = last - 1; l >= 0; --l) {
        const int ldz = layout.ldz(l);
        const long long from = layout.offset(copy, l, n_), to = layout.offset(copy, l, capacity_);
        const Matrix delta{d.rows.delta + to, ldz};
        gather(p.features.A + from, d.rows.A + to, ldz);
        net.backpropagate(w, copy, l, d.rows, d.rows.delta);
        const ConstMatrix modes{mode + from, ldz};
        team.for_rows(count_, ldz, [&](int row, int i) {
          double *at = delta.row(row) + i;
          const T passes = read<T>(modes.row(sample_[row]) + i);
          write(at, select(passes > 0.0, read<T>(at), splat<T>(0.0)));
        });
        team.each(count_, [&](int row) {
          const int e = deep_[row];
          if (layout.copy_of(e) == copy && layout.layer_of(e) == l)
            delta(row, layout.unit_of(e)) = 1.0;
        });
      }
    }
  }

  // Their inner products, where those of one surface count once; false where one is not finite.
  KRF_HD bool find_row_gram(DeepRows &d, double &trace) {
    d.row_gram.ld = padded(count_);
    fill(team, 0.0, d.row_gram.data, count_ * d.row_gram.ld);
    inner(d.rows, deep_coefficients_, d.rows, deep_coefficients_, layers_, d.row_gram, false);
    trace = 0;
    for (int i = 0; i < count_; ++i)
      trace += d.row_gram(i, i);
    team.sync();
    if (!(trace < kInfinity))
      return false;
    // All gradients are zero where all inputs of the sliding units are: z stays zero by itself.
    trace = trace > 0.0 ? trace : 1.0;
    find_surfaces(d);
    team.each(count_ * count_, [&](int e) {
      const int i = e / count_, j = e % count_;
      if (i != j && (d.leader[i] != i || d.leader[j] != j))
        d.row_gram(i, j) = 0.0;
    });
    return true;
  }

  KRF_HD void gather(const double *from, double *to, int ld) {
    const Matrix out{to, ld};
    const ConstMatrix in{from, ld};
    team.for_rows(count_, ld, [&](int row, int i) {
      write(out.row(row) + i, read<T>(in.row(sample_[row]) + i));
    });
  }

  // Inner products of gradients, without what the first layer's sliding units forbid.  `known`: the
  // projected coefficients of b are there already.
  KRF_HD void inner(const FeatureRows &a, double *coefficients_a, const FeatureRows &b,
                    double *coefficients_b, int layers, Matrix out, bool known) {
    double *other = part_ + static_cast<long long>(a.rows) * out.ld;
    net.kernel(a, b, layers, out, part_, other);
    if (!first.any())
      return;
    const int ld = padded(first.vectors());
    first.projected_coefficients(a, {coefficients_a, ld});
    if (!known && coefficients_b != coefficients_a)
      first.projected_coefficients(b, {coefficients_b, ld});
    const Matrix part{part_, out.ld};
    team.products(coefficients_a, ld, a.rows, coefficients_b, ld, b.rows, ld, part_, out.ld, false);
    team.each(a.rows * b.rows,
              [&](int e) { out(e / b.rows, e % b.rows) -= part(e / b.rows, e % b.rows); });
  }

  KRF_HD void solve(const DeepRows &d, double *b) {
    team.each(count_, [&](int i) { b[i] = d.leader[i] == i ? b[i] : 0.0; });
    team.solve(d.row_gram.data, d.row_gram.ld, count_, d.pivot, b);
  }
  KRF_HD void subtract(double *v) {
    team.each(count_, [&](int p) { mixed_[p] = -u_[p]; });
    net.gradient(trial_.rows, mixed_, v, true);
    first.project(v);
  }

  int n_, ldn_, capacity_, lds_, ldb_;
  int count_ = 0, layers_ = 0; // of sliding kinks; of layers up to the last that has one
  int *deep_, *sample_, *same_;
  DeepRows base_, trial_;
  double *part_;
  Matrix cross_, mix_;
  double *u_, *mixed_;
  double *coefficients_, *deep_coefficients_; // rows of padded(first.vectors())
};

KRF_END_NAMESPACE
