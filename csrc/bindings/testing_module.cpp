// What only tests and bench/kernels.py call: single parts of the CPU team, and the checks of a
// call's arguments, where no device is needed to say that they are on one.
#include <pybind11/numpy.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "../core/base/config.hpp"
#include "../core/families.hpp"
#include "../cpu/instruction_set.hpp"
#include "../cpu/parts.hpp"
#include "bind_family.hpp"
#include "use_lapack.hpp"

namespace py = pybind11;

namespace {

using Real = py::array_t<double, py::array::c_style | py::array::forcecast>;

std::vector<double> zeros(long long count) {
  return std::vector<double>(static_cast<std::size_t>(count), 0.0);
}

// Feature after feature, padded.
std::vector<double> pack(const Real &X) {
  const long long n = X.shape(0), d = X.shape(1), ld = krf::padded(static_cast<int>(n));
  auto out = zeros(ld * krf::padded(static_cast<int>(d)));
  for (long long i = 0; i < d; ++i)
    for (long long j = 0; j < n; ++j)
      out[i * ld + j] = X.at(j, i);
  return out;
}

// Columns of a square matrix, padded.
std::vector<double> pack_square(const Real &A) {
  if (A.ndim() != 2 || A.shape(0) != A.shape(1))
    throw std::invalid_argument("A must be square");
  return pack(A);
}

Real elementary(int function, const Real &x) {
  const int count = static_cast<int>(x.size()), ld = krf::padded(count);
  auto in = zeros(ld), out = zeros(ld);
  std::copy(x.data(), x.data() + count, in.begin());
  krf::cpu::parts().elementary(function, ld, in.data(), out.data());
  Real y(count);
  std::copy(out.begin(), out.begin() + count, y.mutable_data());
  return y;
}

// A B^T of matrices stored by rows.
Real products(const Real &A, const Real &B) {
  if (A.ndim() != 2 || B.ndim() != 2 || A.shape(1) != B.shape(1))
    throw std::invalid_argument("A and B must have rows of one length");
  const int m = static_cast<int>(A.shape(0)), q = static_cast<int>(B.shape(0)),
            length = static_cast<int>(A.shape(1)), ld = krf::padded(length);
  const auto rows = [&](const Real &from, int count) {
    auto out = zeros(static_cast<long long>(count) * ld);
    for (int i = 0; i < count; ++i)
      for (int j = 0; j < length; ++j)
        out[static_cast<std::size_t>(i) * ld + j] = from.at(i, j);
    return out;
  };
  Real out({m, q});
  krf::cpu::parts().products(m, q, length, rows(A, m).data(), rows(B, q).data(),
                             out.mutable_data());
  return out;
}

// X diag(weight) X^T, `repeats` times the work for timing.
Real scaled_gram(const Real &X, const Real &weight, int repeats) {
  if (X.ndim() != 2 || weight.ndim() != 1 || weight.shape(0) != X.shape(1))
    throw std::invalid_argument("X must be (n, d) and weight (d,)");
  const int n = static_cast<int>(X.shape(0)), d = static_cast<int>(X.shape(1));
  const long long ld = krf::padded(n);
  const auto packed = pack(X);
  auto scratch = zeros(2LL * krf::padded(d)), G = zeros(ld * ld);
  for (int r = 0; r < repeats; ++r) {
    std::fill(G.begin(), G.end(), 0.0);
    krf::cpu::parts().scaled_gram(n, d, packed.data(), weight.data(), G.data(), scratch.data());
  }
  Real out({n, n});
  for (int j = 0; j < n; ++j)
    for (int i = j; i < n; ++i)
      out.mutable_at(i, j) = out.mutable_at(j, i) = G[j * ld + i];
  return out;
}

// X (X^T V) for three columns V, in one pass over X.
Real map_features(const Real &X, const Real &V, int repeats) {
  if (X.ndim() != 2 || V.ndim() != 2 || V.shape(0) != X.shape(0) || V.shape(1) != 3)
    throw std::invalid_argument("X must be (n, d) and V (n, 3)");
  const int n = static_cast<int>(X.shape(0)), d = static_cast<int>(X.shape(1));
  const long long ld = krf::padded(n);
  const auto packed = pack(X), v = pack(V);
  auto acc = zeros(3 * ld);
  for (int r = 0; r < repeats; ++r)
    krf::cpu::parts().map_features(n, d, packed.data(), v.data(), acc.data());
  Real out({n, 3});
  for (int k = 0; k < 3; ++k)
    for (int i = 0; i < n; ++i)
      out.mutable_at(i, k) = acc[k * ld + i];
  return out;
}

// In the padding of a right-hand side, where what a failed step computed may be.
constexpr double kLeftBehind = std::numeric_limits<double>::quiet_NaN();

py::tuple solve(const Real &A, const Real &b, int repeats) {
  const auto packed = pack_square(A);
  const int n = static_cast<int>(A.shape(0)), ld = krf::padded(n);
  if (b.ndim() != 1 || b.shape(0) != n)
    throw std::invalid_argument("b must be (n,)");
  auto L = packed, x = zeros(ld), pivot = zeros(ld);
  std::fill(x.begin(), x.end(), kLeftBehind);
  double kept = 0;
  for (int r = 0; r < repeats; ++r) {
    L = packed;
    std::copy(b.data(), b.data() + n, x.begin());
    kept = krf::cpu::parts().solve(n, L.data(), pivot.data(), x.data());
  }
  Real out(n);
  std::copy(x.begin(), x.begin() + n, out.mutable_data());
  return py::make_tuple(out, kept);
}

// A^-1 V for three columns V, by the inverse; and what its elimination left.
py::tuple inverse(const Real &A, const Real &V, int repeats) {
  const auto packed = pack_square(A);
  const int n = static_cast<int>(A.shape(0)), ld = krf::padded(n);
  if (V.ndim() != 2 || V.shape(0) != n || V.shape(1) != 3)
    throw std::invalid_argument("V must be (n, 3)");
  auto work = packed, x = zeros(3LL * ld), room = zeros(krf::cpu::parts().room_for_inverse(n));
  const auto v = pack(V);
  double kept = 0;
  for (int r = 0; r < repeats; ++r) {
    work = packed;
    kept = krf::cpu::parts().inverse(n, work.data(), v.data(), x.data(), room.data());
  }
  Real out({n, 3});
  for (int k = 0; k < 3; ++k)
    for (int i = 0; i < n; ++i)
      out.mutable_at(i, k) = x[static_cast<std::size_t>(k) * ld + i];
  return py::make_tuple(out, kept);
}

// (A + i shift I) x = b for real b; returns the parts of x.
py::tuple solve_complex(const Real &A, double shift, const Real &b, int repeats) {
  const auto packed = pack_square(A);
  const int n = static_cast<int>(A.shape(0));
  const long long ld = krf::padded(n);
  if (b.ndim() != 1 || b.shape(0) != n)
    throw std::invalid_argument("b must be (n,)");
  auto Lr = packed, Li = packed, xr = zeros(ld), xi = zeros(ld), pr = zeros(ld), pi = zeros(ld);
  for (int r = 0; r < repeats; ++r) {
    Lr = packed;
    std::fill(Li.begin(), Li.end(), 0.0);
    for (int i = 0; i < n; ++i)
      Li[i * ld + i] = shift;
    std::fill(xr.begin(), xr.end(), kLeftBehind);
    std::copy(b.data(), b.data() + n, xr.begin());
    std::fill(xi.begin(), xi.begin() + n, 0.0);
    std::fill(xi.begin() + n, xi.end(), kLeftBehind);
    krf::cpu::parts().solve_complex(n, Lr.data(), Li.data(), pr.data(), pi.data(), xr.data(),
                                    xi.data());
  }
  Real real(n), imaginary(n);
  std::copy(xr.begin(), xr.begin() + n, real.mutable_data());
  std::copy(xi.begin(), xi.begin() + n, imaginary.mutable_data());
  return py::make_tuple(real, imaginary);
}

// Eigenvalues, and eigenvectors as rows.
py::tuple eigen(const Real &A) {
  auto packed = pack_square(A);
  const int n = static_cast<int>(A.shape(0)), ld = krf::padded(n);
  Real value(n), vector({n, n});
  auto rows = zeros(static_cast<long long>(n) * ld);
  if (!krf::cpu::parts().eigen(n, packed.data(), value.mutable_data(), rows.data()))
    throw std::runtime_error("no convergence");
  for (int i = 0; i < n; ++i)
    std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(i) * ld, n, vector.mutable_data(i, 0));
  return py::make_tuple(value, vector);
}

