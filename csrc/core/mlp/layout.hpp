// Where the numbers of a ReLU network lie in its arrays.
#pragma once

#include "../base/views.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

// Arrays have a row per sample; a row of layer l has ldz(l) doubles, of which units[l + 1]
// are values, and one more a constant input of the next layer where there are biases.
struct MlpLayout {
  MlpShape s;
  int zwidth = 0;
  int zpos[kMaxDepth];
  long long wpos[kMaxDepth], wsize = 0;

  KRF_HD explicit MlpLayout(const MlpShape &shape) : s(shape) {
    for (int l = 0; l < s.depth; ++l) {
      zpos[l] = zwidth;
      zwidth += ldz(l);
      wpos[l] = wsize;
      wsize += static_cast<long long>(s.units[l + 1]) * ld(l);
    }
  }
  KRF_HD int ld(int l) const { return padded(s.units[l] + s.bias); }
  KRF_HD int ldz(int l) const { return l + 1 < s.depth ? ld(l + 1) : padded(s.units[s.depth]); }
  KRF_HD int outputs() const { return s.units[s.depth]; }
  KRF_HD long long weights(int copy, int l) const { return copy * wsize + wpos[l]; }
  KRF_HD int length() const { return static_cast<int>(s.copies * wsize); }
  // Without padding, as callers hold them.
  KRF_HD long long flat(int copy, int l) const {
    long long one = 0, before = 0;
    for (int k = 0; k < s.depth; ++k) {
      before = k == l ? one : before;
      one += static_cast<long long>(s.units[k + 1]) * (s.units[k] + s.bias);
    }
    return copy * one + before;
  }
  KRF_HD long long flat_length() const { return flat(s.copies, 0); }
  // Values of layer l in an array with `rows` rows per layer.
  KRF_HD long long offset(int copy, int l, int rows) const {
    return static_cast<long long>(rows) * (copy * zwidth + zpos[l]);
  }
  KRF_HD int size(int rows) const { return rows * s.copies * zwidth; }
  // The same as a matrix with a row per sample, and the weights of a layer with a row per unit.
  template <class Item>
  KRF_HD MatrixView<Item> layer(Item *array, int copy, int l, int rows) const {
    return {array + offset(copy, l, rows), ldz(l)};
  }
  template <class Item> KRF_HD MatrixView<Item> layer_weights(Item *w, int copy, int l) const {
    return {w + weights(copy, l), ld(l)};
  }
  // Kinks of the hidden layers after the first: one for each unit and sample.
  KRF_HD long long deeper_kinks() const {
    long long units = 0;
    for (int l = 1; l + 1 < s.depth; ++l)
      units += s.units[l + 1];
    return units * s.copies * s.n;
  }
  KRF_HD double sign(int copy) const { return copy == 0 ? 1.0 : -1.0; }

  // Of element e of an array with one row per sample.
  KRF_HD int copy_of(int e) const { return e / (s.n * zwidth); }
  KRF_HD int layer_of(int e) const {
    const int inside = e % (s.n * zwidth);
    int l = s.depth - 1;
    while (inside < s.n * zpos[l])
      --l;
    return l;
  }
  KRF_HD int sample_of(int e) const { return inside_layer(e) / ldz(layer_of(e)); }
  KRF_HD int unit_of(int e) const { return inside_layer(e) % ldz(layer_of(e)); }

private:
  KRF_HD int inside_layer(int e) const {
    return e - static_cast<int>(offset(copy_of(e), layer_of(e), s.n));
  }
};

KRF_END_NAMESPACE
