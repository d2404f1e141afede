// The Python entry points of the GPU. Arrays belong to CuPy and are passed as addresses, with the
// current stream; kernelrich_fast/backends/cuda.py lays them out and keeps them alive during the
// call.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "../cuda/launch.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace {

using Address = std::uintptr_t;

template <class T> T *pointer(const py::dict &arrays, const char *name) {
  return reinterpret_cast<T *>(arrays[name].cast<Address>());
}
template <class T> T number(const py::dict &arrays, const char *name) {
  return arrays[name].cast<T>();
}

krf::cuda::DiagonalBatch diagonal_batch(const py::dict &a) {
  return {number<int>(a, "n"),
          number<int>(a, "d"),
          number<int>(a, "depth"),
          pointer<double>(a, "X"),
          pointer<double>(a, "feature_norm"),
          pointer<double>(a, "y"),
          pointer<double>(a, "loss_offset"),
          pointer<double>(a, "profile_plus"),
          pointer<double>(a, "profile_minus"),
          pointer<long long>(a, "x_index"),
          pointer<long long>(a, "y_index"),
          pointer<long long>(a, "w_index"),
          pointer<double>(a, "alpha")};
}

krf::cuda::FactorBatch factor_batch(const py::dict &a) {
  return {number<int>(a, "n"),
          number<int>(a, "p"),
          number<int>(a, "q"),
          number<int>(a, "c0"),
          number<int>(a, "n_samples"),
          number<int>(a, "rank"),
          pointer<int>(a, "row"),
          pointer<int>(a, "column"),
          pointer<double>(a, "X"),
          number<double>(a, "X_norm"),
          pointer<double>(a, "y"),
          pointer<double>(a, "starts"),
          pointer<double>(a, "scale"),
          pointer<long long>(a, "y_index"),
          pointer<long long>(a, "start_index"),
          pointer<long long>(a, "entry_index")};
}

krf::cuda::MlpBatch mlp_batch(const py::dict &a) {
  krf::cuda::MlpBatch b{};
  const auto units = a["units"].cast<std::vector<int>>();
  const int depth = static_cast<int>(units.size()) - 1;
  if (depth < 2 || depth > krf::kMaxDepth)
    throw std::invalid_argument("internal shape error: depth");
  b.shape.n = number<int>(a, "n");
  b.shape.depth = depth;
  b.shape.copies = number<int>(a, "copies");
  b.shape.bias = number<int>(a, "bias");
  std::copy(units.begin(), units.end(), b.shape.units);
  b.shape.loss = static_cast<krf::LossKind>(number<int>(a, "loss"));
  b.n_weights = number<long long>(a, "n_weights");
  b.step_size = number<double>(a, "step_size");
  b.X = pointer<double>(a, "X");
  b.y = pointer<double>(a, "y");
  b.w0 = pointer<double>(a, "w0");
  b.alpha = pointer<double>(a, "alpha");
  b.x_index = pointer<long long>(a, "x_index");
  b.y_index = pointer<long long>(a, "y_index");
  b.w_index = pointer<long long>(a, "w_index");
  return b;
}

krf::FlowSettings settings_of(const py::dict &a) {
  return {pointer<double>(a, "rtol"),        pointer<double>(a, "t_max"),
          pointer<double>(a, "stop_loss"),   number<double>(a, "atol"),
          number<long long>(a, "max_steps"), number<int>(a, "method"),
          pointer<double>(a, "t_eval"),      number<int>(a, "n_eval")};
}

krf::cuda::DiagonalResults diagonal_results(const py::dict &a) {
  return {pointer<double>(a, "beta"),     pointer<double>(a, "w_plus"),
          pointer<double>(a, "w_minus"),  pointer<double>(a, "dual"),
          pointer<double>(a, "loss"),     pointer<double>(a, "t"),
          pointer<int>(a, "status"),      pointer<long long>(a, "n_steps"),
          pointer<long long>(a, "n_rhs"), pointer<double>(a, "n_flops")};
}

krf::cuda::Plan plan_of(const py::dict &a) {
  return {number<int>(a, "threads"), number<int>(a, "cluster"), number<int>(a, "teams"),
          number<long long>(a, "doubles_per_team"), number<long long>(a, "features_room")};
}

