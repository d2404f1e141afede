// Gradient flows of diagonal networks under a margin loss.
#include "../core/diagonal/family.hpp"
#include "run_batch.cuh"

KRF_LAUNCH(krf::MarginFlowFamily)
