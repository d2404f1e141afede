#include <pybind11/pybind11.h>

#include "../cpu/block.hpp"
#include "../cpu/helper_pool.hpp"
#include "../cpu/instruction_set.hpp"
#include "register.hpp"
#include "use_lapack.hpp"

namespace py = pybind11;

// Calls share no mutable state, so they may run at the same time without the GIL. NumPy does
// not support several interpreters in a process, so neither does this.
PYBIND11_MODULE(_core, m, py::mod_gil_not_used(), py::multiple_interpreters::not_supported()) {
  m.doc() = "CPU executor of kernelrich_fast";
  m.attr("instruction_set") = krf::cpu::instruction_set().name;
  m.attr("lapack_order") = krf::cpu::kLapackOrder;
  m.def("use_lapack", &krf::bindings::use_lapack, py::arg("dsyevd"));
  register_families(m);
  register_rich_path(m);
#ifdef KRF_TESTING
  m.def("pieces_of_helpers", &krf::cpu::pieces_of_helpers);
  m.def("poison_memory", [](bool poison) { krf::cpu::poison_memory.store(poison); });
#endif
}
