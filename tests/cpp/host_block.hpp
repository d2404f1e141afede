// What the programs here share: numbers as text in and out, and a block of host threads.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cuda/block_team.hpp"
#include "thread_block.hpp"

using namespace krf;
using Team = BlockTeam<ThreadBlock>;

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

// Calls body(team) on every member of a block, and with a team that only counts before.
template <class Body> void on_block(int threads, long long room, const Body &body) {
  std::barrier<> barrier(threads);
  std::vector<double> exchange(static_cast<std::size_t>(Team::exchange_room(threads))),
      features(static_cast<std::size_t>(room));
  const int never = 0;
  std::vector<std::thread> members;
  for (int rank = 0; rank < threads; ++rank)
    members.emplace_back([&, rank] {
      Team team(ThreadBlock{rank, threads, &barrier}, exchange.data(), features.data(), &never);
      body(team, rank);
    });
  for (auto &member : members)
    member.join();
}
