// Runs a batch of any family on a block of host threads, from its arguments by its list of fields:
//
//     family_runs THREADS < call > results
//
// call, as text: the family's name, then field by field, for an array its extents (their number
// first, -1 where it is not given) and entries, for a list its length and entries, for a number the
// number.  results: the arrays of results, one after the other.
#include "host_block.hpp"

#include "../../csrc/core/families.hpp"

namespace {

// Owns what it reads.
template <class Struct> class TextReader {
public:
  TextReader(Struct &to, Extents &extents) : to_(to), extents_(extents) {}

  template <class S, class T> void array(const char *, const T *S::*member, Axes axes) {
    to_.*member = take<T>(axes);
  }
  template <class S, class T> void optional(const char *, const T *S::*member, Axes axes) {
    to_.*member = take<T>(axes);
  }
  template <class S> void index(const char *, const long long *S::*member, Axes axes, Axis) {
    to_.*member = take<long long>(axes);
  }
  template <class S>
  void optional_index(const char *, const long long *S::*member, Axes axes, Axis) {
    to_.*member = take<long long>(axes);
  }
  template <class S, class High>
  void integers(const char *, const long long *S::*member, Axes axes, long long, High) {
    to_.*member = take<long long>(axes);
  }
  template <class S, class Int> void extent(Int S::*member, Axis axis, long long, long long) {
    to_.*member = static_cast<Int>(extents_[axis]);
  }
  template <class S> void number(const char *, double S::*member) { to_.*member = ::number(); }
  template <class S, class Int> void integer(const char *, Int S::*member, long long, long long) {
    to_.*member = static_cast<Int>(::number());
  }
  template <class S, int Most>
  void list(const char *, int (S::*member)[Most], int S::*count, long long, long long) {
    to_.*count = static_cast<int>(::number());
    for (int i = 0; i < to_.*count; ++i)
      (to_.*member)[i] = static_cast<int>(::number());
  }

private:
  template <class T> const T *take(Axes axes) {
    const int rank = static_cast<int>(::number());
    if (rank < 0)
      return nullptr;
    long long size = 1;
    for (int i = 0; i < rank; ++i)
      size *= extents_[axes.axis[i]] = static_cast<long long>(::number());
    T *values = new T[static_cast<std::size_t>(size)]; // until the program ends
    for (long long i = 0; i < size; ++i)
      values[i] = static_cast<T>(::number());
    return values;
  }

  Struct &to_;
  Extents &extents_;
};

// Results of one type, in the order of their list.
template <class Struct> struct Outputs {
  Struct &to;
  const Extents &extents;
  std::vector<std::pair<double *, long long>> real = {};
  std::vector<std::pair<long long *, long long>> whole = {};
  std::vector<bool> is_real = {};

  template <class S> void output(const char *, double *S::*member, Axes axes) {
    to.*member = make(real, axes, kUnset);
    is_real.push_back(true);
  }
  template <class S> void output(const char *, long long *S::*member, Axes axes) {
    to.*member = make(whole, axes, -1LL);
    is_real.push_back(false);
  }
  void print_all() const {
    std::size_t next_real = 0, next_whole = 0;
    for (const bool each : is_real)
      each ? print_one(real[next_real++]) : print_one(whole[next_whole++]);
  }

private:
  template <class T> T *make(std::vector<std::pair<T *, long long>> &all, Axes axes, T unset) {
    long long size = 1;
    for (int i = 0; i < axes.rank(); ++i)
      size *= extents[axes.axis[i]];
    T *values = new T[static_cast<std::size_t>(size)];
    std::fill(values, values + size, unset);
    all.emplace_back(values, size);
    return values;
  }
  template <class T> static void print_one(const std::pair<T *, long long> &values) {
    for (long long i = 0; i < values.second; ++i)
      std::printf("%.17g\n", static_cast<double>(values.first[i]));
  }
};

template <class Family, int Variant>
void run_one(int threads, const typename Family::Batch &batch,
             const typename Family::Settings &settings, const typename Family::Rows &rows,
             long long run, const double *packed) {
  static const int never = 0;
  static Block::Shared alone(Block::kWarp);
  HostTeam counter(Block(0, Block::kWarp, alone), nullptr, nullptr, nullptr, &never);
  const long long doubles = arena_doubles<Family, Variant>(counter, batch);
  const long long room = HostTeam::features_room(padded(Family::samples(batch)),
                                                 padded(Family::features(batch)), threads);
  std::vector<double> work(static_cast<std::size_t>(doubles), kUnset);
  on_block(threads, room > 0 ? room : 1, [&](HostTeam &team, int) {
    Arena arena(work.data());
    run_family<Family, Variant>(team, batch, settings, rows, run, packed, arena);
  });
}

template <class Family> void run_batch(int threads) {
  typename Family::Batch batch{};
  typename Family::Settings settings{};
  typename Family::Rows rows{};
  Extents extents;
  TextReader<typename Family::Batch> of_batch(batch, extents);
  Family::Batch::fields(of_batch);
  TextReader<typename Family::Settings> of_settings(settings, extents);
  Family::Settings::fields(of_settings);
  extents[Axis::kRows] = extents[Axis::kTimes] > 0 ? extents[Axis::kTimes] : 1;
  if (Family::complete(batch, extents))
    std::exit(3);
  Outputs<typename Family::Rows> outputs{rows, extents};
  Family::Rows::fields(outputs);
  const long long sets = Family::sets(batch), length = Family::packed_doubles(batch);
  std::vector<double> packed(static_cast<std::size_t>(sets * length), kUnset);
  for (long long set = 0; set < sets; ++set)
    for (long long line = 0; line < Family::lines(batch); ++line)
      Family::pack(batch, set, line, packed.data() + set * length);
  for (long long run = 0; run < batch.count; ++run) {
    const double *data = packed.data() + Family::set_of(batch, run) * length;
    with_variant<Family::kVariants>(Family::variant(batch, run), [&](auto variant) {
      run_one<Family, variant.value>(threads, batch, settings, rows, run, data);
    });
  }
  outputs.print_all();
}

template <class... Family>
bool run_named(int threads, const std::string &name, FamilyList<Family...>) {
  return ((name == Family::kName && (run_batch<Family>(threads), true)) || ...);
}

} // namespace

int main(int argc, char **argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  char name[64];
  if (std::scanf("%63s", name) != 1)
    return 2;
  return run_named(threads, name, Families{}) ? 0 : 2;
}
