// Threads without a run of their own help those that have one: a large operation of a run is cut
// into pieces, which any thread of the batch may do.
//
// Who does a piece, and when, changes no result: pieces write different memory, and what is summed
// over pieces is summed in their order once all are done.
#pragma once

#include <cstddef>

namespace krf::cpu {

// A matrix of this order or more is larger than the second cache: its algebra is blocked and cut.
inline constexpr int kLargeOrder = 400;
// And a pass over this many entries is cut.
inline constexpr double kLargePass = 1 << 18;

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
  // Whether a thread waits to help.
  bool has_idle() const;

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

// Memory of the calling thread, aligned for vector registers, that grows to what was asked for and
// lasts until the thread ends.  What it holds does not last: the next call may move it.  For the
// thread of a run, outside of pieces: a piece must not throw.
double *thread_memory(std::size_t doubles);

} // namespace krf::cpu