py::dict as_dict(const krf::cuda::Plan &plan) {
  return py::dict("threads"_a = plan.threads, "cluster"_a = plan.cluster, "teams"_a = plan.teams,
                  "doubles_per_team"_a = plan.doubles_per_team,
                  "features_room"_a = plan.features_room);
}

// Waits for what `launch` puts on the stream; the GIL is held only for signals and progress.
template <class Launch>
void run(const py::dict &queue, Address stream, const py::object &progress, const Launch &launch) {
  volatile int *device_view = nullptr;
  volatile int *control = krf::cuda::new_control(&device_view);
  void *event = nullptr;
  bool interrupted = false;
  long long done = 0; // the largest count seen, because teams write theirs in any order
  const auto watch = [&] {
    py::gil_scoped_acquire gil;
    bool wanted = PyErr_CheckSignals() == 0;
    done = std::max<long long>(done, control[1]);
    if (wanted && !progress.is_none())
      try {
        progress(done);
      } catch (py::error_already_set &error) {
        error.restore();
        wanted = false;
      }
    if (!wanted) {
      interrupted = true;
      control[0] = 1; // the blocks see it within sixteen steps
    }
  };
  try {
    const krf::cuda::Queue device_queue{
        pointer<long long>(queue, "order"), number<long long>(queue, "count"),
        pointer<long long>(queue, "next"), pointer<long long>(queue, "finished"), device_view};
    py::gil_scoped_release release;
    launch(device_queue);
    event = krf::cuda::record(reinterpret_cast<void *>(stream));
    auto seen = std::chrono::steady_clock::now();
    while (!krf::cuda::finished(event)) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      const auto now = std::chrono::steady_clock::now();
      if (!interrupted && now - seen > std::chrono::milliseconds(50)) {
        seen = now;
        watch();
      }
    }
  } catch (...) {
    if (event)
      krf::cuda::forget(event);
    krf::cuda::free_control(control);
    throw;
  }
  krf::cuda::forget(event);
  krf::cuda::free_control(control);
  if (interrupted)
    throw py::error_already_set();
}

// Of a block: whole warps, at most what the kernels are compiled for.
int checked(int threads) {
  if (threads < 0 || threads > 256 || threads % 32 != 0)
    throw std::invalid_argument("internal shape error: threads");
  return threads;
}

void *stream_of(Address stream) { return reinterpret_cast<void *>(stream); }

} // namespace

