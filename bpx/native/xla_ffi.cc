/* The native kernels as XLA FFI targets. Compiled against jaxlib's headers when first used, so that
 * neither the core nor an install of bpx needs them; it is given the core's library by handle. */
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bpx_native.h"
#include "xla/ffi/api/ffi.h"
#include "xla_pool.hpp"

namespace ffi = xla::ffi;

namespace {

void* core = nullptr;

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

/* A number for calls that take alike long. */
uint64_t Known(bpx_kernel function, int64_t batch, ffi::Span<const int64_t> sizes) {
    uint64_t call = bpx_xla::Mixed(reinterpret_cast<uintptr_t>(function), batch);
    for (const int64_t size : sizes) call = bpx_xla::Mixed(call, size);
    return call;
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
    const uint64_t known = Known(function, batch, sizes);
    for (int64_t group = 0; group < groups; group++) {
        for (size_t i = 0; i < arrays.size(); i++) call[i] = arrays[i].at(group);
        bpx_xla::Host host{&pool, known};
        if (function(call.data(), bpx_xla::For, &host) != 0)
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
    const uint64_t known = Known(function, groups, sizes);
    for (int64_t group = 0; group < groups; group++) {
        for (size_t i = 0; i < arrays.size(); i++) table[i] = arrays[i].at(group);
        call[1] = out.at(group);
        bpx_xla::Host host{&pool, known};
        if (function(call.data(), bpx_xla::For, &host) != 0)
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
