// Gradient flows of ReLU networks.
#include "../core/mlp/family.hpp"
#include "run_batch.cuh"

KRF_LAUNCH(krf::MlpFamily)
