/* A rule's call as a node of torch's graph. Its backward makes the recorded steps where numbers alone
 * are asked for; a derivative of the derivative, tensors of a transform and whatever else
 * is unusual go to the Function's Python, `slow`. */
#ifndef BPX_TORCH_NODE_H
#define BPX_TORCH_NODE_H

#include <Python.h>
#include <torch/csrc/Dtype.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "torch_call.hpp"

namespace bpx {

using torch::autograd::Node;
using torch::autograd::SavedVariable;
using NodePtr = decltype(torch::autograd::Edge::function); /* std:: or intrusive, by version */

/* What a plan has recorded; never changed once a node holds it. */
struct Recorded {
    Forward forward;
    std::vector<Backward> backwards;
    PyObject* slow = nullptr; /* owned */

    Recorded() = default;
    Recorded(const Recorded& other)
        : forward(other.forward), backwards(other.backwards), slow(other.slow) {
        Py_XINCREF(slow); /* copied under the interpreter's lock alone */
    }
    Recorded& operator=(const Recorded&) = delete;
    ~Recorded() {
        if (slow == nullptr || !Py_IsInitialized()) return;
        const auto state = PyGILState_Ensure(); /* a node may end on any thread */
        Py_DECREF(slow);
        PyGILState_Release(state);
    }
};

/* A new node: what owns it, and its own type. */
template <class T, class P = NodePtr>
std::pair<P, T*> node() {
    if constexpr (std::is_same_v<P, std::shared_ptr<Node>>) {
        auto* own = new T();
        return {P(own, [](auto* n) { deleteNode(n); }), own}; /* found by its argument */
    } else {
        auto own = c10::make_intrusive<T>();
        T* pointer = own.get();
        return {P(std::move(own)), pointer};
    }
}

/* The edges of a derivative that depends on the arguments in name alone: zeros. */
struct Link : public Node {
    std::vector<std::vector<int64_t>> shapes;
    at::ScalarType dtype = at::kFloat;

    Tensors apply(Tensors&&) override {
        Tensors zeros;
        for (size_t i = 0; i < shapes.size(); i++) {
            const bool wanted = task_should_compute_output(i);
            zeros.push_back(wanted ? at::zeros(shapes[i], dtype) : Tensor());
        }
        return zeros;
    }
    std::string name() const override { return "bpx_link"; }
};

struct KernelNode : public Node {
    std::shared_ptr<const Recorded> recorded;
    const Threads* threads = nullptr;
    size_t which = 0; /* of recorded->backwards */
    std::vector<SavedVariable> saved;
    std::vector<Array> kinds; /* what is saved, as it was */

    std::string name() const override { return recorded->forward.name; }

    void save(const Tensors& given, const Tensors& made) {
        saved.reserve(recorded->forward.saved.size());
        kinds.reserve(recorded->forward.saved.size());
        for (const auto& p : recorded->forward.saved) {
            const Tensor* x = at_place(p, given, made);
            if (x == nullptr) {
                saved.emplace_back();
                kinds.push_back({{}, at::kFloat, {}});
                continue;
            }
            const bool own = p.source == MADE && x->requires_grad(); /* an output of this node */
            saved.emplace_back(*x, own);
            kinds.push_back({x->sizes().vec(), x->scalar_type(), strides(*x)});
        }
    }

    void release_variables() override {
        std::lock_guard<std::mutex> lock(mutex_);
        for (auto& s : saved) s.reset_data();
    }

    Tensors apply(Tensors&& grads) override {
        std::lock_guard<std::mutex> lock(mutex_);
        const Backward& back = recorded->backwards[which];
        bool any = false;
        for (const auto& g : grads) any |= g.defined();
        if (!any) return Tensors(back.needs.size());
        Tensors given;
        given.reserve(saved.size() + 1);
        given.push_back(grads[0]);
        for (const auto& s : saved) given.push_back(s.unpack(getptr()));
        if (!usual(back, given, grads)) return slow(given, grads);
        Tensors made = make(back.made, back.shaped, given[0]);
        run(back.steps, given, made, *threads);
        Tensors found;
        found.reserve(back.grads.size());
        for (const auto& p : back.grads) {
            const Tensor* x = at_place(p, given, made);
            found.push_back(x == nullptr ? Tensor() : *x);
        }
        return found;
    }

    /* Whether the recorded call gives what is asked for. */
    bool usual(const Backward& back, const Tensors& given, const Tensors& grads) {
        if (at::GradMode::is_enabled() || !grads[0].defined()) return false;
        for (size_t i = 1; i < grads.size(); i++) {
            if (grads[i].defined()) return false;
        }
        for (size_t i = 0; i < back.needs.size(); i++) {
            if (back.needs[i] && !task_should_compute_output(i)) return false;
        }
        if (!readable(grads[0], recorded->forward.kind)) return false;
        if (torch::autograd::isFwGradDefined(grads[0])) return false;
        for (size_t i = 1; i < given.size(); i++) {
            if (given[i].defined() && !readable(given[i], kinds[i - 1])) return false;
        }
        return true;
    }

    /* slow(dys, saved, needs, link) -> gradients, in Python. */
    Tensors slow(const Tensors& given, const Tensors& grads) {
        const size_t n = recorded->backwards[which].needs.size();
        Tensor link;
        if (!recorded->forward.linked.empty() && at::GradMode::is_enabled()) {
            const auto [shared, zeros] = node<Link>();
            zeros->shapes = recorded->forward.linked;
            zeros->dtype = grads[0].scalar_type();
            zeros->set_next_edges(torch::autograd::edge_list(next_edges()));
            link = at::zeros({}, grads[0].options());
            torch::autograd::set_history(link, shared);
        }
        namespace py = pybind11;
        py::gil_scoped_acquire gil;
        const auto wrap = [](const Tensor& x) {
            return py::reinterpret_steal<py::object>(THPVariable_Wrap(x));
        };
        py::tuple dys(grads.size()), kept(given.size() - 1), needs(n);
        for (size_t i = 0; i < grads.size(); i++) dys[i] = wrap(grads[i]);
        for (size_t i = 1; i < given.size(); i++) kept[i - 1] = wrap(given[i]);
        for (size_t i = 0; i < n; i++) needs[i] = py::bool_(task_should_compute_output(i));
        const auto found = py::reinterpret_steal<py::object>(PyObject_CallFunctionObjArgs(
            recorded->slow, dys.ptr(), kept.ptr(), needs.ptr(), wrap(link).ptr(), nullptr));
        if (!found) {
            python_error error;
            error.persist();
            throw std::move(error);
        }
        Tensors results;
        for (const auto& g : py::tuple(found)) {
            results.push_back(g.is_none() ? Tensor() : Tensor(THPVariable_Unpack(g.ptr())));
        }
        return results;
    }

    void compiled_args(torch::dynamo::autograd::CompiledNodeArgs&) const override {
        TORCH_CHECK_NOT_IMPLEMENTED(
            false, "bpx: ", name(), " was run eagerly and cannot be traced by compiled autograd; set "
            "torch._dynamo.config.compiled_autograd, or BPX_TORCH_NODES=0, before the first forward");
    }
};

}  // namespace bpx

#endif
