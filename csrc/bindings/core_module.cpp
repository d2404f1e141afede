#include <pybind11/pybind11.h>

#include "../cpu/kernels.hpp"
#include "register.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "CPU executor of kernelrich_fast";
  m.attr("instruction_set") = krf::cpu::kernels().name;
  register_diagonal(m);
  register_factorization(m);
  register_mlp(m);
  register_parts(m);
}
