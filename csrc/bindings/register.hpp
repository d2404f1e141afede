#pragma once

#include <pybind11/pybind11.h>

void register_families(pybind11::module_ &m);
void register_rich_path(pybind11::module_ &);
