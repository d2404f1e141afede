// The Python entry point of ReLU networks: one call integrates a whole batch. Arguments arrive
// validated and contiguous (kernelrich_fast/backends/cpu.py); their shapes are checked again,
// because a wrong one would read outside the arrays.
#include <pybind11/stl.h>

#include "../cpu/mlp_executor.hpp"
#include "call_native.hpp"
#include "register.hpp"

namespace {

using namespace krf::bindings;

struct MlpArrays {
  std::vector<int> units;
  int copies, bias, loss;
  double step_size;
  Real X, y, w0, alpha;
  Index x_index, y_index, w_index;
};

krf::cpu::MlpBatch batch_of(const MlpArrays &a) {
  krf::cpu::MlpBatch b;
  const int depth = static_cast<int>(a.units.size()) - 1;
  expect(depth >= 2 && depth <= krf::kMaxDepth, "depth");
  expect((a.copies == 1 || a.copies == 2) && (a.bias == 0 || a.bias == 1), "copies");
  expect(a.X.ndim() == 3 && a.y.ndim() == 2 && a.w0.ndim() == 2, "dimensions");
  expect(a.X.shape(1) == a.y.shape(1) && a.X.shape(2) == a.units[0], "X");
  expect(a.X.shape(1) > 0 && a.X.shape(1) < (1 << 26), "samples");
  krf::MlpShape &shape = b.shape;
  shape.n = static_cast<int>(a.y.shape(1));
  shape.depth = depth, shape.copies = a.copies, shape.bias = a.bias;
  shape.loss = a.loss ? krf::LossKind::kCrossEntropy : krf::LossKind::kSquared;
  long long values = 0;
  for (int l = 0; l <= depth; ++l) {
    expect(a.units[l] > 0 && a.units[l] < (1 << 24), "units");
    shape.units[l] = a.units[l];
    values += a.units[l] + 16;
    if (l > 0)
      b.n_weights += static_cast<long long>(a.units[l]) * (a.units[l - 1] + a.bias);
  }
  b.n_weights *= a.copies;
  expect(values * shape.n * a.copies < (1LL << 31) && b.n_weights < (1LL << 27), "size");
  expect(a.loss || a.units[depth] == 1, "outputs");
  if (a.loss)
    for (py::ssize_t i = 0; i < a.y.size(); ++i)
      expect(a.y.data()[i] >= 0 && a.y.data()[i] < a.units[depth], "classes");
  expect(a.w0.shape(1) == b.n_weights, "weights");
  b.count = a.alpha.size();
  expect_below(a.x_index, b.count, a.X.shape(0), "x_index");
  expect_below(a.y_index, b.count, a.y.shape(0), "y_index");
  expect_below(a.w_index, b.count, a.w0.shape(0), "w_index");
  b.step_size = a.step_size;
  b.X = a.X.data(), b.y = a.y.data(), b.w0 = a.w0.data(), b.alpha = a.alpha.data();
  b.x_index = a.x_index.data(), b.y_index = a.y_index.data(), b.w_index = a.w_index.data();
  return b;
}

py::dict flow_mlp(const MlpArrays &arrays, const Real &rtol, const Real &t_max,
                  const Real &stop_loss, double atol, long long max_steps, int method,
                  const Real &t_eval, int threads, const py::object &progress) {
  const auto batch = batch_of(arrays);
  const py::ssize_t count = batch.count, rows = t_eval.size() > 0 ? t_eval.size() : 1;
  Index n_steps(count), n_rhs(count);
  Real n_flops(count);
  Real w({count, rows, static_cast<py::ssize_t>(batch.n_weights)}), loss({count, rows}),
      t({count, rows});
  Array<int> status(count);
  const auto settings =
      settings_of(batch.count, rtol, t_max, stop_loss, atol, max_steps, method, t_eval);
  krf::cpu::MlpFlowResults results{
      w.mutable_data(),       loss.mutable_data(),  t.mutable_data(),      status.mutable_data(),
      n_steps.mutable_data(), n_rhs.mutable_data(), n_flops.mutable_data()};
  call_native(progress, [&](const krf::cpu::Watch &watch) {
    krf::cpu::run_mlp_flows(batch, settings, results, threads, watch);
  });
  using namespace py::literals;
  return py::dict("w"_a = w, "loss"_a = loss, "t"_a = t, "status"_a = status, "n_steps"_a = n_steps,
                  "n_rhs"_a = n_rhs, "n_flops"_a = n_flops);
}

} // namespace

void register_mlp(py::module_ &m) {
  py::class_<MlpArrays>(m, "MlpBatch", "A batch of ReLU networks, by index into shared arrays.")
      .def(py::init([](const std::vector<int> &units, int copies, bool bias, int loss,
                       double step_size, const Real &X, const Real &y, const Real &w0,
                       const Real &alpha, const Index &x_index, const Index &y_index,
                       const Index &w_index) {
             return MlpArrays{units, copies, bias,  loss,    step_size, X,
                              y,     w0,     alpha, x_index, y_index,   w_index};
           }),
           py::kw_only(), py::arg("units"), py::arg("copies"), py::arg("bias"), py::arg("loss"),
           py::arg("step_size"), py::arg("X"), py::arg("y"), py::arg("w0"), py::arg("alpha"),
           py::arg("x_index"), py::arg("y_index"), py::arg("w_index"));
  m.def("flow_mlp", &flow_mlp, py::arg("batch"), py::kw_only(), py::arg("rtol"), py::arg("t_max"),
        py::arg("stop_loss"), py::arg("atol"), py::arg("max_steps"), py::arg("method"),
        py::arg("t_eval"), py::arg("threads"), py::arg("progress"));
}
