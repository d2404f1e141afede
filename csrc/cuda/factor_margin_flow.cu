// Gradient flows of matrix factorisation under a margin loss.
#include "../core/factorization/family.hpp"
#include "run_batch.cuh"

KRF_LAUNCH(krf::FactorMarginFamily)