PYBIND11_MODULE(_cuda, m, py::mod_gil_not_used(), py::multiple_interpreters::not_supported()) {
  m.doc() = "CUDA executor of kernelrich_fast";
  py::register_exception_translator([](std::exception_ptr failure) {
    try {
      if (failure)
        std::rethrow_exception(failure);
    } catch (const krf::cuda::CudaError &error) {
      PyErr_SetString(error.out_of_memory ? PyExc_MemoryError : PyExc_RuntimeError, error.what());
    }
  });
  m.def("device_count", &krf::cuda::device_count);
  m.def("plan_diagonal_flow", [](const py::dict &a, int threads) {
    return as_dict(krf::cuda::plan_diagonal_flow(diagonal_batch(a), checked(threads)));
  });
  m.def("plan_diagonal_limit", [](const py::dict &a, int threads) {
    return as_dict(krf::cuda::plan_diagonal_limit(diagonal_batch(a), checked(threads)));
  });
  m.def("plan_factor_flow", [](const py::dict &a, int threads) {
    return as_dict(krf::cuda::plan_factor_flow(factor_batch(a), checked(threads)));
  });
  m.def("plan_mlp_flow", [](const py::dict &a, int threads) {
    return as_dict(krf::cuda::plan_mlp_flow(mlp_batch(a), checked(threads)));
  });
  m.def("pack",
        [](Address X, long long count, int n, int d, Address packed, Address norm, Address stream) {
          krf::cuda::launch_pack(reinterpret_cast<double *>(X), count, n, d,
                                 reinterpret_cast<double *>(packed),
                                 reinterpret_cast<double *>(norm), stream_of(stream));
        });
  m.def("plan_part", [](int n, int columns, int threads, int cluster) {
    return as_dict(krf::cuda::plan_part(n, columns, threads, cluster));
  });
  m.def("part", [](int part, int n, int columns, Address A, Address B, Address out,
                   const py::dict &plan, Address workspace, Address never, Address stream) {
    if (part < 0 || part > 7)
      throw std::invalid_argument("internal shape error: part");
    krf::cuda::launch_part(part, n, columns, reinterpret_cast<double *>(A),
                           reinterpret_cast<double *>(B), reinterpret_cast<double *>(out),
                           plan_of(plan), reinterpret_cast<double *>(workspace),
                           reinterpret_cast<int *>(never), stream_of(stream));
  });
  m.def("draw", [](const py::dict &queue, Address drawn, const py::dict &plan, Address workspace,
                   Address stream) {
    const auto p = plan_of(plan);
    run(queue, stream, py::none(), [&](const krf::cuda::Queue &q) {
      krf::cuda::launch_draw(q, reinterpret_cast<int *>(drawn), p,
                             reinterpret_cast<double *>(workspace), stream_of(stream));
    });
  });
  m.def("diagonal_flow", [](const py::dict &batch, const py::dict &settings,
                            const py::dict &results, const py::dict &queue, const py::dict &plan,
                            Address workspace, Address stream, const py::object &progress) {
    const auto b = diagonal_batch(batch);
    const auto s = settings_of(settings);
    const auto r = diagonal_results(results);
    const auto p = plan_of(plan);
    run(queue, stream, progress, [&](const krf::cuda::Queue &q) {
      krf::cuda::launch_diagonal_flow(b, s, r, q, p, reinterpret_cast<double *>(workspace),
                                      stream_of(stream));
    });
  });
  m.def("diagonal_limit", [](const py::dict &batch, double tolerance, int max_iterations,
                             const py::dict &results, const py::dict &queue, const py::dict &plan,
                             Address workspace, Address stream, const py::object &progress) {
    const auto b = diagonal_batch(batch);
    const auto r = diagonal_results(results);
    const auto p = plan_of(plan);
    run(queue, stream, progress, [&](const krf::cuda::Queue &q) {
      krf::cuda::launch_diagonal_limit(b, tolerance, max_iterations, r, q, p,
                                       reinterpret_cast<double *>(workspace), stream_of(stream));
    });
  });
  m.def("factor_flow", [](const py::dict &batch, const py::dict &settings, const py::dict &results,
                          const py::dict &queue, const py::dict &plan, Address workspace,
                          Address stream, const py::object &progress) {
    const auto b = factor_batch(batch);
    const auto s = settings_of(settings);
    const krf::cuda::FactorResults r{
        pointer<double>(results, "W"),          pointer<double>(results, "loss"),
        pointer<double>(results, "t"),          pointer<int>(results, "status"),
        pointer<long long>(results, "n_steps"), pointer<long long>(results, "n_rhs"),
        pointer<double>(results, "n_flops")};
    const auto p = plan_of(plan);
    run(queue, stream, progress, [&](const krf::cuda::Queue &q) {
      krf::cuda::launch_factor_flow(b, s, r, q, p, reinterpret_cast<double *>(workspace),
                                    stream_of(stream));
    });
  });
  m.def("mlp_flow", [](const py::dict &batch, const py::dict &settings, const py::dict &results,
                       const py::dict &queue, const py::dict &plan, Address workspace,
                       Address stream, const py::object &progress) {
    const auto b = mlp_batch(batch);
    const auto s = settings_of(settings);
    const krf::cuda::MlpResults r{
        pointer<double>(results, "w"),          pointer<double>(results, "loss"),
        pointer<double>(results, "t"),          pointer<int>(results, "status"),
        pointer<long long>(results, "n_steps"), pointer<long long>(results, "n_rhs"),
        pointer<double>(results, "n_flops")};
    const auto p = plan_of(plan);
    run(queue, stream, progress, [&](const krf::cuda::Queue &q) {
      krf::cuda::launch_mlp_flow(b, s, r, q, p, reinterpret_cast<double *>(workspace),
                                 stream_of(stream));
    });
  });
}
