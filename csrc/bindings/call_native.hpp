// What every entry point of the CPU module needs: checked arrays, progress, Ctrl-C.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>

#include <stdexcept>
#include <string>

#include "../cpu/run_queue.hpp"

namespace krf::bindings {

namespace py = pybind11;

// C-contiguous and aligned; other arrays are copied.
inline constexpr int kLayout = static_cast<int>(py::array::c_style) |
                               static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_);
template <class T> using Array = py::array_t<T, kLayout>;
using Real = Array<double>;
using Index = Array<long long>;

inline void expect(bool holds, const char *what) {
  if (!holds)
    throw std::invalid_argument(std::string("internal shape error: ") + what);
}

inline void expect_below(const Index &index, long long count, py::ssize_t limit, const char *what) {
  expect(index.ndim() == 1 && index.shape(0) == count, what);
  for (long long b = 0; b < count; ++b)
    expect(index.data()[b] >= 0 && index.data()[b] < limit, what);
}

// Reports progress and checks for Ctrl-C; the GIL is held only for that.
inline cpu::Watch watch_with(const py::object &progress, bool &interrupted) {
  return [&progress, &interrupted](long long done) {
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) {
      interrupted = true;
      return false;
    }
    if (progress.is_none())
      return true;
    try {
      progress(done);
    } catch (py::error_already_set &error) {
      error.restore();
      interrupted = true;
      return false;
    }
    return true;
  };
}

template <class Call> void call_native(const py::object &progress, const Call &call) {
  bool interrupted = false;
  {
    const auto watch = watch_with(progress, interrupted);
    py::gil_scoped_release release;
    call(watch);
  }
  if (interrupted)
    throw py::error_already_set();
}

} // namespace krf::bindings
