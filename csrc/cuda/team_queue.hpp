// Persistent teams: where each has its memory, and how it draws runs until the queue is empty.
#pragma once

#include "block_team.hpp"
#include "launch.hpp"

KRF_BEGIN_NAMESPACE

// A team's part of the workspace: what members of several thread blocks exchange, for one block is
// in its shared memory; then its features; then the run.
template <class Team>
KRF_HD long long workspace_of(const cuda::Plan &plan, long long doubles_of_a_run) {
  const long long exchange =
      plan.cluster > 1 ? padded(Team::exchange_room(plan.threads * plan.cluster)) : 0;
  return exchange + padded(plan.features_room) + padded(doubles_of_a_run);
}

struct TeamMemory {
  double *exchange, *features, *run;
};
template <class Team>
KRF_HD TeamMemory memory_of(const cuda::Plan &plan, double *workspace, long long team,
                            double *of_a_block) {
  double *mine = workspace + team * plan.doubles_per_team;
  TeamMemory memory{of_a_block, mine, nullptr};
  if (plan.cluster > 1) {
    memory.exchange = mine;
    memory.features += padded(Team::exchange_room(plan.threads * plan.cluster));
  }
  memory.run = memory.features + padded(plan.features_room);
  return memory;
}

// body(run, arena) for every run drawn.
template <class Team, class Body>
KRF_HD void draw_runs(Team &team, const cuda::Queue &queue, double *memory, Body body) {
  for (;;) {
    team.begin();
    const long long at = team.agree([&] { return Team::Block::add(queue.next); });
    if (at >= queue.count || team.cancelled())
      return;
    Arena arena(memory);
    body(queue.order[at], arena);
    // The count is the device's; the host's word is only written, in any order.
    team.once(
        [&] { Team::Block::tell(queue.host_control + 1, Team::Block::add(queue.finished) + 1); });
  }
}

KRF_END_NAMESPACE
