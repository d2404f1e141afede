#pragma once

#include <pybind11/pybind11.h>

void register_factorization(pybind11::module_ &m);
void register_mlp(pybind11::module_ &);
void register_diagonal(pybind11::module_ &);
void register_rich_path(pybind11::module_ &);
void register_parts(pybind11::module_ &);
