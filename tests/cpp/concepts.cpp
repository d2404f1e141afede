// Compiles where the concepts of csrc/core notice every member of a team, a system, a method,
// events, a tangent kernel and a family that is missing.
#include "../../csrc/core/families.hpp"
#include "host_block.hpp"

namespace {

using Diagonal = DualSystem<HostTeam, Depth2Mirror>;
using Factorization = FactorSystem<HostTeam>;
using DecayedMargins = MarginDecaySystem<HostTeam, Depth2Mirror>;
using FactorMargins = FactorMarginSystem<HostTeam>;
using Mlp = MlpSystem<HostTeam>;
using Radau = Radau5<Diagonal>;
using Dopri = Dopri5<Diagonal>;
using Exponential = Etdrk4<Mlp>;
using KinkEvents = Kinks<HostTeam>;
using Kernel = DenseKernel<HostTeam>;
using Descent = GradientDescent<Mlp>;

static_assert(StiffSystem<Diagonal> && StiffSystem<Factorization> && !StiffSystem<Mlp>);
static_assert(StiffSystem<FactorMargins> && ClockedSystem<FactorMargins> &&
              !ClockedSystem<Factorization>);
static_assert(ExponentialSystem<Mlp> && DescentSystem<Mlp> && !DenseSystem<Mlp>);
static_assert(StiffStepper<Radau> && StiffStepper<Exponential> && !StiffStepper<Dopri>);
static_assert(Stepper<Dopri> && Stepper<Descent> && Events<KinkEvents>);
static_assert(TangentKernel<GridKernel<HostTeam>> && ModelFamily<LinearFamily>);
static_assert(Events<NoEvents<Diagonal>> && Mirror<Depth2Mirror> && Mirror<DeepMirror> &&
              Mirror<LogMirror>);

// A name that means something else in a derived class hides every member of that name.
#define WITHOUT(Concept, Base, member)                                                             \
  struct Concept##Without_##member : Base {                                                        \
    using Base::Base;                                                                              \
    struct member {};                                                                              \
  };                                                                                               \
  static_assert(!Concept<Concept##Without_##member>);

WITHOUT(TangentKernel, Kernel, n_samples)
WITHOUT(TangentKernel, Kernel, renew)
WITHOUT(TangentKernel, Kernel, factor)
WITHOUT(TangentKernel, Kernel, h_factored)
WITHOUT(TangentKernel, Kernel, forget)
WITHOUT(TangentKernel, Kernel, solve)
WITHOUT(TangentKernel, Kernel, factor_work)
WITHOUT(TangentKernel, Kernel, solve_work)

WITHOUT(ModelFamily, LinearFamily, Batch)
WITHOUT(ModelFamily, LinearFamily, Settings)
WITHOUT(ModelFamily, LinearFamily, Rows)
WITHOUT(ModelFamily, LinearFamily, kName)
WITHOUT(ModelFamily, LinearFamily, kVariants)
WITHOUT(ModelFamily, LinearFamily, variant)
WITHOUT(ModelFamily, LinearFamily, complete)
WITHOUT(ModelFamily, LinearFamily, refuse_values)
WITHOUT(ModelFamily, LinearFamily, sets)
WITHOUT(ModelFamily, LinearFamily, set_of)
WITHOUT(ModelFamily, LinearFamily, packed_doubles)
WITHOUT(ModelFamily, LinearFamily, lines)
WITHOUT(ModelFamily, LinearFamily, pack)
WITHOUT(ModelFamily, LinearFamily, rows_of_systems)
WITHOUT(ModelFamily, LinearFamily, features)
WITHOUT(ModelFamily, LinearFamily, samples)

WITHOUT(Team, HostTeam, cancelled)
WITHOUT(Team, HostTeam, flops)
WITHOUT(Team, HostTeam, sync)
WITHOUT(Team, HostTeam, sum)
WITHOUT(Team, HostTeam, max)
WITHOUT(Team, HostTeam, dot)
WITHOUT(Team, HostTeam, reduce)
WITHOUT(Team, HostTeam, for_each)
WITHOUT(Team, HostTeam, for_rows)
WITHOUT(Team, HostTeam, each)
WITHOUT(Team, HostTeam, once)
WITHOUT(Team, HostTeam, any)
WITHOUT(Team, HostTeam, collect)
WITHOUT(Team, HostTeam, largest)
WITHOUT(Team, HostTeam, map_features)
WITHOUT(Team, HostTeam, reflect)
WITHOUT(Team, HostTeam, add_columns)
WITHOUT(Team, HostTeam, products)
WITHOUT(Team, HostTeam, combine)
WITHOUT(Team, HostTeam, pair_dots)
WITHOUT(Team, HostTeam, subtract_pairs)
WITHOUT(Team, HostTeam, factor)
WITHOUT(Team, HostTeam, solve)
WITHOUT(Team, HostTeam, inverse_room)
WITHOUT(Team, HostTeam, invert)
WITHOUT(Team, HostTeam, multiply_symmetric)

WITHOUT(FlowSystem, Diagonal, team)
WITHOUT(FlowSystem, Diagonal, length)
WITHOUT(FlowSystem, Diagonal, field)
WITHOUT(FlowSystem, Diagonal, start)
WITHOUT(FlowSystem, Diagonal, set_accuracy)
WITHOUT(FlowSystem, Diagonal, begin_step)
WITHOUT(FlowSystem, Diagonal, loss)
WITHOUT(FlowSystem, Diagonal, rate)
WITHOUT(FlowSystem, Diagonal, predictor_norm)
WITHOUT(FlowSystem, Diagonal, step_cap)
WITHOUT(FlowSystem, Diagonal, decreases)
WITHOUT(FlowSystem, Diagonal, rest)
WITHOUT(FlowSystem, Diagonal, advance)
WITHOUT(FlowSystem, Diagonal, renew_basis)
WITHOUT(FlowSystem, Diagonal, stiff_available)
WITHOUT(FlowSystem, Diagonal, starts_stiff)
WITHOUT(FlowSystem, Diagonal, cost_ratio)
WITHOUT(FlowSystem, Diagonal, explicit_tolerance)
WITHOUT(FlowSystem, Diagonal, write_row)
WITHOUT(FlowSystem, Diagonal, write_unstarted)
WITHOUT(FlowSystem, Diagonal, kFirstStepPower)
WITHOUT(FlowSystem, Diagonal, kMaxGrowth)
WITHOUT(FlowSystem, Diagonal, kMaxFailures)

WITHOUT(TimedSystem, Diagonal, set_fraction)
WITHOUT(TimedSystem, Diagonal, own_fraction)
WITHOUT(TimedSystem, Diagonal, next_break)
WITHOUT(TimedSystem, Diagonal, ends_at_times)
WITHOUT(TimedSystem, Diagonal, loss_counts)

WITHOUT(ExplicitSystem, Diagonal, evaluate)
WITHOUT(ExplicitSystem, Diagonal, error_norm_at_end)

WITHOUT(DenseSystem, Diagonal, dense)
WITHOUT(DenseSystem, Diagonal, interpolate_state)
WITHOUT(DenseSystem, Diagonal, keep_in_domain)
WITHOUT(DenseSystem, Diagonal, write_dense_row)

WITHOUT(StiffSystem, Diagonal, start_stiff)
WITHOUT(StiffSystem, Diagonal, move_stages)
WITHOUT(StiffSystem, Diagonal, prepare)
WITHOUT(StiffSystem, Diagonal, solve)
WITHOUT(StiffSystem, Diagonal, solve_stages)
WITHOUT(StiffSystem, Diagonal, interpolate_stages)
WITHOUT(StiffSystem, Diagonal, largest_eigenvalue)
WITHOUT(StiffSystem, Diagonal, kNewtonShare)

WITHOUT(ExponentialSystem, Mlp, samples)
WITHOUT(ExponentialSystem, Mlp, tangent_kernel)
WITHOUT(ExponentialSystem, Mlp, project_gradient)
WITHOUT(ExponentialSystem, Mlp, project_along)
WITHOUT(ExponentialSystem, Mlp, dloss_df)
WITHOUT(ExponentialSystem, Mlp, shift)
WITHOUT(ExponentialSystem, Mlp, error_norm_of)

WITHOUT(DescentSystem, Mlp, descend)
WITHOUT(DescentSystem, Mlp, accept_descent)

WITHOUT(Stepper, Dopri, attempt)
WITHOUT(Stepper, Dopri, accept)
WITHOUT(Stepper, Dopri, tolerance)
WITHOUT(Stepper, Dopri, step_factor)
WITHOUT(Stepper, Dopri, end_field)
WITHOUT(Stepper, Dopri, kChecksLoss)
WITHOUT(Stepper, Dopri, n_rhs)

WITHOUT(StiffStepper, Radau, start)
WITHOUT(StiffStepper, Radau, restart)
WITHOUT(StiffStepper, Radau, history)
WITHOUT(StiffStepper, Radau, largest_eigenvalue)
WITHOUT(StiffStepper, Radau, kKeepsMatrices)

WITHOUT(Events, KinkEvents, resolve)
WITHOUT(Events, KinkEvents, n_rhs)

WITHOUT(Mirror, Depth2Mirror, kArrays)
WITHOUT(Mirror, Depth2Mirror, set_accuracy)
WITHOUT(Mirror, Depth2Mirror, start)
WITHOUT(Mirror, Depth2Mirror, evaluate)
WITHOUT(Mirror, Depth2Mirror, advance)
WITHOUT(Mirror, Depth2Mirror, weights)
WITHOUT(Mirror, Depth2Mirror, step_cap)
WITHOUT(Mirror, Depth2Mirror, damping)
WITHOUT(Mirror, Depth2Mirror, rescale)
WITHOUT(Mirror, Depth2Mirror, dual_scale)
WITHOUT(Mirror, Depth2Mirror, restore)
WITHOUT(Mirror, Depth2Mirror, shrink)

} // namespace

int main() {}
