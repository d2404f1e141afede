// The Python entry point of all families: one call integrates a whole batch.
//
// Arguments arrive validated (kernelrich_fast/backends/native.py); types, shapes and indices are
// checked again, because a wrong one would read outside the arrays.
#include "../cpu/run_batch.hpp"
#include "bind_family.hpp"
#include "call_native.hpp"
#include "register.hpp"

namespace {

using namespace krf::bindings;

template <class Family>
py::dict run(const py::dict &arguments, int threads, const py::object &progress) {
  const Call<Family> call(arguments, Place::kHost);
  typename Family::Rows rows;
  py::dict results;
  call.each_output([&]<class S, class T>(const char *name, const std::vector<py::ssize_t> &shape,
                                         T *S::*member) {
    py::array_t<T> array(shape);
    rows.*member = array.mutable_data();
    results[name] = array;
  });
  call_native(progress, [&](const krf::cpu::Watch &watch) {
    krf::cpu::run_batch<Family>(call.batch, call.settings, rows, threads, watch);
  });
  return results;
}

} // namespace

void register_families(py::module_ &m) {
  m.def("families", [] { return describe(krf::Families{}); });
  m.def(
      "run",
      [](const std::string &family, const py::dict &arguments, int threads,
         const py::object &progress) {
        return with_family(family, krf::Families{}, [&](auto chosen) {
          return run<decltype(chosen)>(arguments, threads, progress);
        });
      },
      py::arg("family"), py::arg("arguments"), py::kw_only(), py::arg("threads"),
      py::arg("progress"));
}
