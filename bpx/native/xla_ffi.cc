/* The native kernels as XLA FFI targets. Compiled against jaxlib's headers when first used, so that
 * neither the core nor an install of bpx needs them; it is given the core's functions by pointer. */
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "bpx_native.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

struct Core {
    decltype(&bpx_layer_norm_forward_f32) forward_f32;
    decltype(&bpx_layer_norm_forward_f64) forward_f64;
    decltype(&bpx_layer_norm_forward_bf16) forward_bf16;
    decltype(&bpx_layer_norm_backward_f32) backward_f32;
    decltype(&bpx_layer_norm_backward_f64) backward_f64;
    decltype(&bpx_layer_norm_backward_bf16) backward_bf16;
} core;

/* XLA may run a scheduled task late, after the loop is over: the loop is shared, and the wait is for
 * its chunks, not for its tasks. The caller works too, so a busy pool cannot block it. */
class Loop {
  public:
    Loop(int64_t chunks, bpx_task task, void* state) : chunks_(chunks), task_(task), state_(state) {}

    void Work() {
        int64_t finished = 0;
        for (int64_t chunk; (chunk = next_.fetch_add(1)) < chunks_; finished++) task_(state_, chunk);
        if (finished == 0) return;
        std::lock_guard<std::mutex> lock(mutex_);
        if ((finished_ += finished) == chunks_) all_.notify_one();
    }

    void Wait() {
        std::unique_lock<std::mutex> lock(mutex_);
        all_.wait(lock, [this] { return finished_ == chunks_; });
    }

  private:
    const int64_t chunks_;
    const bpx_task task_;
    void* const state_;
    std::atomic<int64_t> next_{0};
    std::mutex mutex_;
    std::condition_variable all_;
    int64_t finished_ = 0;
};

void PoolFor(void* host, int64_t chunks, bpx_task task, void* state) {
    auto* pool = static_cast<ffi::ThreadPool*>(host);
    auto loop = std::make_shared<Loop>(chunks, task, state);
    const int64_t helpers = std::min(pool->num_threads(), chunks) - 1;
    for (int64_t i = 0; i < helpers; i++) pool->Schedule([loop] { loop->Work(); });
    loop->Work();
    loop->Wait();
}

/* vmap puts batch dims in front of every array alike, those of the weight too: a group is one element
 * of the batch, whose weight and weight gradient are its own. */
struct Sizes {
    int64_t groups = 1, rows = 0, columns = 0;

    Sizes(ffi::AnyBuffer x, ffi::AnyBuffer weight) {
        auto batch = weight.dimensions();
        for (size_t i = 0; i + 1 < batch.size(); i++) groups *= batch[i];
        columns = x.dimensions().back();
        if (groups > 0 && columns > 0) rows = x.element_count() / (groups * columns);
    }
};

/* Group g's part of an array with `count` elements for each group; null where the array is absent,
 * which the caller says with a last dim of 0 (a scalar-like `count` of 0 rows needs no data). */
template <typename T>
T* Part(const ffi::AnyBuffer& array, int64_t g, int64_t count) {
    if (array.element_count() == 0) return nullptr;
    return static_cast<T*>(array.untyped_data()) + g * count;
}

ffi::Error Status(int status) {
    if (status == 0) return ffi::Error::Success();
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "bpx: no memory for the partial sums");
}

template <typename T, typename A, typename F>
ffi::Error ForwardOf(F function, ffi::ThreadPool& pool, ffi::AnyBuffer x, ffi::AnyBuffer weight,
                     ffi::AnyBuffer bias, ffi::AnyBuffer y, ffi::AnyBuffer mu, ffi::AnyBuffer rstd,
                     double eps) {
    const Sizes s(x, weight);
    const int64_t n = s.rows, d = s.columns;
    int status = 0;
    for (int64_t g = 0; g < s.groups && status == 0; g++)
        status = function(Part<T>(x, g, n * d), Part<A>(weight, g, d), Part<A>(bias, g, d),
                          Part<T>(y, g, n * d), Part<A>(mu, g, n), Part<A>(rstd, g, n), n, d, eps,
                          PoolFor, &pool);
    return Status(status);
}

