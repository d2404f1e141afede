// Diagonal networks of any depth: the flow of the dual.
#pragma once

#include "../ode/integrate.hpp"
#include "../ode/radau5.hpp"
#include "dual_system.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, class Mirror>
using DiagonalFlow = Integrator<DualSystem<TeamT, Mirror>, Radau5<DualSystem<TeamT, Mirror>>,
                                NoEvents<DualSystem<TeamT, Mirror>>>;

KRF_END_NAMESPACE
