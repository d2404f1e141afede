// Takes LAPACK from a capsule of SciPy's.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include "../cpu/lapack.hpp"

namespace krf::bindings {

// `capsule` is scipy.linalg.cython_lapack.__pyx_capi__["dsyevd"], or None.  Its name is the type of
// the function: SciPy may be built with 64-bit integers.
inline void use_lapack(const pybind11::object &capsule) {
  if (capsule.is_none())
    return cpu::use_lapack(nullptr);
  const char *name =
      PyCapsule_CheckExact(capsule.ptr()) ? PyCapsule_GetName(capsule.ptr()) : nullptr;
  if (!name)
    throw std::invalid_argument("dsyevd: expected a capsule of SciPy's cython_lapack");
  const std::string_view type = name, begin = "void (char *, char *, int *, ",
                         end = ", int *, int *, int *, int *)";
  if (!type.starts_with(begin) || !type.ends_with(end))
    throw std::invalid_argument("dsyevd: expected 32-bit integers, got " + std::string(type));
  void *address = PyCapsule_GetPointer(capsule.ptr(), name);
  if (!address)
    throw pybind11::error_already_set();
  capsule.inc_ref(); // the function stays as long as the process
  cpu::use_lapack(reinterpret_cast<cpu::Dsyevd>(address));
}

} // namespace krf::bindings
