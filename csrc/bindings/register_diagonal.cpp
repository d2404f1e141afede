// The Python entry points of diagonal networks: one call integrates a whole batch. Arguments arrive
// validated and contiguous (kernelrich_fast/backends/cpu.py); their shapes are checked again,
// because a wrong one would read outside the arrays.
#include "../cpu/diagonal_executor.hpp"
#include "call_native.hpp"
#include "register.hpp"

namespace {

using namespace krf::bindings;

struct BatchArrays {
  Real X, y, loss_offset, profile_plus, profile_minus, alpha;
  Index x_index, y_index, w_index, depth;
};

krf::cpu::DiagonalBatch batch_of(const BatchArrays &a) {
  expect(a.X.ndim() == 3 && a.y.ndim() == 2 && a.profile_plus.ndim() == 2, "dimensions");
  krf::cpu::DiagonalBatch b;
  expect(a.X.shape(1) < (1 << 20) && a.X.shape(2) < (1 << 26), "problem size");
  b.n = static_cast<int>(a.X.shape(1));
  b.d = static_cast<int>(a.X.shape(2));
  b.count = a.alpha.size();
  expect(b.n > 0 && b.d > 0, "empty problem");
  expect(a.y.shape(1) == b.n && a.profile_plus.shape(1) == b.d, "n_samples or n_features");
  expect(a.profile_minus.ndim() == 2 && a.profile_minus.shape(0) == a.profile_plus.shape(0) &&
             a.profile_minus.shape(1) == b.d,
         "profiles");
  expect(a.loss_offset.size() == a.y.shape(0), "loss_offset");
  expect_below(a.x_index, b.count, a.X.shape(0), "x_index");
  expect_below(a.y_index, b.count, a.y.shape(0), "y_index");
  expect_below(a.w_index, b.count, a.profile_plus.shape(0), "w_index");
  expect_below(a.depth, b.count, 1 << 20, "depth");
  b.X = a.X.data();
  b.y = a.y.data();
  b.loss_offset = a.loss_offset.data();
  b.profile_plus = a.profile_plus.data();
  b.profile_minus = a.profile_minus.data();
  b.x_index = a.x_index.data();
  b.y_index = a.y_index.data();
  b.w_index = a.w_index.data();
  b.alpha = a.alpha.data();
  b.depth = a.depth.data();
  return b;
}

py::dict flow_diagonal(const BatchArrays &arrays, const Real &rtol, const Real &t_max,
                       const Real &stop_loss, double atol, long long max_steps, int method,
                       const Real &t_eval, int threads, const py::object &progress) {
  const auto batch = batch_of(arrays);
  const py::ssize_t count = batch.count, n_eval = t_eval.size();
  const py::ssize_t rows = n_eval > 0 ? n_eval : 1;
  Real beta({count, rows, py::ssize_t(batch.d)}), w_plus({count, rows, py::ssize_t(batch.d)}),
      w_minus({count, rows, py::ssize_t(batch.d)}), nu({count, rows, py::ssize_t(batch.n)}),
      loss({count, rows}), t({count, rows});
  Array<int> status(count);
  Index n_steps(count), n_rhs(count);
  Real n_flops(count);
  const auto settings =
      settings_of(batch.count, rtol, t_max, stop_loss, atol, max_steps, method, t_eval);
  krf::cpu::DiagonalFlowResults results{
      beta.mutable_data(),  w_plus.mutable_data(), w_minus.mutable_data(), nu.mutable_data(),
      loss.mutable_data(),  t.mutable_data(),      status.mutable_data(),  n_steps.mutable_data(),
      n_rhs.mutable_data(), n_flops.mutable_data()};
  call_native(progress, [&](const krf::cpu::Watch &watch) {
    krf::cpu::run_diagonal_flows(batch, settings, results, threads, watch);
  });
  using namespace py::literals;
  return py::dict("beta"_a = beta, "w_plus"_a = w_plus, "w_minus"_a = w_minus, "dual"_a = nu,
                  "loss"_a = loss, "t"_a = t, "status"_a = status, "n_steps"_a = n_steps,
                  "n_rhs"_a = n_rhs, "n_flops"_a = n_flops);
}

py::dict limit_diagonal(const BatchArrays &arrays, double tolerance, int max_iterations,
                        int threads, const py::object &progress) {
  const auto batch = batch_of(arrays);
  const py::ssize_t count = batch.count;
  Real beta({count, py::ssize_t(batch.d)}), w_plus({count, py::ssize_t(batch.d)}),
      w_minus({count, py::ssize_t(batch.d)}), nu({count, py::ssize_t(batch.n)}), loss(count);
  Array<int> status(count);
  Index n_iterations(count);
  krf::cpu::DiagonalLimitResults results{
      beta.mutable_data(), w_plus.mutable_data(), w_minus.mutable_data(),     nu.mutable_data(),
      loss.mutable_data(), status.mutable_data(), n_iterations.mutable_data()};
  call_native(progress, [&](const krf::cpu::Watch &watch) {
    krf::cpu::run_diagonal_limits(batch, {tolerance, max_iterations}, results, threads, watch);
  });
  using namespace py::literals;
  return py::dict("beta"_a = beta, "w_plus"_a = w_plus, "w_minus"_a = w_minus, "dual"_a = nu,
                  "loss"_a = loss, "status"_a = status, "n_iterations"_a = n_iterations);
}

} // namespace

void register_diagonal(py::module_ &m) {
  py::class_<BatchArrays>(m, "DiagonalBatch",
                          "A batch of diagonal problems, by index into shared arrays.")
      .def(py::init([](const Real &X, const Real &y, const Real &loss_offset,
                       const Real &profile_plus, const Real &profile_minus, const Real &alpha,
                       const Index &depth, const Index &x_index, const Index &y_index,
                       const Index &w_index) {
             return BatchArrays{X,     y,       loss_offset, profile_plus, profile_minus,
                                alpha, x_index, y_index,     w_index,      depth};
           }),
           py::kw_only(), py::arg("X"), py::arg("y"), py::arg("loss_offset"),
           py::arg("profile_plus"), py::arg("profile_minus"), py::arg("alpha"), py::arg("depth"),
           py::arg("x_index"), py::arg("y_index"), py::arg("w_index"));
  m.def("flow_diagonal", &flow_diagonal, py::arg("batch"), py::kw_only(), py::arg("rtol"),
        py::arg("t_max"), py::arg("stop_loss"), py::arg("atol"), py::arg("max_steps"),
        py::arg("method"), py::arg("t_eval"), py::arg("threads"), py::arg("progress"));
  m.def("limit_diagonal", &limit_diagonal, py::arg("batch"), py::kw_only(), py::arg("tolerance"),
        py::arg("max_iterations"), py::arg("threads"), py::arg("progress"));
}