// The extents that the arrays of a legal call have.
py::dict check_call(const std::string &family, const py::dict &arguments,
                    const std::string &place) {
  using namespace krf::bindings;
  const Place where = place == "device" ? Place::kDevice
                      : place == "host" ? Place::kHost
                                        : Place::kPlanning;
  return with_family(family, krf::Families{}, [&](auto chosen) {
    const Call<decltype(chosen)> call(arguments, where);
    py::dict extents;
    for (int axis = 0; axis < krf::kAxisCount; ++axis)
      if (call.extents.of[axis] >= 0)
        extents[name_of(static_cast<krf::Axis>(axis))] = call.extents.of[axis];
    return extents;
  });
}

} // namespace

PYBIND11_MODULE(_testing, m, py::mod_gil_not_used(), py::multiple_interpreters::not_supported()) {
  m.doc() = "Parts of kernelrich_fast's CPU executor, for tests";
  m.attr("instruction_set") = krf::cpu::instruction_set().name;
  m.def("check_call", &check_call, py::arg("family"), py::arg("arguments"), py::arg("place"));
  m.def("elementary", &elementary, py::arg("function"), py::arg("x"));
  m.def("products", &products, py::arg("A"), py::arg("B"));
  m.def("scaled_gram", &scaled_gram, py::arg("X"), py::arg("weight"), py::arg("repeats") = 1);
  m.def("map_features", &map_features, py::arg("X"), py::arg("V"), py::arg("repeats") = 1);
  m.def(
      "phi", [](int k, double x) { return krf::cpu::parts().phi(k, x); }, py::arg("k"),
      py::arg("x"));
  m.def("eigen", &eigen, py::arg("A"));
  m.def("use_lapack", &krf::bindings::use_lapack, py::arg("dsyevd"));
  m.def("solve", &solve, py::arg("A"), py::arg("b"), py::arg("repeats") = 1);
  m.def("inverse", &inverse, py::arg("A"), py::arg("V"), py::arg("repeats") = 1);
  m.def("solve_complex", &solve_complex, py::arg("A"), py::arg("shift"), py::arg("b"),
        py::arg("repeats") = 1);
}
