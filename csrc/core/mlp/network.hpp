// A fully connected ReLU network as a function of its weights: values, derivatives along weights
// and back to them, tangent kernels, for all samples at once.
//
// A "mode" says for every hidden unit and sample what the ReLU does: positive, it passes; zero, it
// does not; negative, the unit slides along its kink (sliding.hpp) and passes nothing here.  Where
// modes are held fixed, everything is a polynomial of the weights.
#pragma once

#include "../team.hpp"
#include "layout.hpp"

KRF_BEGIN_NAMESPACE

// Rows of features: what enters every layer, and the derivatives of some quantity of the row by the
// outputs of every layer.  The gradient of that quantity by the weights is the sum of their outer
// products.
struct FeatureRows {
  int rows;
  int capacity;    // rows there is room for: what `offset` counts
  const double *X; // (rows, ld(0))
  double *A;       // what enters layer l + 1, offset(copy, l, rows)
  double *delta;
};

// One evaluation of the network.
struct Pass {
  FeatureRows features;
  double *Z;        // outputs of the layers, before the ReLU
  double *f;        // (n, outputs)
  double *dloss_df; // dL/df
  double loss;
};

template <Team TeamT> class Network {
public:
  using T = typename TeamT::Value;
  TeamT &team;
  MlpLayout layout;
  const double *X, *y;

  // `most_rows` that `along` and `gradient` are given.
  KRF_HD Network(TeamT &team_, const MlpProblem &p, int most_rows, Arena &arena)
      : team(team_), layout(p.shape), X(p.X), y(p.y), n_(p.shape.n), most_(most_rows),
        constant_(arena.take(layout.zwidth)), applied_(arena.take(layout.size(most_rows))),
        moved_(arena.take(layout.size(most_rows))) {}

  KRF_HD int n() const { return n_; }

  KRF_HD FeatureRows take_rows(int rows, Arena &arena) const {
    return {rows, rows, X, arena.take(layout.size(rows)), arena.take(layout.size(rows))};
  }
  KRF_HD Pass take_pass(Arena &arena) const {
    Pass p{take_rows(n_, arena), arena.take(layout.size(n_)),
           take_matrix(arena, n_, layout.outputs()).data,
           take_matrix(arena, n_, layout.outputs()).data, 0.0};
    return p;
  }
  KRF_HD void start(Pass &p) {
    team.for_each(layout.size(n_), [&](int i) { write(p.Z + i, splat<T>(0.0)); });
    team.for_each(layout.size(most_), [&](int i) {
      write(applied_ + i, splat<T>(0.0));
      write(moved_ + i, splat<T>(0.0));
    });
    team.each(layout.zwidth, [&](int i) { constant_[i] = 0.0; });
    if (layout.s.bias)
      team.each(layout.s.depth - 1,
                [&](int l) { constant_[layout.zpos[l] + layout.s.units[l + 1]] = 1.0; });
  }

  // What layer l sees: rows of ld(l).
  KRF_HD const double *input(const FeatureRows &r, int copy, int l) const {
    return l == 0 ? r.X : r.A + layout.offset(copy, l - 1, r.capacity);
  }

  // Z, A and f; with mode null the ReLU itself decides, and nothing slides.
  KRF_HD void forward(const double *w, const double *mode, Pass &p) {
    forward(w, mode, p, [](int, int) {});
  }
  // decide(copy, l) may set the modes of a hidden layer once its Z is there.
  template <class Decide>
  KRF_HD void forward(const double *w, const double *mode, Pass &p, Decide decide) {
    const int D = layout.s.depth;
    for (int copy = 0; copy < layout.s.copies; ++copy)
      for (int l = 0; l < D; ++l) {
        const Matrix z = layout.layer(p.Z, copy, l, n_);
        multiply(input(p.features, copy, l), n_, layout.layer_weights(w, copy, l), l, z, false);
        if (l + 1 == D)
          continue;
        decide(copy, l);
        const Matrix a = layout.layer(p.features.A, copy, l, n_);
        const ConstMatrix m = mode ? layout.layer(mode, copy, l, n_) : ConstMatrix(z);
        const double *one = constant_ + layout.zpos[l];
        team.for_rows(n_, z.ld, [&](int row, int i) {
          const T passed =
              select(read<T>(m.row(row) + i) > 0.0, read<T>(z.row(row) + i), splat<T>(0.0));
          write(a.row(row) + i, passed + read<T>(one + i));
        });
      }
    const int outputs = layout.outputs();
    team.each(n_ * outputs, [&](int e) {
      double f = 0;
      for (int copy = 0; copy < layout.s.copies; ++copy)
        f += layout.sign(copy) * layout.layer(p.Z, copy, D - 1, n_)(e / outputs, e % outputs);
      p.f[e] = f;
    });
  }

  // delta: the derivatives of f (one output) or, for several outputs, of the loss.
  KRF_HD KRF_APART void backward(const double *w, const double *mode, Pass &p) {
    for (int copy = 0; copy < layout.s.copies; ++copy) {
      seed(copy, layout.outputs() > 1 ? p.dloss_df : nullptr, p.features.delta);
      for (int l = layout.s.depth - 2; l >= 0; --l) {
        backpropagate(w, copy, l, p.features, p.features.delta);
        const long long here = layout.offset(copy, l, n_);
        double *delta = p.features.delta + here;
        const double *m = mode + here;
        team.for_each(n_ * layout.ldz(l), [&](int i) {
          write(delta + i, select(read<T>(m + i) > 0.0, read<T>(delta + i), splat<T>(0.0)));
        });
      }
    }
  }

  // The last layer's delta: `dloss_df` (n, outputs), or one, with the sign of the copy.
  KRF_HD void seed(int copy, const double *dloss_df, double *delta) {
    const int l = layout.s.depth - 1, outputs = layout.outputs(), ldz = layout.ldz(l);
    double *top = delta + layout.offset(copy, l, n_);
    const double sign = layout.sign(copy);
    team.each(n_ * ldz, [&](int e) {
      const int row = e / ldz, c = e % ldz;
      top[e] = c >= outputs ? 0.0 : sign * (dloss_df ? dloss_df[row * outputs + c] : 1.0);
    });
  }

  // The derivative by the values of layer l, after the ReLU, from the delta of layer l + 1.
  KRF_HD KRF_APART void backpropagate(const double *w, int copy, int l, const FeatureRows &r,
                                      double *delta) {
    const int ldz = layout.ldz(l);
    team.combine(delta + layout.offset(copy, l + 1, r.capacity), layout.ldz(l + 1), 1, r.rows,
                 layout.s.units[l + 2], w + layout.weights(copy, l + 1), layout.ld(l + 1), ldz,
                 delta + layout.offset(copy, l, r.capacity), ldz, false);
  }

  // out (+)= sum over rows of weight[row] times the row's gradient; null weights are one.
  KRF_HD KRF_APART void gradient(const FeatureRows &r, const double *weight, double *out,
                                 bool add) {
    for (int copy = 0; copy < layout.s.copies; ++copy)
      for (int l = 0; l < layout.s.depth; ++l) {
        const int ldz = layout.ldz(l);
        const double *delta = r.delta + layout.offset(copy, l, r.capacity);
        if (weight) {
          const Matrix scaled{moved_, ldz};
          const ConstMatrix rows{delta, ldz};
          team.for_rows(r.rows, ldz, [&](int row, int i) {
            write(scaled.row(row) + i, weight[row] * read<T>(rows.row(row) + i));
          });
          delta = moved_;
        }
        team.combine(delta, 1, ldz, layout.s.units[l + 1], r.rows, input(r, copy, l), layout.ld(l),
                     layout.ld(l), out + layout.weights(copy, l), layout.ld(l), add);
      }
  }

  // out_row (+)= the derivative of the row's quantity along the weights v.  `same` is 0, 1, 2, ...
  KRF_HD KRF_APART void along(const FeatureRows &r, const double *v, const int *same, double *out) {
    for (int copy = 0; copy < layout.s.copies; ++copy)
      for (int l = 0; l < layout.s.depth; ++l) {
        const Matrix here = layout.layer(applied_, copy, l, most_);
        multiply(input(r, copy, l), r.rows, layout.layer_weights(v, copy, l), l, here, false);
        team.pair_dots(r.rows, r.delta + layout.offset(copy, l, r.capacity), same, here.data, same,
                       here.ld, out, copy + l > 0);
      }
  }

  // The rates of all Z where the weights move along v.
  KRF_HD KRF_APART void rates(const double *w, const double *v, const double *mode, const Pass &p,
                              double *rate) {
    for (int copy = 0; copy < layout.s.copies; ++copy)
      for (int l = 0; l < layout.s.depth; ++l) {
        const Matrix here = layout.layer(rate, copy, l, n_), moved{moved_, here.ld};
        multiply(input(p.features, copy, l), n_, layout.layer_weights(v, copy, l), l, here, false);
        if (l > 0)
          multiply(moved_, n_, layout.layer_weights(w, copy, l), l, here, true);
        if (l + 1 < layout.s.depth) {
          const ConstMatrix m = layout.layer(mode, copy, l, n_);
          team.for_rows(n_, here.ld, [&](int row, int i) {
            const T moves =
                select(read<T>(m.row(row) + i) > 0.0, read<T>(here.row(row) + i), splat<T>(0.0));
            write(moved.row(row) + i, moves);
          });
        }
      }
  }

  // out_ij = the inner product of the gradients of row i of a and row j of b, of which those of one
  // are zero from layer `layers` on.  `part` and `other` hold a.rows rows of out.ld.
  KRF_HD KRF_APART void kernel(const FeatureRows &a, const FeatureRows &b, int layers, Matrix out,
                               double *part, double *other) {
    const ConstMatrix deltas{part, out.ld}, inputs{other, out.ld};
    for (int copy = 0; copy < layout.s.copies; ++copy)
      for (int l = 0; l < layers; ++l) {
        const int ldz = layout.ldz(l), ld = layout.ld(l);
        team.products(a.delta + layout.offset(copy, l, a.capacity), ldz, a.rows,
                      b.delta + layout.offset(copy, l, b.capacity), ldz, b.rows, ldz, part, out.ld,
                      false);
        team.products(input(a, copy, l), ld, a.rows, input(b, copy, l), ld, b.rows, ld, other,
                      out.ld, false);
        const bool first = copy + l == 0;
        team.each(a.rows * b.rows, [&](int e) {
          const int i = e / b.rows, j = e % b.rows;
          out(i, j) = (first ? 0.0 : out(i, j)) + deltas(i, j) * inputs(i, j);
        });
      }
  }

  // Loss and dL/df of the values f.
  KRF_HD void evaluate_loss(Pass &p) {
    const int outputs = layout.outputs();
    p.loss = with_loss(layout.s.loss, [&](auto loss) {
      const ConstMatrix f{p.f, outputs};
      const Matrix dloss_df{p.dloss_df, outputs};
      double sum = 0;
      team.each(n_, [&](int i) { sum += loss.evaluate(f.row(i), outputs, y[i], dloss_df.row(i)); });
      return team.sum(one_lane<T>(sum));
    });
  }

private:
  // out (+)= the outputs of layer l for rows of its inputs.
  KRF_HD void multiply(const double *inputs, int rows, ConstMatrix weights, int l, Matrix out,
                       bool add) {
    team.products(inputs, layout.ld(l), rows, weights.data, weights.ld, layout.s.units[l + 1],
                  layout.ld(l), out.data, out.ld, add);
  }

  int n_, most_;
  double *constant_; // one where a bias enters the next layer
  double *applied_, *moved_;
};

KRF_END_NAMESPACE
