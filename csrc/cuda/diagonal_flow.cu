// Gradient flows of diagonal networks.
#include "../core/diagonal/family.hpp"
#include "run_batch.cuh"

KRF_LAUNCH(krf::DiagonalFlowFamily)
