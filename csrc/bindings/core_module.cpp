#include <pybind11/pybind11.h>

#include "../cpu/kernels.hpp"
#include "register.hpp"

namespace py = pybind11;

// Calls share no mutable state, so they may run at the same time without the GIL. NumPy does
// not support several interpreters in a process, so neither does this.
PYBIND11_MODULE(_core, m, py::mod_gil_not_used(), py::multiple_interpreters::not_supported()) {
  m.doc() = "CPU executor of kernelrich_fast";
  m.attr("instruction_set") = krf::cpu::kernels().name;
  register_diagonal(m);
  register_factorization(m);
  register_mlp(m);
  register_rich_path(m);
  register_parts(m);
}
