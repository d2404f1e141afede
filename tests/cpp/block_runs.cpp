// Runs one problem on a block of host threads: what csrc/cuda does, without a device.
//
//     block_runs THREADS < problem > result
//
// Numbers are text.  problem: kind (0 flow, 1 limit, 2 factorisation flow, 3 network, 4 rounding of
// the rows of a factor), then its fields in the order they are read below.
#include "../../csrc/core/diagonal/family.hpp"
#include "../../csrc/core/diagonal/limit.hpp"
#include "../../csrc/core/factorization/family.hpp"
#include "../../csrc/core/mlp/family.hpp"
#include "host_block.hpp"

namespace {

std::vector<double> ends_of(const FlowOutput &out) {
  return {static_cast<double>(out.status), static_cast<double>(out.n_steps),
          static_cast<double>(out.n_rhs), out.n_flops};
}

HostTeam counting_team() {
  static const int never = 0;
  static Block::Shared alone(Block::kWarp);
  return HostTeam(Block(0, Block::kWarp, alone), nullptr, nullptr, nullptr, &never);
}

struct Diagonal {
  int n, d, ldn, ldd;
  double depth;
  std::vector<double> X, norm, y, plus, minus;
  DiagonalProblem problem;

  Diagonal() {
    n = static_cast<int>(number()), d = static_cast<int>(number());
    depth = number();
    ldn = padded(n), ldd = padded(d);
    X.assign(static_cast<std::size_t>(ldn) * ldd, 0.0);
    norm.assign(ldd, 0.0), y.assign(ldn, 0.0);
    for (int i = 0; i < d; ++i) {
      double sum = 0;
      for (int j = 0; j < n; ++j) {
        const double x = number();
        X[static_cast<std::size_t>(i) * ldn + j] = x;
        sum += x * x;
      }
      norm[i] = std::sqrt(sum);
    }
    for (int j = 0; j < n; ++j)
      y[j] = number();
    plus = numbers(d), minus = numbers(d);
    plus.resize(ldd, plus[0]), minus.resize(ldd, plus[0]);
    problem = {n, d, depth, X.data(), norm.data(), y.data(), plus.data(), minus.data()};
  }
};

FlowOptions options(std::vector<double> &times) {
  FlowOptions o{};
  o.rtol = number(), o.atol = 0, o.t_max = number(), o.stop_loss = number(), o.loss_offset = 0;
  o.max_steps = static_cast<long long>(number());
  o.method = static_cast<Method>(static_cast<int>(number()));
  times = numbers(static_cast<long long>(number()));
  o.t_eval = times.data(), o.n_eval = static_cast<int>(times.size());
  return o;
}

template <Mirror MirrorT> void diagonal_flow(int threads, const Diagonal &p) {
  std::vector<double> times;
  const FlowOptions o = options(times);
  const long long rows = o.n_eval > 0 ? o.n_eval : 1;
  using Flow = DiagonalFlow<HostTeam, MirrorT>;
  Arena count(nullptr);
  HostTeam counter = counting_team();
  Flow counted(counter, p.problem, count);
  std::vector<double> work(static_cast<std::size_t>(count.used()), kUnset), beta(rows * p.d),
      plus(rows * p.d), minus(rows * p.d), nu(rows * p.n), loss(rows), t(rows);
  std::vector<double> ends;
  on_block(threads, HostTeam::features_room(p.ldn, p.ldd, threads), [&](HostTeam &team, int rank) {
    Arena arena(work.data());
    DiagonalFlowOutput out{{loss.data(), t.data(), Status::kFailed, 0, 0},
                           beta.data(),
                           plus.data(),
                           minus.data(),
                           nu.data()};
    Flow(team, p.problem, arena).run(p.problem, o, out);
    if (rank == 0)
      ends = ends_of(out);
  });
  print(ends), print(beta), print(nu), print(loss), print(t);
}

template <Mirror MirrorT> void diagonal_limit(int threads, const Diagonal &p) {
  LimitOptions o{};
  o.tolerance = number(), o.y_norm = 0, o.max_iterations = 500;
  for (double y : p.y)
    o.y_norm += y * y;
  o.y_norm = std::sqrt(o.y_norm);
  Arena count(nullptr);
  HostTeam counter = counting_team();
  LimitSolver<HostTeam, MirrorT> counted(counter, p.problem, count);
  std::vector<double> work(static_cast<std::size_t>(count.used()), kUnset), beta(p.d), plus(p.d),
      minus(p.d), nu(p.n), ends(2);
  on_block(threads, HostTeam::features_room(p.ldn, p.ldd, threads), [&](HostTeam &team, int rank) {
    Arena arena(work.data());
    LimitOutput out{beta.data(), plus.data(), minus.data(), nu.data(), 0, Status::kFailed, 0};
    LimitSolver<HostTeam, MirrorT>(team, p.problem, arena).run(p.problem, o, out);
    if (rank == 0)
      ends = {static_cast<double>(out.status), static_cast<double>(out.n_iterations)};
  });
  print(ends), print(beta);
}

struct Factorization {
  FactorProblem problem{};
  std::vector<int> row, column;
  std::vector<double> X, y, W0;

  Factorization() {
    FactorProblem &p = problem;
    p.n = static_cast<int>(number()), p.r = static_cast<int>(number());
    p.p = static_cast<int>(number()), p.q = static_cast<int>(number());
    p.c0 = static_cast<int>(number()), p.n_samples = static_cast<int>(number());
    if (number() != 0)
      read_dense();
    else
      read_entries();
    y = numbers(p.n_samples);
    y.resize(padded(p.n_samples), 0.0);
    W0.assign(static_cast<std::size_t>(p.n) * padded(p.r), 0.0);
    for (int i = 0; i < p.n; ++i)
      for (int c = 0; c < p.r; ++c)
        W0[static_cast<std::size_t>(i) * padded(p.r) + c] = number();
    p.y = y.data(), p.W0 = W0.data();
  }

