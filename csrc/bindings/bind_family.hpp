// Reads the structs of a family from Python's arguments by their lists of fields (core/fields.hpp),
// and makes its results.
#pragma once

#include "arrays.hpp"

namespace krf::bindings {

// Where arrays must be.  Planning reads the numbers of every run, which are still on the host, and
// of the others their shapes alone.
enum class Place { kHost, kDevice, kPlanning };

// Fills a struct from the arguments of its members' names, and counts them.
template <class Struct> class Binder {
public:
  Binder(Struct &to, const py::dict &arguments, Extents &extents, Place place)
      : to_(to), arguments_(arguments), extents_(extents), place_(place) {}

  int taken = 0; // arguments that were found

  template <class S, class T> void array(const char *name, const T *S::*member, Axes axes) {
    to_.*member = take<T>(required(name), name, axes);
  }
  template <class S, class T> void optional(const char *name, const T *S::*member, Axes axes) {
    const py::handle given = found(name);
    to_.*member = given ? take<T>(given, name, axes) : nullptr;
  }
  template <class S>
  void index(const char *name, const long long *S::*member, Axes axes, Axis into) {
    integers(name, member, axes, 0, extents_[into] - 1);
  }
  template <class S>
  void optional_index(const char *name, const long long *S::*member, Axes axes, Axis into) {
    to_.*member = nullptr;
    if (found(name)) {
      --taken;
      index(name, member, axes, into);
    }
  }
  template <class S>
  void integers(const char *name, const long long *S::*member, Axes axes, long long low,
                Axis high) {
    integers(name, member, axes, low, extents_[high]);
  }
  template <class S>
  void integers(const char *name, const long long *S::*member, Axes axes, long long low,
                long long high) {
    const ArrayView view = checked<long long>(required(name), name, axes);
    const auto *values = static_cast<const long long *>(view.data);
    for (long long i = 0; !view.on_device && i < view.size(); ++i)
      if (values[i] < low || values[i] > high)
        refuse(name, "expected integers from " + std::to_string(low) + " to " +
                         std::to_string(high) + ", got " + std::to_string(values[i]));
    to_.*member = values;
  }
  template <class S, class Int>
  void extent(Int S::*member, Axis axis, long long low, long long high) {
    const long long length = extents_[axis];
    if (length < low || length > high)
      refuse(name_of(axis), "expected an extent from " + std::to_string(low) + " to " +
                                std::to_string(high) + ", got " + std::to_string(length));
    to_.*member = static_cast<Int>(length);
  }
  template <class S> void number(const char *name, double S::*member) {
    to_.*member = number_of<double>(required(name), name);
  }
  template <class S, class Int>
  void integer(const char *name, Int S::*member, long long low, long long high) {
    to_.*member =
        static_cast<Int>(checked(number_of<long long>(required(name), name), name, low, high));
  }
  template <class S, int Most>
  void list(const char *name, int (S::*member)[Most], int S::*count, long long low,
            long long high) {
    const py::handle found = required(name);
    if (!py::isinstance<py::list>(found))
      refuse(name, "expected a list of integers");
    const auto given = py::reinterpret_borrow<py::list>(found);
    if (given.size() < 1 || given.size() > Most)
      refuse(name, "expected 1 to " + std::to_string(Most) + " numbers, got " +
                       std::to_string(given.size()));
    to_.*count = static_cast<int>(given.size());
    for (std::size_t i = 0; i < given.size(); ++i)
      (to_.*member)[i] =
          static_cast<int>(checked(number_of<long long>(given[i], name), name, low, high));
  }
  // Results that are there already.
  template <class S, class T> void output(const char *name, T *S::*member, Axes axes) {
    to_.*member = static_cast<T *>(checked<T>(required(name), name, axes, true).data);
  }

private:
  py::handle found(const char *name) {
    const py::handle given = PyDict_GetItemString(arguments_.ptr(), name);
    taken += given.ptr() != nullptr;
    return given.ptr() && given.is_none() ? py::handle() : given;
  }
  py::handle required(const char *name) {
    const py::handle given = found(name);
    if (!given)
      refuse(name, "expected, got none");
    return given;
  }
  template <class T> static T number_of(py::handle given, const char *name) {
    try {
      return py::cast<T>(given);
    } catch (const py::cast_error &) {
      refuse(name, std::is_same_v<T, double> ? "expected a number" : "expected an integer");
    }
  }
  static long long checked(long long value, const char *name, long long low, long long high) {
    if (value < low || value > high)
      refuse(name, "expected an integer from " + std::to_string(low) + " to " +
                       std::to_string(high) + ", got " + std::to_string(value));
    return value;
  }
  template <class T>
  ArrayView checked(py::handle given, const char *name, Axes axes, bool write = false) {
    const ArrayView view = view_of<T>(given, name, write);
    const bool anywhere = place_ == Place::kPlanning && axes.axis[0] != Axis::kRuns;
    if (!anywhere && view.on_device != (place_ == Place::kDevice))
      refuse(name, place_ == Place::kDevice ? "expected an array on the device, got one on the host"
                                            : "expected an array on the host, got one on a device");
    bool fits = view.rank == axes.rank();
    for (int i = 0; fits && i < view.rank; ++i) {
      long long &known = extents_[axes.axis[i]];
      if (known < 0)
        known = view.shape[i];
      fits = known == view.shape[i];
    }
    if (!fits) {
      std::string what = "expected axes " + text_of(axes);
      for (int i = 0; i < axes.rank(); ++i)
        if (const long long known = extents_[axes.axis[i]]; known >= 0)
          what += std::string(i ? ", " : " with ") + name_of(axes.axis[i]) + " = " +
                  std::to_string(known);
      refuse(name, what + ", got shape " + text_of(view));
    }
    return view;
  }
  template <class T> const T *take(py::handle given, const char *name, Axes axes) {
    return static_cast<const T *>(checked<T>(given, name, axes).data);
  }

  Struct &to_;
  const py::dict &arguments_;
  Extents &extents_;
  Place place_;
};

// Calls make(name, shape, member) for every array of results.
template <class Make> struct OutputShapes {
  const Extents &extents;
  Make make;

  template <class S, class T> void output(const char *name, T *S::*member, Axes axes) {
    std::vector<py::ssize_t> shape;
    for (int i = 0; i < axes.rank(); ++i)
      shape.push_back(extents[axes.axis[i]]);
    make(name, shape, member);
  }
};
template <class Make> OutputShapes(const Extents &, Make) -> OutputShapes<Make>;

// What a call of a family is given, checked.
template <class Family> struct Call {
  typename Family::Batch batch{};
  typename Family::Settings settings{};
  Extents extents;

  Call(const py::dict &arguments, Place place) {
    Binder batch_binder(batch, arguments, extents, place);
    Family::Batch::fields(batch_binder);
    Binder settings_binder(settings, arguments, extents, place);
    Family::Settings::fields(settings_binder);
    const auto known = static_cast<std::size_t>(batch_binder.taken + settings_binder.taken);
    if (known != arguments.size())
      refuse(Family::kName, "got an argument that it does not know");
    if (extents[Axis::kTimes] >= 0)
      extents[Axis::kRows] = extents[Axis::kTimes] > 0 ? extents[Axis::kTimes] : 1;
    complain(Family::complete(batch, extents));
    if (place == Place::kHost)
      complain(Family::refuse_values(batch));
  }

  // Results that are there already.
  typename Family::Rows rows_in(const py::dict &results, Place place) {
    typename Family::Rows rows{};
    Binder binder(rows, results, extents, place);
    Family::Rows::fields(binder);
    return rows;
  }

  // make(name, shape, member) for every array of results.
  template <class Make> void each_output(const Make &make) const {
    Family::Rows::fields(OutputShapes{extents, make});
  }

private:
  static void complain(const char *what) {
    if (what)
      throw std::invalid_argument(what);
  }
};

// A list of the fields of a struct, for Python.
class Describer {
public:
  py::list found;

