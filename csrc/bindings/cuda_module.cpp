// The Python entry points of the GPU. Arrays belong to CuPy and are read by the CUDA array
// interface, used on the current stream; kernelrich_fast/backends/cuda.py keeps them alive during
// the call.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "../core/families.hpp"
#include "../cuda/launch.hpp"
#include "bind_family.hpp"

using namespace krf::bindings;
using namespace py::literals;

namespace {

using Address = std::uintptr_t;

template <class T> T number(const py::dict &arrays, const char *name) {
  return arrays[name].cast<T>();
}

// Of an array of one axis with room for so many.
template <class T> T *pointer(const py::object &array, const char *name, long long least) {
  const auto view = view_on_device<T>(array.attr("__cuda_array_interface__"), name, true);
  if (view.rank != 1 || view.shape[0] < least)
    refuse(name, "expected one axis of at least " + std::to_string(least) + ", got shape " +
                     text_of(view));
  return static_cast<T *>(view.data);
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

// A queue's control, and the event at the end of its launch.  The driver may wait for the device
// when mapped memory is allocated or freed, so other threads have the GIL meanwhile.
class Control {
public:
  Control() {
    const py::gil_scoped_release release;
    host = krf::cuda::new_control(&device_view);
  }
  ~Control() {
    const py::gil_scoped_release release;
    if (event)
      krf::cuda::forget(event);
    krf::cuda::free_control(host);
  }
  Control(const Control &) = delete;
  Control &operator=(const Control &) = delete;

  volatile int *host = nullptr, *device_view = nullptr;
  void *event = nullptr;
};

// Waits for what `launch` puts on the stream; the GIL is held only for signals and progress.
template <class Launch>
void run(const py::dict &queue, Address stream, const py::object &progress, const Launch &launch) {
  Control control;
  bool interrupted = false;
  long long done = 0; // the largest count seen, because teams write theirs in any order
  const auto watch = [&] {
    py::gil_scoped_acquire gil;
    bool wanted = PyErr_CheckSignals() == 0;
    done = std::max<long long>(done, control.host[1]);
    if (wanted && !progress.is_none())
      try {
        progress(done);
      } catch (py::error_already_set &error) {
        error.restore();
        wanted = false;
      }
    if (!wanted) {
      interrupted = true;
      control.host[0] = 1; // the blocks see it within sixteen steps
    }
  };
  long long *counters = pointer<long long>(queue["counters"], "counters", 2);
  const auto order =
      view_on_device<long long>(queue["order"].attr("__cuda_array_interface__"), "order", false);
  const krf::cuda::Queue device_queue{static_cast<long long *>(order.data), order.shape[0],
                                      counters, counters + 1, control.device_view};
  {
    const py::gil_scoped_release release;
    launch(device_queue);
    control.event = krf::cuda::record(reinterpret_cast<void *>(stream));
    auto seen = std::chrono::steady_clock::now();
    while (!krf::cuda::finished(control.event)) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      const auto now = std::chrono::steady_clock::now();
      if (!interrupted && now - seen > std::chrono::milliseconds(50)) {
        seen = now;
        watch();
      }
    }
  }
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

// How a batch is launched: a kernel for each variant that there is, with its runs, those that are
// expected to take longest first; the results it wants, as (name, shape, dtype); and the room for
// packed data.  Numbers per run are still on the host here, where indices are checked.
template <class Family> py::dict plan(const py::dict &arguments, int threads) {
  const Call<Family> call(arguments, Place::kPlanning);
  const auto &batch = call.batch;
  std::vector<std::vector<long long>> runs(Family::kVariants);
  for (long long run = 0; run < batch.count; ++run)
    runs[static_cast<std::size_t>(Family::variant(batch, run))].push_back(run);
  py::list launches, results;
  for (int variant = 0; variant < Family::kVariants; ++variant) {
    auto &order = runs[static_cast<std::size_t>(variant)];
    if (order.empty())
      continue;
    std::stable_sort(order.begin(), order.end(), [&](long long a, long long b) {
      return krf::comparable(batch.work[a]) > krf::comparable(batch.work[b]);
    });
    py::dict launch = as_dict(krf::cuda::plan_family<Family>(batch, variant, threads));
    launch["variant"] = variant;
    launch["order"] = py::array_t<long long>(static_cast<py::ssize_t>(order.size()), order.data());
    launches.append(launch);
  }
  call.each_output(
      [&]<class S, class T>(const char *name, const std::vector<py::ssize_t> &shape, T *S::*) {
        results.append(py::make_tuple(name, py::tuple(py::cast(shape)), dtype_of<T>()));
      });
  return py::dict("launches"_a = launches, "rows"_a = results,
                  "packed_doubles"_a = Family::sets(batch) * Family::packed_doubles(batch));
}

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
  krf::bindings::is_on_current_device = krf::cuda::is_on_current_device;
  m.def("families", [] { return describe(krf::Families{}); });
  m.def(
      "plan",
      [](const std::string &family, const py::dict &arguments, int threads) {
        return with_family(family, krf::Families{}, [&](auto chosen) {
          return plan<decltype(chosen)>(arguments, checked(threads));
        });
      },
      "family"_a, "arguments"_a, "threads"_a);
  m.def(
      "pack",
      [](const std::string &family, const py::dict &arguments, const py::object &packed,
         Address stream) {
        return with_family(family, krf::Families{}, [&](auto chosen) -> py::object {
          using Family = decltype(chosen);
          const Call<Family> call(arguments, Place::kDevice);
          const long long room = Family::sets(call.batch) * Family::packed_doubles(call.batch);
          krf::cuda::pack_family<Family>(call.batch, pointer<double>(packed, "packed", room),
                                         stream_of(stream));
          return py::none();
        });
      },
      "family"_a, "arguments"_a, "packed"_a, "stream"_a);
  m.def(
      "run",
      [](const std::string &family, const py::dict &arguments, const py::dict &results,
         const py::object &packed, const py::dict &queue, const py::dict &launch,
         const py::object &workspace, Address stream, const py::object &progress) {
        return with_family(family, krf::Families{}, [&](auto chosen) -> py::object {
          using Family = decltype(chosen);
          Call<Family> call(arguments, Place::kDevice);
          const auto rows = call.rows_in(results, Place::kDevice);
          const auto p = plan_of(launch);
          const auto *data = pointer<double>(
              packed, "packed", Family::sets(call.batch) * Family::packed_doubles(call.batch));
          auto *room = pointer<double>(workspace, "workspace", p.teams * p.doubles_per_team);
          const int variant = number<int>(launch, "variant");
          run(queue, stream, progress, [&](const krf::cuda::Queue &q) {
            krf::cuda::launch_family<Family>(call.batch, call.settings, rows, variant, data, q, p,
                                             room, stream_of(stream));
          });
          return py::none();
        });
      },
      "family"_a, "arguments"_a, "results"_a, "packed"_a, "queue"_a, "launch"_a, "workspace"_a,
      "stream"_a, "progress"_a);
#ifdef KRF_TESTING
  m.def("plan_part", [](int n, int columns, int threads, int cluster) {
    return as_dict(krf::cuda::plan_part(n, columns, threads, cluster));
  });
  m.def("part", [](int part, int n, int columns, Address A, Address B, Address out,
                   const py::dict &plan, Address workspace, Address never, Address stream) {
    if (part < 0 || part >= krf::cuda::kParts)
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
#endif
}
