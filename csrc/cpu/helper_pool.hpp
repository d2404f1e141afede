// Threads without a run of their own help those that have one: a large operation of a run is cut
// into pieces, which any thread of the batch may do.
//
// Who does a piece, and when, changes no result: pieces write different memory, and what is summed
// over pieces is summed in their order once all are done.
#pragma once

#include <cstddef>

namespace krf::cpu {

// The algebra of a matrix of this order or more, of over a megabyte, is blocked and cut.
inline constexpr int kLargeOrder = 400;
// From this many entries of X on, threads beyond the number of runs are started to help.
inline constexpr double kWorthThreads = 1 << 18;

class HelperPool {
public:
  using Piece = void (*)(const void *context, int piece);

  // For runs on at most `slots` threads.
  explicit HelperPool(int slots);
  ~HelperPool();
  HelperPool(const HelperPool &) = delete;
  HelperPool &operator=(const HelperPool &) = delete;

  // Calls piece(context, i) for all i < count, on the calling thread and those that help, and
  // returns when all are done.  `slot` is the caller's own.  A piece must not throw.
  void share(int slot, int count, Piece piece, const void *context);
  // Helps others, until close().
  void help();
  void close();
  // Whether there are threads that help.
  bool has_helpers() const;

private:
  struct State;
  State *state_;
};

// How the team of one run reaches the pool; the team of a run that has none works alone.  Without
// functions: this header is compiled once per instruction set.
struct Helpers {
  HelperPool *pool = nullptr;
  int slot = 0;
};

// For tests: how many pieces helping threads have done in this process.
long long pieces_of_helpers();

// Memory of the calling thread, aligned for vector registers, at least as long as was asked for.
// Each call may move it, which voids earlier pointers.  Not to be called in a piece: it may throw.
double *thread_memory(std::size_t doubles);

} // namespace krf::cpu
