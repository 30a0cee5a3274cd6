/* A recorded call as Python's object: callable with the rule's arguments. */
#ifndef BPX_TORCH_CALLABLE_H
#define BPX_TORCH_CALLABLE_H

#include "torch_node.hpp"

namespace bpx {

struct Callable {
    PyObject_HEAD
    vectorcallfunc call;
    std::shared_ptr<const Recorded> recorded;
};

inline Threads threads;

/* Which of the recorded backwards these arguments need; their number where it is not among them. */
inline size_t backward_of(const Recorded& recorded, const Tensors& given) {
    size_t which = 0;
    for (; which < recorded.backwards.size(); which++) {
        const auto& needs = recorded.backwards[which].needs;
        bool same = needs.size() == given.size();
        for (size_t i = 0; i < given.size() && same; i++)
            same = needs[i] == (given[i].defined() && given[i].requires_grad());
        if (same) break;
    }
    return which;
}

/* To a view whose gradient is a node's of its own, as to that of a Function: torch's error, since a
 * gradient of what is written would go past the node. */
inline void refuse_writing(const Tensor& view) {
    torch::autograd::impl::get_view_autograd_meta(view)->set_creation_meta(
        torch::autograd::CreationMeta::IN_CUSTOM_FUNCTION);
}

/* y, in a graph where any argument needs a gradient; which: backward_of. `others`: for what forward kept
 * beside, NULL where it is not asked for. */
inline Tensor called(const std::shared_ptr<const Recorded>& recorded, const Tensors& given, bool any,
                     size_t which, Tensors* others) {
    const auto& forward = recorded->forward;
    Tensors made;
    {
        at::AutoGradMode torch_own(at::GradMode::is_enabled() && !any);
        made = make(forward.made, forward.view, given[0]);
    }
    run(forward.steps, given, made, threads);
    Tensor& y = made[forward.y];
    if (any) {
        const auto [shared, own] = node<KernelNode>();
        own->recorded = recorded;
        own->threads = &threads;
        own->which = which;
        own->set_next_edges(torch::autograd::collect_next_edges(given));
        torch::autograd::set_history(y, shared);
        if (forward.view) refuse_writing(y);
        for (const auto& p : forward.derived) {
            torch::autograd::set_history(p.source == MADE ? made[p.index] : Tensor(), shared);
        }
        own->save(given, made);
    }
    for (size_t i = 0; others != nullptr && i < forward.residuals.size(); i++) {
        const Tensor* x = at_place(forward.residuals[i], given, made);
        others->push_back(x == nullptr ? Tensor() : x->detach());
    }
    return std::move(y);
}

/* y, or None where this call has to go another way: arrays that lie otherwise than recorded, gradients
 * not yet recorded. Where the `whole` is asked for, a tuple of y and the residuals. */
inline PyObject* answer(const std::shared_ptr<const Recorded>& recorded, const Tensors& given,
                        bool whole = false) {
    bool any = false;
    const bool wanted = at::GradMode::is_enabled();
    for (size_t i = 0; i < given.size(); i++) {
        const auto& x = given[i];
        if (!x.defined()) continue;
        if (!lies(x, recorded->forward.strides[i]) || !plain(x)) Py_RETURN_NONE;
        any |= wanted && x.requires_grad();
    }
    const size_t which = any ? backward_of(*recorded, given) : 0;
    if (any && which == recorded->backwards.size()) Py_RETURN_NONE;
    Tensor y;
    Tensors others;
    if (recorded->forward.view) {
        y = called(recorded, given, any, which, nullptr); /* over before another thread's turn */
    } else {
        pybind11::gil_scoped_release release;
        y = called(recorded, given, any, which, whole ? &others : nullptr);
    }
    if (!whole) return THPVariable_Wrap(std::move(y));
    pybind11::tuple found(1 + others.size());
    found[0] = pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(std::move(y)));
    for (size_t i = 0; i < others.size(); i++) {
        found[i + 1] =
            pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(std::move(others[i])));
    }
    return found.release().ptr();
}

/* The arguments one by one; the caller has looked at types, dtypes and shapes. */
inline PyObject* answer_to(PyObject* self, PyObject* const* args, size_t n, bool whole) {
    const auto recorded = reinterpret_cast<Callable*>(self)->recorded; /* `add` may replace it */
    Tensors given;
    given.reserve(n);
    for (size_t i = 0; i < n; i++) {
        if (args[i] == Py_None) given.emplace_back();
        else given.push_back(THPVariable_Unpack(args[i]));
    }
    return answer(recorded, given, whole);
}

inline PyObject* call(PyObject* self, PyObject* const* args, size_t flags, PyObject*) {
    HANDLE_TH_ERRORS
    return answer_to(self, args, PyVectorcall_NARGS(flags), false);
    END_HANDLE_TH_ERRORS
}

/* whole(*arrays) -> (y, *residuals but y), or None. */
inline PyObject* call_whole(PyObject* self, PyObject* const* args, Py_ssize_t n) {
    HANDLE_TH_ERRORS
    return answer_to(self, args, static_cast<size_t>(n), true);
    END_HANDLE_TH_ERRORS
}

}  // namespace bpx

#endif
