/* Recorded steps, calls of the native core and operations of torch's: where their arrays come from, and
 * how they are made again. */
#ifndef BPX_TORCH_CALL_H
#define BPX_TORCH_CALL_H

#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bpx_native.h"

namespace bpx {

using at::Tensor;
using Tensors = std::vector<Tensor>;

constexpr size_t MOST = 64; /* fields of a call's struct */

/* The numbers of bpx_torch/_recording.py. */
enum Source { ABSENT, GIVEN, MADE };

struct Place {
    Source source;
    size_t index;
};

/* An array; `strides` where its elements do not lie one behind another in the order of its axes. */
struct Array {
    std::vector<int64_t> sizes;
    at::ScalarType dtype;
    std::vector<int64_t> strides;
};

/* Array::strides of a tensor. */
inline std::vector<int64_t> strides(const Tensor& x) {
    return x.is_contiguous() ? std::vector<int64_t>() : x.strides().vec();
}

inline bool lies(const Tensor& x, const std::vector<int64_t>& strides) {
    return strides.empty() ? x.is_contiguous() : x.strides() == c10::IntArrayRef(strides);
}

struct Call {
    bpx_kernel kernel = nullptr;
    std::vector<Place> places; /* the struct's arrays, in order */
    std::vector<int64_t> rest; /* its sizes and the bits of its numbers */
};

/* An operation that gives one tensor, which joins those made. */
struct Operation {
    c10::OperatorHandle handle;
    std::vector<c10::IValue> arguments;                /* nothing where a tensor goes */
    std::vector<std::pair<size_t, Place>> tensors;     /* which argument, and what goes there */
};

/* One of the two. */
struct Step {
    Call call;
    std::optional<Operation> operation;
};

/* What needs gradients decides what backward makes. */
struct Backward {
    std::vector<bool> needs;
    std::vector<Step> steps; /* given: dy, then what was saved; none where dy goes through */
    std::vector<Array> made; /* before the first step */
    std::vector<Place> grads; /* of each argument; GIVEN 0 is dy itself */
    bool shaped = false;      /* made[0] is dy in this shape */
};

struct Forward {
    std::string name;
    std::vector<Step> steps;   /* given: the arguments */
    std::vector<Array> made;   /* before the first step: what the core writes */
    size_t y = 0;              /* which of those made */
    Array kind;                /* its */
    std::vector<std::vector<int64_t>> strides; /* of the arguments: Array::strides */
    bool view = false;         /* made[0] is the first argument in this shape */
    std::vector<Place> saved;  /* in the order of the Function's saved_tensors */
    std::vector<Place> residuals; /* but y */
    std::vector<Place> derived; /* outputs behind y; ABSENT has no derivative */
    std::vector<std::vector<int64_t>> linked; /* the arguments' shapes, where nothing of them is saved */
};

/* torch's own threads; without `loop` kernels run on the caller's. */
struct Threads {
    bpx_parallel_for loop = nullptr;
    bpx_openmp_host host{};
};

/* Whether a tensor is no more than its numbers: no subclass, transform, pending sign or zeros. */
inline bool plain(const Tensor& x) {
    using Key = c10::DispatchKey;
    constexpr c10::DispatchKeySet usual(
        {Key::CPU, Key::AutogradCPU, Key::ADInplaceOrView, Key::AutocastCPU});
    return (x.key_set().raw_repr() & ~usual.raw_repr()) == 0;
}

inline bool readable(const Tensor& x, const Array& expected) {
    return plain(x) && x.scalar_type() == expected.dtype &&
           x.sizes() == c10::IntArrayRef(expected.sizes) && lies(x, expected.strides);
}

inline Tensors make(const std::vector<Array>& arrays) {
    Tensors found;
    found.reserve(arrays.size());
    for (const auto& a : arrays) {
        found.emplace_back(a.strides.empty()
                               ? at::detail::empty_cpu(a.sizes, a.dtype)
                               : at::detail::empty_strided_cpu(a.sizes, a.strides, a.dtype));
    }
    return found;
}

/* What a call makes: arrays of its own, or `given` in another shape. */
inline Tensors make(const std::vector<Array>& arrays, bool shaped, const Tensor& given) {
    return shaped ? Tensors{given.view(arrays[0].sizes)} : make(arrays);
}

inline const Tensor* at_place(const Place& p, const Tensors& given, const Tensors& made) {
    return p.source == GIVEN ? &given[p.index] : p.source == MADE ? &made[p.index] : nullptr;
}

inline void run(const Call& call, const Tensors& given, const Tensors& made, const Threads& threads) {
    int64_t fields[MOST];
    size_t n = 0;
    for (const auto& p : call.places) {
        const Tensor* x = at_place(p, given, made);
        fields[n++] = x == nullptr ? 0 : reinterpret_cast<int64_t>(x->data_ptr());
    }
    for (const auto value : call.rest) fields[n++] = value;
    bpx_openmp_host host = threads.host;
    host.threads = static_cast<unsigned>(at::get_num_threads());
    const bool alone = threads.loop == nullptr || host.threads == 1;
    TORCH_CHECK(call.kernel(fields, alone ? nullptr : threads.loop, alone ? nullptr : &host) == 0,
                "bpx.native: no memory for the partial sums");
}

inline void run(const Operation& operation, const Tensors& given, Tensors& made) {
    auto stack = operation.arguments;
    for (const auto& [i, place] : operation.tensors) stack[i] = *at_place(place, given, made);
    operation.handle.callBoxed(stack);
    made.push_back(std::move(stack[0]).toTensor());
}

inline void run(const std::vector<Step>& steps, const Tensors& given, Tensors& made,
                const Threads& threads) {
    at::AutoDispatchBelowADInplaceOrView numbers; /* the node alone has a history */
    c10::impl::ExcludeDispatchKeyGuard as_recorded(c10::autocast_dispatch_keyset);
    for (const auto& step : steps) {
        if (step.operation) run(*step.operation, given, made);
        else run(step.call, given, made, threads);
    }
}

}  // namespace bpx

#endif
