// Matrix factorisation: the flow of a factor of the lifted Gram matrix.
#pragma once

#include "../ode/integrate.hpp"
#include "../ode/radau5.hpp"
#include "factor_system.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT>
using FactorFlow =
    Integrator<FactorSystem<TeamT>, Radau5<FactorSystem<TeamT>>, NoEvents<FactorSystem<TeamT>>>;

KRF_END_NAMESPACE
