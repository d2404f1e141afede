// ReLU networks: the flow of the weights, from kink to kink, and gradient descent.
#pragma once

#include "../ode/etdrk4.hpp"
#include "../ode/integrate.hpp"
#include "kinks.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT>
using MlpFlow = Integrator<MlpSystem<TeamT>, Etdrk4<MlpSystem<TeamT>>, Kinks<TeamT>>;

KRF_END_NAMESPACE
