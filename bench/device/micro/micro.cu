// Five experiments on how the runs of a batch should share a device.  Each result is a JSON line.
//
//   nvcc -O3 -std=c++20 -arch=sm_90 micro.cu -o micro && ./micro
//
// 1 rates of double precision    2 a pass over X for groups of runs    3 a run's inner solve
// 4 inverses in single precision 5 what a kernel costs in a graph
#include "inner.cuh"
#include "invert.cuh"
#include "rates.cuh"
#include "sweep.cuh"

__global__ void empty_kernel(double *x) {
  if (x && threadIdx.x == 9999)
    *x = 1;
}

static void graphs(int processors) {
  constexpr int kKernels = 192;
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  for (int blocks : {1, processors, 4 * processors}) {
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int i = 0; i < kKernels; ++i)
      empty_kernel<<<blocks, 128, 0, stream>>>(nullptr);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&ready, graph, 0));
    const Times t = microseconds([&] { CHECK(cudaGraphLaunch(ready, stream)); }, stream);
    std::printf("{\"experiment\": \"graph\", \"blocks\": %d, \"us_a_kernel\": %.3f, "
                "\"spread\": %.3f}\n",
                blocks, t.median / kKernels, t.spread / kKernels);
    CHECK(cudaGraphExecDestroy(ready));
    CHECK(cudaGraphDestroy(graph));
  }
  CHECK(cudaStreamDestroy(stream));
}

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0); // a time-out keeps what is done
  cudaDeviceProp device;
  CHECK(cudaGetDeviceProperties(&device, 0));
  std::printf("{\"device\": \"%s\", \"processors\": %d, \"l2_mb\": %.1f}\n", device.name,
              device.multiProcessorCount, device.l2CacheSize / 1e6);
  // The two that decide most come first.
  sweeps(device.multiProcessorCount);
  inner_solves();
  rates(device.multiProcessorCount);
  inverses();
  graphs(device.multiProcessorCount);
  return 0;
}
