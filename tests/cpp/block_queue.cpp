// Teams of host threads that draw runs:   block_queue THREADS < problem > result
//
// THREADS a block; problem, as text: blocks a team, teams, runs, whether to cancel before the
// first, then the order of the runs.  result: how often each run was drawn, how many were finished
// by the device's count and by the host's, and how often a team found another's numbers in its
// memory.
#include "host_block.hpp"

#include "../../csrc/cuda/team_queue.hpp"

int main(int argc, char **argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const int cluster = static_cast<int>(number()), teams = static_cast<int>(number());
  const auto count = static_cast<long long>(number());
  volatile int control[2] = {static_cast<int>(number()), 0};
  std::vector<long long> order;
  for (long long i = 0; i < count; ++i)
    order.push_back(static_cast<long long>(number()));
  long long next = 0, finished = 0;
  const cuda::Queue queue{order.data(), count, &next, &finished, control};

  const int members = threads * cluster, run_room = 3 * members + 1;
  cuda::Plan plan{threads, cluster, teams, 0, 5};
  plan.doubles_per_team = workspace_of<HostTeam>(plan, run_room);
  std::vector<double> workspace(static_cast<std::size_t>(teams * plan.doubles_per_team), kUnset);
  std::vector<double> drawn(static_cast<std::size_t>(count));
  std::vector<std::vector<double>> exchange, tile;
  std::vector<std::unique_ptr<Block::Shared>> shared;
  for (int t = 0; t < teams; ++t) {
    exchange.emplace_back(static_cast<std::size_t>(HostTeam::exchange_room(threads)), kUnset);
    tile.emplace_back(static_cast<std::size_t>(HostTeam::tile_room()), kUnset);
    shared.push_back(std::make_unique<Block::Shared>(members));
  }
  std::atomic<long long> strange{0};
  std::vector<std::thread> all;
  for (int t = 0; t < teams; ++t)
    for (int rank = 0; rank < members; ++rank)
      all.emplace_back([&, t, rank] {
        const TeamMemory memory =
            memory_of<HostTeam>(plan, workspace.data(), t, exchange[t].data());
        HostTeam team(Block(rank, members, *shared[t]), memory.exchange, tile[t].data(),
                      memory.features, const_cast<const int *>(control));
        draw_runs(team, queue, memory.run, [&](long long run, Arena &arena) {
          double *mine = arena.take(run_room);
          team.each(run_room, [&](int i) { mine[i] = static_cast<double>(run); });
          team.each(5, [&](int i) { memory.features[i] = static_cast<double>(run); });
          double other = 0;
          for (int i = 0; i < run_room; ++i)
            other += mine[i] != static_cast<double>(run);
          for (int i = 0; i < 5; ++i)
            other += memory.features[i] != static_cast<double>(run);
          strange += static_cast<long long>(team.sum(other));
          team.once([&] { drawn[run] += 1; });
        });
      });
  for (auto &member : all)
    member.join();
  print(drawn);
  print({static_cast<double>(finished), static_cast<double>(control[1]),
         static_cast<double>(strange.load())});
}
