// The model families: the only list of them.
#pragma once

#include "diagonal/family.hpp"
#include "factorization/family.hpp"
#include "linear/family.hpp"
#include "mlp/family.hpp"

namespace krf {

using Families = FamilyList<DiagonalFlowFamily, DiagonalLimitFamily, MarginFlowFamily, FactorFamily,
                            FactorMarginFamily, LinearFamily, MlpFamily>;

} // namespace krf
