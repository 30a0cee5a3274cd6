/* The native kernels as XLA FFI targets. Compiled against jaxlib's headers when first used, so that
 * neither the core nor an install of bpx needs them; it is given the core's library by handle. */
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "bpx_native.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

void* core = nullptr;

/* A processor's hint that a loop waits for another thread. */
inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/* XLA may run a scheduled task late, after the loop is over: the loop is shared, and the wait is for
 * its chunks, not for its tasks. The caller works too, so a busy pool cannot block it. The chunks are
 * cut into a range for each of those that work, which helps the others when it is done: a core finds
 * in its cache what it wrote in the call before. What other threads still work on in the end is one
 * chunk each, which takes less than putting the caller to sleep and waking it: it looks again for a
 * while before it sleeps. */
class Loop {
  public:
    Loop(int64_t chunks, int64_t ranges, bpx_task task, void* state)
        : chunks_(chunks), ranges_(ranges), of_(new Range[ranges]), task_(task), state_(state) {
        for (int64_t i = 0; i < ranges; i++) {
            of_[i].next = chunks * i / ranges;
            of_[i].end = chunks * (i + 1) / ranges;
        }
    }

    void Work(int64_t own) {
        int64_t finished = 0;
        for (int64_t i = 0; i < ranges_; i++) {
            Range& range = of_[(own + i) % ranges_];
            for (int64_t chunk; (chunk = range.next.fetch_add(1)) < range.end; finished++)
                task_(state_, chunk);
        }
        if (finished == 0 || finished_.fetch_add(finished) + finished < chunks_) return;
        std::lock_guard<std::mutex> lock(mutex_);
        all_.notify_one();
    }

    void Wait() {
        const auto until = std::chrono::steady_clock::now() + kPatience;
        do {
            for (int i = 0; i < 16; i++, Pause())
                if (finished_.load() == chunks_) return;
        } while (std::chrono::steady_clock::now() < until);
        std::unique_lock<std::mutex> lock(mutex_);
        all_.wait(lock, [this] { return finished_.load() == chunks_; });
    }

  private:
    static constexpr std::chrono::microseconds kPatience{100};

    struct alignas(64) Range {
        std::atomic<int64_t> next;
        int64_t end;
    };

    const int64_t chunks_, ranges_;
    const std::unique_ptr<Range[]> of_;
    const bpx_task task_;
    void* const state_;
    std::atomic<int64_t> finished_{0};
    std::mutex mutex_;
    std::condition_variable all_;
};

void PoolFor(void* host, int64_t chunks, bpx_task task, void* state) {
    auto* pool = static_cast<ffi::ThreadPool*>(host);
    const int64_t threads = std::min(pool->num_threads(), chunks);
    auto loop = std::make_shared<Loop>(chunks, std::max<int64_t>(threads, 1), task, state);
    for (int64_t i = 1; i < threads; i++) pool->Schedule([loop, i] { loop->Work(i); });
    loop->Work(0);
    loop->Wait();
}

/* An array as a run of groups: vmap puts batch dims in front of every array alike, and a group is what
 * one element of that batch owns. An array without elements is an absent one. */
struct Array {
    char* data;
    int64_t step;

    Array(const ffi::AnyBuffer& buffer, int64_t groups) {
        data = buffer.element_count() == 0 ? nullptr : static_cast<char*>(buffer.untyped_data());
        step = groups == 0 ? 0 : static_cast<int64_t>(buffer.size_bytes()) / groups;
    }

    int64_t at(int64_t group) const {
        return data == nullptr ? 0 : reinterpret_cast<int64_t>(data + group * step);
    }
};

/* The C library takes 32 MiB and more from the system anew each time, and the first write to each of
 * its pages costs an interrupt: sixteen thousand in 64 MiB. A smaller array may lie in the 32 MiB that
 * XLA takes for all of a program's temporaries. Large pages where the system has them for who asks: a
 * hint, no more. */
void AskForLargePages(void* data, size_t bytes) {
#ifdef MADV_HUGEPAGE
    constexpr uintptr_t kPage = uintptr_t(2) << 20;
    if (bytes < (size_t(4) << 20)) return;
    const auto start = reinterpret_cast<uintptr_t>(data);
    const uintptr_t first = (start + kPage - 1) / kPage * kPage, last = (start + bytes) / kPage * kPage;
    madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

/* `elements` is what the first array holds without batch dims. `fold` is the size that the batch
 * multiplies where the kernel treats its elements alike; -1 where each is a call of its own. */
ffi::Error Call(ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets,
                std::string_view kernel, ffi::Span<const int64_t> sizes,
                ffi::Span<const double> numbers, int64_t elements, int64_t fold) {
    const std::string name = "bpx_" + std::string(kernel);
    auto function = reinterpret_cast<bpx_kernel>(dlsym(core, name.c_str()));
    if (function == nullptr) return ffi::Error(ffi::ErrorCode::kNotFound, "bpx: there is no kernel " + name);
    const auto first = args.get<ffi::AnyBuffer>(0);
    if (first.has_error()) return first.error();
    int64_t groups = elements == 0 ? 0 : static_cast<int64_t>(first->element_count()) / elements;
    const int64_t batch = groups;
    if (fold >= 0 && groups > 0) groups = 1;

    std::vector<Array> arrays;
    for (size_t i = 0; i < args.size(); i++) {
        const auto array = args.get<ffi::AnyBuffer>(i);
        if (array.has_error()) return array.error();
        arrays.emplace_back(*array, groups);
    }
    for (size_t i = 0; i < rets.size(); i++) {
        auto array = rets.get<ffi::AnyBuffer>(i);
        if (array.has_error()) return array.error();
        arrays.emplace_back(**array, groups);
        AskForLargePages((*array)->untyped_data(), (*array)->size_bytes());
    }
    std::vector<int64_t> call(arrays.size() + sizes.size() + numbers.size());
    auto rest = std::copy(sizes.begin(), sizes.end(), call.begin() + arrays.size());
    if (fold >= 0) call[arrays.size() + fold] *= batch;
    static_assert(sizeof(double) == sizeof(int64_t));
    if (numbers.size() > 0) memcpy(&*rest, numbers.begin(), numbers.size() * sizeof(double));
    for (int64_t group = 0; group < groups; group++) {
        for (size_t i = 0; i < arrays.size(); i++) call[i] = arrays[i].at(group);
        if (function(call.data(), PoolFor, &pool) != 0)
            return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                              "bpx: no memory for the partial sums");
    }
    return ffi::Error::Success();
}

