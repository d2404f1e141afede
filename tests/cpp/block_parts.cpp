// One primitive of a block team on host threads:   block_parts THREADS < problem > result
//
// problem, as text: the part's number, n, m, the lengths of A, B and out, then A and B.
#include "host_block.hpp"

#include "../../csrc/cuda/team_parts.hpp"

int main(int argc, char **argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const int part = static_cast<int>(number()), n = static_cast<int>(number()),
            m = static_cast<int>(number());
  const auto a = static_cast<long long>(number()), b = static_cast<long long>(number()),
             length = static_cast<long long>(number());
  const std::vector<double> A = numbers(a), B = numbers(b);
  std::vector<double> out(static_cast<std::size_t>(length)),
      scratch(static_cast<std::size_t>(part_scratch(n, m)), kUnset);
  on_block(threads, HostTeam::features_room(padded(n), padded(m), threads),
           [&](HostTeam &team, int) {
             run_part(team, static_cast<Part>(part), n, m, A.data(), B.data(), out.data(),
                      scratch.data());
           });
  print(out);
}
