// The Python entry point of matrix factorisation: one call integrates a whole batch. Arguments
// arrive validated and contiguous (kernelrich_fast/backends/cpu.py); their shapes are checked
// again, because a wrong one would read outside the arrays.
#include "../cpu/factor_executor.hpp"
#include "call_native.hpp"
#include "register.hpp"

namespace {

using namespace krf::bindings;

struct FactorArrays {
  int n, p, q, c0;
  Array<int> row, column; // (sets, n_samples); empty where X is given
  Real X, y, starts, scale;
  Index start_offset, rank, y_index, start_index, entry_index;
};

krf::cpu::FactorBatch batch_of(const FactorArrays &a) {
  krf::cpu::FactorBatch b;
  expect(a.p > 0 && a.q > 0 && a.c0 >= 0 && a.n >= a.p && a.c0 + a.q == a.n && a.n <= (1 << 14),
         "dimensions");
  expect(a.y.ndim() == 2 && a.y.shape(1) > 0 && a.y.shape(1) < (1 << 26), "y");
  b.n = a.n, b.p = a.p, b.q = a.q, b.c0 = a.c0;
  b.n_samples = static_cast<int>(a.y.shape(1));
  b.count = a.scale.size();
  if (a.X.size() > 0) {
    expect(a.X.ndim() == 3 && a.X.shape(0) == b.n_samples && a.X.shape(1) == a.p &&
               a.X.shape(2) == a.q,
           "measurements");
    b.X = a.X.data();
  } else {
    expect(a.row.ndim() == 2 && a.row.shape(1) == b.n_samples && a.column.ndim() == 2 &&
               a.column.shape(0) == a.row.shape(0) && a.column.shape(1) == b.n_samples,
           "entries");
    for (py::ssize_t i = 0; i < a.row.size(); ++i)
      expect(a.row.data()[i] >= 0 && a.row.data()[i] < a.p && a.column.data()[i] >= a.c0 &&
                 a.column.data()[i] < a.n,
             "entries");
    b.row = a.row.data();
    b.column = a.column.data();
    expect_below(a.entry_index, b.count, a.row.shape(0), "entry_index");
    b.entry_index = a.entry_index.data();
  }
  expect(a.rank.size() == a.start_offset.size(), "starts");
  for (py::ssize_t s = 0; s < a.rank.size(); ++s) {
    const long long r = a.rank.data()[s], at = a.start_offset.data()[s];
    expect(r >= 1 && r <= a.n && at >= 0 && at <= a.starts.size() - a.n * r, "starts");
  }
  expect_below(a.y_index, b.count, a.y.shape(0), "y_index");
  expect_below(a.start_index, b.count, a.rank.size(), "start_index");
  b.y = a.y.data();
  b.starts = a.starts.data();
  b.scale = a.scale.data();
  b.start_offset = a.start_offset.data();
  b.rank = a.rank.data();
  b.y_index = a.y_index.data();
  b.start_index = a.start_index.data();
  return b;
}

py::dict flow_factorization(const FactorArrays &arrays, const Real &rtol, const Real &t_max,
                            const Real &stop_loss, double atol, long long max_steps, int method,
                            const Real &t_eval, int threads, const py::object &progress) {
  const auto batch = batch_of(arrays);
  const py::ssize_t count = batch.count, n_eval = t_eval.size();
  const py::ssize_t rows = n_eval > 0 ? n_eval : 1;
  Index W_offset(count), n_steps(count), n_rhs(count);
  Real n_flops(count);
  long long size = 0;
  for (long long b = 0; b < count; ++b) {
    W_offset.mutable_data()[b] = size;
    size += rows * batch.n * batch.rank[batch.start_index[b]];
  }
  Real W(size), loss({count, rows}), t({count, rows});
  Array<int> status(count);
  const auto settings =
      settings_of(batch.count, rtol, t_max, stop_loss, atol, max_steps, method, t_eval);
  krf::cpu::FactorFlowResults results{
      W.mutable_data(),      loss.mutable_data(),    t.mutable_data(),     W_offset.data(),
      status.mutable_data(), n_steps.mutable_data(), n_rhs.mutable_data(), n_flops.mutable_data()};
  call_native(progress, [&](const krf::cpu::Watch &watch) {
    krf::cpu::run_factor_flows(batch, settings, results, threads, watch);
  });
  using namespace py::literals;
  return py::dict("W"_a = W, "W_offset"_a = W_offset, "loss"_a = loss, "t"_a = t,
                  "status"_a = status, "n_steps"_a = n_steps, "n_rhs"_a = n_rhs,
                  "n_flops"_a = n_flops);
}

} // namespace

void register_factorization(py::module_ &m) {
  py::class_<FactorArrays>(m, "FactorBatch",
                           "A batch of factorisation problems, by index into shared arrays.")
      .def(py::init([](int n, int p, int q, int c0, const Array<int> &row, const Array<int> &column,
                       const Real &X, const Real &y, const Real &starts, const Index &start_offset,
                       const Index &rank, const Real &scale, const Index &y_index,
                       const Index &start_index, const Index &entry_index) {
             return FactorArrays{n,       p,           q,          c0,    row,          column,
                                 X,       y,           starts,     scale, start_offset, rank,
                                 y_index, start_index, entry_index};
           }),
           py::kw_only(), py::arg("n"), py::arg("p"), py::arg("q"), py::arg("c0"), py::arg("row"),
           py::arg("column"), py::arg("X"), py::arg("y"), py::arg("starts"),
           py::arg("start_offset"), py::arg("rank"), py::arg("scale"), py::arg("y_index"),
           py::arg("start_index"), py::arg("entry_index"));
  m.def("flow_factorization", &flow_factorization, py::arg("batch"), py::kw_only(), py::arg("rtol"),
        py::arg("t_max"), py::arg("stop_loss"), py::arg("atol"), py::arg("max_steps"),
        py::arg("method"), py::arg("t_eval"), py::arg("threads"), py::arg("progress"));
}
