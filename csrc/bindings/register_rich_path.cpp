// The Python entry point of the paths alpha -> 0. Arguments arrive validated
// (kernelrich_fast/backends/cpu.py); their shapes are checked again, because a wrong one would read
// outside the arrays.
#include "../cpu/rich_path_executor.hpp"
#include "call_native.hpp"
#include "register.hpp"

namespace {

using namespace krf::bindings;

struct BatchArrays {
  Real X, y, loss_offset, bound;
  Index x_index, y_index, bound_index;
  bool reduced;
};

krf::cpu::RichPathBatch batch_of(const BatchArrays &a) {
  expect(a.X.ndim() == 3 && a.y.ndim() == 2 && a.bound.ndim() == 2, "dimensions");
  krf::cpu::RichPathBatch b;
  expect(a.X.shape(1) < (1 << 20) && a.X.shape(2) < (1 << 26), "problem size");
  b.n = static_cast<int>(a.X.shape(1));
  b.d = static_cast<int>(a.X.shape(2));
  b.count = a.x_index.size();
  expect(b.n > 0 && b.d > 0, "empty problem");
  expect(a.y.shape(1) == b.n && a.bound.shape(1) == b.d, "n_samples or n_features");
  expect(a.loss_offset.size() == a.y.shape(0), "loss_offset");
  expect_below(a.x_index, b.count, a.X.shape(0), "x_index");
  expect_below(a.y_index, b.count, a.y.shape(0), "y_index");
  expect_below(a.bound_index, b.count, a.bound.shape(0), "bound_index");
  b.X = a.X.data();
  b.y = a.y.data();
  b.loss_offset = a.loss_offset.data();
  b.bound = a.bound.data();
  b.x_index = a.x_index.data();
  b.y_index = a.y_index.data();
  b.bound_index = a.bound_index.data();
  b.reduced = a.reduced;
  return b;
}

template <class T> Array<T> array_of(const std::vector<T> &values) {
  return Array<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

// The saddles of a run as arrays: times, losses, where the entries of each begin, features, values.
py::tuple arrays_of(const krf::cpu::Saddles &saddles) {
  return py::make_tuple(array_of(saddles.t), array_of(saddles.loss), array_of(saddles.first),
                        array_of(saddles.feature), array_of(saddles.value));
}

py::dict rich_path(const BatchArrays &arrays, long long max_jumps, int threads,
                   const py::object &progress) {
  const auto batch = batch_of(arrays);
  const py::ssize_t count = batch.count;
  Real dual({count, py::ssize_t(batch.n)}), t(count), loss(count);
  Array<signed char> at_bound({count, py::ssize_t(batch.d)});
  Array<int> status(count);
  Index n_pivots(count);
  krf::cpu::RichPathResults results{{},
                                    dual.mutable_data(),
                                    at_bound.mutable_data(),
                                    t.mutable_data(),
                                    loss.mutable_data(),
                                    status.mutable_data(),
                                    n_pivots.mutable_data()};
  call_native(progress, [&](const krf::cpu::Watch &watch) {
    krf::cpu::follow_rich_paths(batch, max_jumps, results, threads, watch);
  });
  py::list saddles;
  for (const auto &run : results.saddles)
    saddles.append(arrays_of(run));
  using namespace py::literals;
  return py::dict("saddles"_a = saddles, "dual"_a = dual, "at_bound"_a = at_bound, "t"_a = t,
                  "loss"_a = loss, "status"_a = status, "n_pivots"_a = n_pivots);
}

} // namespace

void register_rich_path(py::module_ &m) {
  py::class_<BatchArrays>(
      m, "RichPathBatch",
      "A batch of diagonal problems as alpha -> 0, by index into shared arrays.")
      .def(py::init([](const Real &X, const Real &y, const Real &loss_offset, const Real &bound,
                       const Index &x_index, const Index &y_index, const Index &bound_index,
                       bool reduced) {
             return BatchArrays{X, y, loss_offset, bound, x_index, y_index, bound_index, reduced};
           }),
           py::kw_only(), py::arg("X"), py::arg("y"), py::arg("loss_offset"), py::arg("bound"),
           py::arg("x_index"), py::arg("y_index"), py::arg("bound_index"),
           py::arg("reduced") = false);
  m.def("rich_path", &rich_path, py::arg("batch"), py::kw_only(), py::arg("max_jumps"),
        py::arg("threads"), py::arg("progress"));
}