  int entries() const { return problem.p * problem.q; }

private:
  void read_dense() {
    const int ldn = padded(problem.n_samples);
    X.assign(static_cast<std::size_t>(ldn) * padded(entries()), 0.0);
    double sum = 0;
    for (int i = 0; i < problem.n_samples; ++i)
      for (int e = 0; e < entries(); ++e) {
        const double x = number();
        X[static_cast<std::size_t>(e) * ldn + i] = x;
        sum += x * x;
      }
    problem.X = X.data(), problem.X_norm = std::sqrt(sum);
  }
  void read_entries() {
    for (int i = 0; i < problem.n_samples; ++i)
      row.push_back(static_cast<int>(number()));
    for (int i = 0; i < problem.n_samples; ++i)
      column.push_back(static_cast<int>(number()));
    problem.row = row.data(), problem.column = column.data(), problem.X_norm = 1.0;
  }
};

void factor_flow(int threads, const Factorization &data) {
  const FactorProblem &p = data.problem;
  std::vector<double> times;
  const FlowOptions o = options(times);
  const long long rows = o.n_eval > 0 ? o.n_eval : 1;
  using Flow = FactorFlow<HostTeam>;
  Arena count(nullptr);
  HostTeam counter = counting_team();
  Flow counted(counter, p, count);
  std::vector<double> work(static_cast<std::size_t>(count.used()), kUnset), W(rows * p.n * p.r),
      loss(rows), t(rows), ends;
  const long long room =
      HostTeam::features_room(padded(p.n_samples), padded(data.entries()), threads);
  on_block(threads, room, [&](HostTeam &team, int rank) {
    Arena arena(work.data());
    FactorFlowOutput out{{loss.data(), t.data(), Status::kFailed, 0, 0}, W.data()};
    Flow(team, p, arena).run(p, o, out);
    if (rank == 0)
      ends = ends_of(out);
  });
  print(ends), print(W), print(loss), print(t);
}

// What the velocity of every row of W0 is a sum of, in magnitude.
void row_rounding(int threads, const Factorization &data) {
  const FactorProblem &p = data.problem;
  std::vector<double> work(100'000, kUnset), rounding;
  on_block(threads, 1, [&](HostTeam &team, int rank) {
    Arena arena(work.data());
    Measurements<HostTeam> sensing(team, p, arena);
    RowMotion<HostTeam> rows(team, sensing, arena);
    rows.measure(p.W0, p.y, p.X_norm);
    if (rank == 0)
      rounding.assign(rows.rounding, rows.rounding + p.n);
  });
  print(rounding);
}

void mlp_flow(int threads) {
  MlpProblem p{};
  p.shape.n = static_cast<int>(number()), p.shape.depth = static_cast<int>(number());
  p.shape.copies = static_cast<int>(number()), p.shape.bias = static_cast<int>(number());
  p.shape.loss = static_cast<LossKind>(static_cast<int>(number()));
  for (int l = 0; l <= p.shape.depth; ++l)
    p.shape.units[l] = static_cast<int>(number());
  const int n = p.shape.n, d = p.shape.units[0], ld = padded(d + p.shape.bias);
  std::vector<double> X(static_cast<std::size_t>(n) * ld, 0.0);
  for (int i = 0; i < n; ++i) {
    for (int c = 0; c < d; ++c)
      X[static_cast<std::size_t>(i) * ld + c] = number();
    if (p.shape.bias)
      X[static_cast<std::size_t>(i) * ld + d] = 1.0;
  }
  const std::vector<double> y = numbers(n);
  const long long weights = MlpLayout(p.shape).flat_length();
  const std::vector<double> w0 = numbers(weights);
  p.X = X.data(), p.y = y.data(), p.w0 = w0.data(), p.alpha = 1.0, p.step_size = 0.01;
  std::vector<double> times;
  const FlowOptions o = options(times);
  const long long rows = o.n_eval > 0 ? o.n_eval : 1;
  Arena count(nullptr);
  HostTeam counter = counting_team();
  MlpFlow<HostTeam> counted(counter, p, count);
  std::vector<double> work(static_cast<std::size_t>(count.used()), kUnset), w(rows * weights),
      loss(rows), t(rows), ends;
  on_block(threads, 1, [&](HostTeam &team, int rank) {
    Arena arena(work.data());
    MlpFlowOutput out{{loss.data(), t.data(), Status::kFailed, 0, 0}, w.data()};
    MlpFlow<HostTeam> flow(team, p, arena);
    flow.run(p, o, out);
    if (rank == 0)
      ends = ends_of(out);
  });
  print(ends), print(w), print(loss), print(t);
}

} // namespace

int main(int argc, char **argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const int kind = static_cast<int>(number());
  if (kind == 3) {
    mlp_flow(threads);
    return 0;
  }
  if (kind == 2 || kind == 4) {
    const Factorization data;
    kind == 2 ? factor_flow(threads, data) : row_rounding(threads, data);
    return 0;
  }
  const Diagonal p;
  if (kind == 0)
    p.depth == 2.0   ? diagonal_flow<Depth2Mirror>(threads, p)
    : p.depth >= 3.0 ? diagonal_flow<DeepMirror>(threads, p)
                     : diagonal_flow<LogMirror>(threads, p);
  else
    p.depth == 2.0   ? diagonal_limit<Depth2Mirror>(threads, p)
    : p.depth >= 3.0 ? diagonal_limit<DeepMirror>(threads, p)
                     : diagonal_limit<LogMirror>(threads, p);
  return 0;
}
