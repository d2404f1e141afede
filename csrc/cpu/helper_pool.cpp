#include "helper_pool.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "block.hpp"

namespace krf::cpu {
namespace {

// An idle thread looks for pieces this often before it sleeps, some tens of microseconds where
// threads are few: longer than most runs take between two large operations.
constexpr int kLooks = 2000;
// And one that waits for the last pieces this often before it lets another thread have its core.
constexpr int kWaits = 20000;

std::atomic<long long> pieces_helped{0};

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// What one thread offers.  A ticket is the number of the operation and that of its next piece; it
// is closed while the operation is described, so that a thread that still holds an old ticket
// cannot take a piece of the new operation by it.
struct alignas(64) Slot {
  static constexpr std::uint64_t kClosed = 0xffffffffu;

  std::atomic<std::uint64_t> ticket{kClosed};
  std::atomic<HelperPool::Piece> piece{nullptr};
  std::atomic<const void *> context{nullptr};
  std::atomic<int> count{0}, left{0};

  void offer(int pieces, HelperPool::Piece what, const void *with) {
    const std::uint64_t operation = (ticket.load(std::memory_order_relaxed) >> 32) + 1;
    ticket.store(operation << 32 | kClosed, std::memory_order_seq_cst);
    piece.store(what, std::memory_order_release);
    context.store(with, std::memory_order_release);
    count.store(pieces, std::memory_order_release);
    left.store(pieces, std::memory_order_release);
    ticket.store(operation << 32, std::memory_order_release);
  }
  // Does one piece; false where none is left.
  bool take() {
    std::uint64_t seen = ticket.load(std::memory_order_acquire);
    for (;;) {
      const auto index = static_cast<std::uint32_t>(seen);
      const auto what = piece.load(std::memory_order_acquire);
      const auto with = context.load(std::memory_order_acquire);
      if (index == kClosed || static_cast<int>(index) >= count.load(std::memory_order_acquire))
        return false;
      if (ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
        what(with, static_cast<int>(index));
        left.fetch_sub(1, std::memory_order_acq_rel);
        return true;
      }
    }
  }
};

} // namespace

struct HelperPool::State {
  explicit State(int slots) : slot(static_cast<std::size_t>(slots)) {}

  std::vector<Slot> slot;
  std::atomic<int> idle{0}, asleep{0};
  std::atomic<unsigned> offers{0};
  std::atomic<bool> closed{false};
  std::mutex mutex;
  std::condition_variable changed;

  void wake() {
    if (asleep.load(std::memory_order_seq_cst) == 0)
      return;
    {
      std::lock_guard lock(mutex);
    }
    changed.notify_all();
  }
  bool take_any() {
    for (Slot &each : slot)
      if (each.take())
        return true;
    return false;
  }
  void sleep(unsigned seen) {
    std::unique_lock lock(mutex);
    asleep.fetch_add(1, std::memory_order_seq_cst);
    changed.wait(lock, [&] {
      return closed.load(std::memory_order_seq_cst) ||
             offers.load(std::memory_order_seq_cst) != seen;
    });
    asleep.fetch_sub(1, std::memory_order_seq_cst);
  }
};

HelperPool::HelperPool(int slots) : state_(new State(slots)) {}
HelperPool::~HelperPool() { delete state_; }

long long pieces_of_helpers() { return pieces_helped.load(std::memory_order_relaxed); }

bool HelperPool::has_helpers() const { return state_->idle.load(std::memory_order_relaxed) > 0; }

void HelperPool::share(int slot, int count, Piece piece, const void *context) {
  Slot &own = state_->slot[static_cast<std::size_t>(slot)];
  own.offer(count, piece, context);
  state_->offers.fetch_add(1, std::memory_order_seq_cst);
  state_->wake();
  while (own.take()) {
  }
  for (int waits = 0; own.left.load(std::memory_order_acquire) > 0; ++waits)
    if (waits < kWaits)
      pause();
    else
      std::this_thread::yield();
}

void HelperPool::help() {
  State &s = *state_;
  s.idle.fetch_add(1, std::memory_order_relaxed);
  for (int looks = 0; !s.closed.load(std::memory_order_acquire);) {
    const unsigned seen = s.offers.load(std::memory_order_seq_cst);
    if (s.take_any()) {
      pieces_helped.fetch_add(1, std::memory_order_relaxed);
      looks = 0;
    } else if (++looks < kLooks) {
      pause();
    } else {
      s.sleep(seen);
      looks = 0;
    }
  }
  s.idle.fetch_sub(1, std::memory_order_relaxed);
}

void HelperPool::close() {
  state_->closed.store(true, std::memory_order_seq_cst);
  {
    std::lock_guard lock(state_->mutex);
  }
  state_->changed.notify_all();
}

double *thread_memory(std::size_t doubles) {
  thread_local Block block;
  thread_local std::size_t size = 0;
  if (doubles > size) {
    block.reset();
    size = 0;
    block = allocate(static_cast<long long>(doubles));
    size = doubles;
  }
  return block.get();
}

} // namespace krf::cpu
