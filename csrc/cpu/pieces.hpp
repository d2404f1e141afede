// Large operations in pieces, which the threads of a batch share.
//
// How an operation is cut depends on its sizes alone, and what is summed over pieces is summed in
// their order: results do not depend on the number of threads.
#pragma once

#include "helper_pool.hpp"
#include "lanes.hpp"

KRF_BEGIN_NAMESPACE

class Pieces {
public:
  explicit Pieces(const int *cancel, cpu::Helpers helpers = {})
      : cancel_(cancel), helpers_(helpers) {}

  bool cancelled() const { return __atomic_load_n(cancel_, __ATOMIC_RELAXED) != 0; }

  // body(piece) for all pieces, in any order, on any thread; it must not throw, so it allocates
  // nothing.
  template <class Body> void run(int count, const Body &body) const {
    if (count > 1 && helpers_.pool && helpers_.pool->has_helpers()) {
      helpers_.pool->share(helpers_.slot, count, call<Body>, &body);
    } else {
      for (int piece = 0; piece < count; ++piece)
        call<Body>(&body, piece);
    }
  }
  // body(first, last) over 0 .. count in pieces of `length`.
  template <class Body> void run_ranges(int count, int length, const Body &body) const {
    run((count + length - 1) / length, [&](int piece) {
      const int first = piece * length, last = first + length;
      body(first, last < count ? last : count);
    });
  }

private:
  // One copy for both branches of `run`: in two, the compiler might fuse different multiply-adds.
  template <class Body> [[gnu::noinline]] static void call(const void *body, int piece) {
    (*static_cast<const Body *>(body))(piece);
  }

  const int *cancel_;
  cpu::Helpers helpers_;
};

KRF_END_NAMESPACE
