// Gradient flows of matrix factorisation.
#include "../core/factorization/family.hpp"
#include "run_batch.cuh"

KRF_LAUNCH(krf::FactorFamily)