/* A kernel that takes many arrays in one call: a table of eight-byte numbers, the arguments' addresses
 * and then `sizes`, in columns of `entries` each; the one result; `entries`; numbers. `elements` is what
 * the result holds without batch dims. */
ffi::Error Each(ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::Result<ffi::AnyBuffer> result,
                std::string_view kernel, ffi::Span<const int64_t> sizes,
                ffi::Span<const double> numbers, int64_t entries, int64_t elements) {
    const std::string name = "bpx_" + std::string(kernel);
    auto function = reinterpret_cast<bpx_kernel>(dlsym(core, name.c_str()));
    if (function == nullptr) return ffi::Error(ffi::ErrorCode::kNotFound, "bpx: there is no kernel " + name);
    if (entries < 1 || elements < 1 || args.size() % entries != 0 || sizes.size() % entries != 0)
        return ffi::Error(ffi::ErrorCode::kInvalidArgument, "bpx: no table of these sizes for " + name);
    const int64_t groups = static_cast<int64_t>(result->element_count()) / elements;
    const Array out(*result, groups);
    std::vector<Array> arrays;
    for (size_t i = 0; i < args.size(); i++) {
        const auto array = args.get<ffi::AnyBuffer>(i);
        if (array.has_error()) return array.error();
        arrays.emplace_back(*array, groups);
    }
    std::vector<int64_t> table(arrays.size() + sizes.size()), call(3 + numbers.size());
    std::copy(sizes.begin(), sizes.end(), table.begin() + arrays.size());
    call[0] = reinterpret_cast<int64_t>(table.data());
    call[2] = entries;
    if (numbers.size() > 0) memcpy(&call[3], numbers.begin(), numbers.size() * sizeof(double));
    for (int64_t group = 0; group < groups; group++) {
        for (size_t i = 0; i < arrays.size(); i++) table[i] = arrays[i].at(group);
        call[1] = out.at(group);
        if (function(call.data(), PoolFor, &pool) != 0)
            return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                              "bpx: no memory for the partial sums");
    }
    return ffi::Error::Success();
}

/* The bytes of all arguments, one behind the other, into the results in the same way: many arrays
 * become one, or one many. */
ffi::Error Copy(ffi::RemainingArgs args, ffi::RemainingRets rets) {
    std::vector<std::pair<char*, size_t>> results;
    for (size_t i = 0; i < rets.size(); i++) {
        auto array = rets.get<ffi::AnyBuffer>(i);
        if (array.has_error()) return array.error();
        results.emplace_back(static_cast<char*>((*array)->untyped_data()), (*array)->size_bytes());
    }
    size_t at = 0, written = 0;
    for (size_t i = 0; i < args.size(); i++) {
        const auto array = args.get<ffi::AnyBuffer>(i);
        if (array.has_error()) return array.error();
        const char* from = static_cast<const char*>(array->untyped_data());
        for (size_t left = array->size_bytes(); left > 0;) {
            while (at < results.size() && written == results[at].second) at++, written = 0;
            if (at == results.size()) break;
            const size_t bytes = std::min(left, results[at].second - written);
            memcpy(results[at].first + written, from, bytes);
            from += bytes, written += bytes, left -= bytes;
        }
    }
    return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(bpx_copy, Copy, ffi::Ffi::Bind().RemainingArgs().RemainingRets());

XLA_FFI_DEFINE_HANDLER_SYMBOL(bpx_each, Each,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .RemainingArgs()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<std::string_view>("kernel")
                                  .Attr<ffi::Span<const int64_t>>("sizes")
                                  .Attr<ffi::Span<const double>>("numbers")
                                  .Attr<int64_t>("entries")
                                  .Attr<int64_t>("elements"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(bpx_call, Call,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<std::string_view>("kernel")
                                  .Attr<ffi::Span<const int64_t>>("sizes")
                                  .Attr<ffi::Span<const double>>("numbers")
                                  .Attr<int64_t>("elements")
                                  .Attr<int64_t>("fold"));

/* The core's library, as dlopen returned it. */
extern "C" BPX_EXPORT void bpx_xla_bind(void* library) { core = library; }
