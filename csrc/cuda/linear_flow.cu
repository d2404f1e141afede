// Gradient flows of linear networks.
#include "../core/linear/family.hpp"
#include "run_batch.cuh"

KRF_LAUNCH(krf::LinearFamily)
