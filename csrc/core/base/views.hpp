// Matrices in memory: rows (or columns, where a matrix is stored by columns) `ld` items apart.
#pragma once

#include "arena.hpp"

KRF_BEGIN_NAMESPACE

template <class Item> struct MatrixView {
  Item *data;
  int ld;

  KRF_HD Item *row(int i) const { return data + static_cast<long long>(i) * ld; }
  KRF_HD Item &operator()(int i, int j) const { return row(i)[j]; }
  // Of a matrix to be written, one to be read.
  template <class Other> KRF_HD operator MatrixView<Other>() const { return {data, ld}; }
};
using Matrix = MatrixView<double>;
using ConstMatrix = MatrixView<const double>;

KRF_HD inline Matrix take_matrix(Arena &arena, long long rows, int ld) {
  return {arena.take(rows * ld), ld};
}

KRF_END_NAMESPACE