template <typename T, typename A, typename F>
ffi::Error BackwardOf(F function, ffi::ThreadPool& pool, ffi::AnyBuffer dy, ffi::AnyBuffer x,
                      ffi::AnyBuffer weight, ffi::AnyBuffer mu, ffi::AnyBuffer rstd,
                      ffi::AnyBuffer dx, ffi::AnyBuffer dweight, ffi::AnyBuffer dbias) {
    const Sizes s(x, weight);
    const int64_t n = s.rows, d = s.columns;
    int status = 0;
    for (int64_t g = 0; g < s.groups && status == 0; g++)
        status = function(Part<T>(dy, g, n * d), Part<T>(x, g, n * d), Part<A>(weight, g, d),
                          Part<A>(mu, g, n), Part<A>(rstd, g, n), Part<T>(dx, g, n * d),
                          Part<A>(dweight, g, d), Part<A>(dbias, g, d), n, d, PoolFor, &pool);
    return Status(status);
}

ffi::Error Unsupported() { return ffi::Error::InvalidArgument("bpx: layer_norm takes f32, f64, bf16"); }

ffi::Error Forward(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer w, ffi::AnyBuffer b,
                   ffi::Result<ffi::AnyBuffer> y, ffi::Result<ffi::AnyBuffer> mu,
                   ffi::Result<ffi::AnyBuffer> rstd, double eps) {
    switch (x.element_type()) {
        case ffi::F32:
            return ForwardOf<float, float>(core.forward_f32, pool, x, w, b, *y, *mu, *rstd, eps);
        case ffi::F64:
            return ForwardOf<double, double>(core.forward_f64, pool, x, w, b, *y, *mu, *rstd, eps);
        case ffi::BF16:
            return ForwardOf<uint16_t, float>(core.forward_bf16, pool, x, w, b, *y, *mu, *rstd, eps);
        default:
            return Unsupported();
    }
}

ffi::Error Backward(ffi::ThreadPool pool, ffi::AnyBuffer dy, ffi::AnyBuffer x, ffi::AnyBuffer w,
                    ffi::AnyBuffer mu, ffi::AnyBuffer rstd, ffi::Result<ffi::AnyBuffer> dx,
                    ffi::Result<ffi::AnyBuffer> dw, ffi::Result<ffi::AnyBuffer> db) {
    switch (x.element_type()) {
        case ffi::F32:
            return BackwardOf<float, float>(core.backward_f32, pool, dy, x, w, mu, rstd, *dx, *dw, *db);
        case ffi::F64:
            return BackwardOf<double, double>(core.backward_f64, pool, dy, x, w, mu, rstd, *dx, *dw, *db);
        case ffi::BF16:
            return BackwardOf<uint16_t, float>(core.backward_bf16, pool, dy, x, w, mu, rstd, *dx, *dw, *db);
        default:
            return Unsupported();
    }
}

}  // namespace

using Buffer = ffi::AnyBuffer;

XLA_FFI_DEFINE_HANDLER_SYMBOL(bpx_layer_norm_forward, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Buffer>()  // x
                                  .Arg<Buffer>()  // weight
                                  .Arg<Buffer>()  // bias
                                  .Ret<Buffer>()  // y
                                  .Ret<Buffer>()  // mu
                                  .Ret<Buffer>()  // rstd
                                  .Attr<double>("eps"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(bpx_layer_norm_backward, Backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Buffer>()  // dy
                                  .Arg<Buffer>()  // x
                                  .Arg<Buffer>()  // weight
                                  .Arg<Buffer>()  // mu
                                  .Arg<Buffer>()  // rstd
                                  .Ret<Buffer>()  // dx
                                  .Ret<Buffer>()  // dweight
                                  .Ret<Buffer>()  // dbias
);

/* The core's functions, in the order of Core. */
extern "C" BPX_EXPORT void bpx_xla_bind(void* const* functions) {
    core.forward_f32 = reinterpret_cast<decltype(core.forward_f32)>(functions[0]);
    core.forward_f64 = reinterpret_cast<decltype(core.forward_f64)>(functions[1]);
    core.forward_bf16 = reinterpret_cast<decltype(core.forward_bf16)>(functions[2]);
    core.backward_f32 = reinterpret_cast<decltype(core.backward_f32)>(functions[3]);
    core.backward_f64 = reinterpret_cast<decltype(core.backward_f64)>(functions[4]);
    core.backward_bf16 = reinterpret_cast<decltype(core.backward_bf16)>(functions[5]);
}