  template <class S, class T> void array(const char *name, const T *S::*, Axes axes) {
    add(name, "array", dtype_of<T>(), axes);
  }
  template <class S, class T> void optional(const char *name, const T *S::*, Axes axes) {
    add(name, "optional", dtype_of<T>(), axes);
  }
  template <class S> void index(const char *name, const long long *S::*, Axes axes, Axis) {
    add(name, "index", "int64", axes);
  }
  template <class S> void optional_index(const char *name, const long long *S::*, Axes axes, Axis) {
    add(name, "index", "int64", axes);
  }
  template <class S, class High>
  void integers(const char *name, const long long *S::*, Axes axes, long long, High) {
    add(name, "integers", "int64", axes);
  }
  template <class S, class Int> void extent(Int S::*, Axis, long long, long long) {}
  template <class S> void number(const char *name, double S::*) {
    add(name, "number", "float", {});
  }
  template <class S, class Int> void integer(const char *name, Int S::*, long long, long long) {
    add(name, "integer", "int", {});
  }
  template <class S, int Most>
  void list(const char *name, int (S::*)[Most], int S::*, long long, long long) {
    add(name, "list", "int", {});
  }
  template <class S, class T> void output(const char *name, T *S::*, Axes axes) {
    add(name, "output", dtype_of<T>(), axes);
  }

private:
  void add(const char *name, const char *kind, const char *dtype, Axes axes) {
    py::tuple names(axes.rank());
    for (int i = 0; i < axes.rank(); ++i)
      names[static_cast<std::size_t>(i)] = name_of(axes.axis[i]);
    found.append(py::make_tuple(name, kind, dtype, names));
  }
};

// Calls use(Family{}) for the family of that name.
template <class Use, class... Family>
auto with_family(const std::string &name, FamilyList<Family...>, const Use &use) {
  py::object result;
  const bool known = ((name == Family::kName && (result = use(Family{}), true)) || ...);
  if (!known)
    refuse("family", "expected one of this module's, got " + name);
  return result;
}

// By name, the fields of its batch, settings and rows: (name, kind, dtype, axes) each.
template <class... Family> py::dict describe(FamilyList<Family...>) {
  py::dict all;
  const auto add = [&](auto family) {
    using F = decltype(family);
    Describer arguments, rows;
    F::Batch::fields(arguments);
    F::Settings::fields(arguments);
    F::Rows::fields(rows);
    all[F::kName] = py::make_tuple(arguments.found, rows.found);
  };
  (add(Family{}), ...);
  return all;
}

} // namespace krf::bindings
