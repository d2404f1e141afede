// An array that Python hands over, wherever it is, and what a list of fields asks of it.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "../core/fields.hpp"

namespace krf::bindings {

namespace py = pybind11;

template <class T> constexpr const char *dtype_of();
template <> constexpr const char *dtype_of<double>() { return "float64"; }
template <> constexpr const char *dtype_of<long long>() { return "int64"; }
template <> constexpr const char *dtype_of<int>() { return "int32"; }

[[noreturn]] inline void refuse(const std::string &name, const std::string &what) {
  throw std::invalid_argument(name + ": " + what);
}

// Set where a device can be asked whose memory an address is.
inline bool (*is_on_current_device)(const void *) = nullptr;

struct ArrayView {
  void *data = nullptr;
  int rank = 0;
  long long shape[kMaxRank] = {};
  bool on_device = false;

  long long size() const { // of an array of the host, which exists
    long long product = 1;
    for (int i = 0; i < rank; ++i)
      product *= shape[i];
    return product;
  }
};

inline std::string text_of(const ArrayView &view) {
  std::string text = "(";
  for (int i = 0; i < view.rank; ++i)
    text.append(i ? ", " : "").append(std::to_string(view.shape[i]));
  return text + (view.rank == 1 ? ",)" : ")");
}

inline std::string text_of(const Axes &axes) {
  std::string text = "(";
  for (int i = 0; i < axes.rank(); ++i)
    text.append(i ? ", " : "").append(name_of(axes.axis[i]));
  return text + (axes.rank() == 1 ? ",)" : ")");
}

template <class T> ArrayView view_of_host(const py::array &array, const char *name, bool write) {
  if (!py::isinstance<py::array_t<T, py::array::c_style>>(array) ||
      !(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
    refuse(name, std::string("expected an aligned and C-contiguous array of ") + dtype_of<T>() +
                     ", got one of " + std::string(py::str(array.dtype())));
  if (array.ndim() > kMaxRank)
    refuse(name, "expected at most four axes");
  if (write && !array.writeable())
    refuse(name, "expected an array that can be written");
  ArrayView view{const_cast<void *>(array.data()), static_cast<int>(array.ndim()), {}, false};
  for (int i = 0; i < view.rank; ++i)
    view.shape[i] = array.shape(i);
  return view;
}

// By version 3 of the CUDA array interface.
template <class T> ArrayView view_on_device(const py::dict &given, const char *name, bool write) {
  const std::string kind = sizeof(T) == 4 ? "<i4" : std::is_same_v<T, double> ? "<f8" : "<i8";
  if (given["typestr"].cast<std::string>() != kind)
    refuse(name, std::string("expected an array of ") + dtype_of<T>() + ", got one of " +
                     given["typestr"].cast<std::string>());
  const auto shape = given["shape"].cast<py::tuple>();
  if (shape.size() > kMaxRank)
    refuse(name, "expected at most four axes");
  ArrayView view{nullptr, static_cast<int>(shape.size()), {}, true};
  for (int i = 0; i < view.rank; ++i)
    view.shape[i] = shape[static_cast<std::size_t>(i)].cast<long long>();
  if (given.contains("strides") && !given["strides"].is_none()) {
    const auto strides = given["strides"].cast<py::tuple>();
    auto step = static_cast<unsigned long long>(sizeof(T)); // what is absurd may wrap around
    for (int i = view.rank - 1; i >= 0; --i) {
      const auto stride = strides[static_cast<std::size_t>(i)].cast<long long>();
      if (view.shape[i] > 1 && static_cast<unsigned long long>(stride) != step)
        refuse(name, "expected a C-contiguous array");
      step *= static_cast<unsigned long long>(view.shape[i]);
    }
  }
  const auto data = given["data"].cast<py::tuple>();
  view.data = reinterpret_cast<void *>(data[0].cast<std::uintptr_t>()); // NOLINT
  if (write && data[1].cast<bool>())
    refuse(name, "expected an array that can be written");
  if (reinterpret_cast<std::uintptr_t>(view.data) % alignof(T) != 0)
    refuse(name, "expected an aligned array");
  if (is_on_current_device && view.data && !is_on_current_device(view.data))
    refuse(name, "expected an array on the current device");
  return view;
}

template <class T> ArrayView view_of(py::handle given, const char *name, bool write = false) {
  if (py::isinstance<py::array>(given))
    return view_of_host<T>(py::reinterpret_borrow<py::array>(given), name, write);
  if (py::hasattr(given, "__cuda_array_interface__"))
    return view_on_device<T>(given.attr("__cuda_array_interface__"), name, write);
  refuse(name, std::string("expected an array, got ") +
                   std::string(py::str(py::type::handle_of(given).attr("__name__"))));
}

} // namespace krf::bindings
