// Diagonal networks of any depth: the flow of the dual.
#pragma once

#include "../ode/integrate.hpp"
#include "../ode/radau5.hpp"
#include "dual_system.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, Mirror MirrorT>
using DiagonalFlow = Integrator<DualSystem<TeamT, MirrorT>, Radau5<DualSystem<TeamT, MirrorT>>,
                                NoEvents<DualSystem<TeamT, MirrorT>>>;

KRF_END_NAMESPACE
