// What the programs here share: numbers as text in and out, and a block of host threads, of which
// each is a warp, or with KRF_WARPS 32 play one.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cuda/block_team.hpp"
#ifdef KRF_WARPS
#include "warp_block.hpp"
#else
#include "thread_block.hpp"
#endif

using namespace krf;
#ifdef KRF_WARPS
using Block = WarpBlock;
#else
using Block = ThreadBlock;
#endif
using HostTeam = BlockTeam<Block>;
static_assert(Team<HostTeam>);

// What memory may hold that a device gives.
inline const double kUnset = std::nan("");

inline double number() {
  char word[64];
  if (std::scanf("%63s", word) != 1)
    std::exit(2);
  return std::strtod(word, nullptr);
}
inline std::vector<double> numbers(long long count) {
  std::vector<double> out(static_cast<std::size_t>(count));
  for (double &x : out)
    x = number();
  return out;
}
inline void print(const std::vector<double> &values) {
  for (double x : values)
    std::printf("%.17g\n", x);
}

// Calls body(team, rank) on every member of a block.
template <class Body> void on_block(int threads, long long room, const Body &body) {
  Block::Shared shared(threads);
  std::vector<double> exchange(static_cast<std::size_t>(HostTeam::exchange_room(threads)), kUnset),
      tile(HostTeam::tile_room(), kUnset), features(static_cast<std::size_t>(room), kUnset);
  const int never = 0;
  std::vector<std::thread> members;
  for (int rank = 0; rank < threads; ++rank)
    members.emplace_back([&, rank] {
      HostTeam team(Block(rank, threads, shared), exchange.data(), tile.data(), features.data(),
                    &never);
      team.begin();
      body(team, rank);
    });
  for (auto &member : members)
    member.join();
}
