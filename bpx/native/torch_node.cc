/* The module torch_node: recorded calls of the native core that Python can make, each a node of torch's
 * graph. Compiled against torch's headers in the background when first wanted (bpx_torch/_node.py), so
 * that neither the core nor an install of bpx needs them. What a call consists of was recorded from the
 * kernel's Python (bpx_torch/_recording.py): nothing here knows a rule. */
#include "torch_node.hpp"

#include <cstddef>
#include <cstring>

namespace {

using namespace bpx;
namespace py = pybind11;

Threads threads;

struct Callable {
    PyObject_HEAD
    vectorcallfunc call;
    std::shared_ptr<const Recorded> recorded;
};

/* Which of the recorded backwards these arguments need; their number where it is not among them. */
size_t backward_of(const Recorded& recorded, const Tensors& given) {
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
void refuse_writing(const Tensor& view) {
    torch::autograd::impl::get_view_autograd_meta(view)->set_creation_meta(
        torch::autograd::CreationMeta::IN_CUSTOM_FUNCTION);
}

/* y, or None where this call has to go another way: arrays with gaps, gradients not yet recorded. The
 * caller has looked at types, dtypes and shapes. */
PyObject* call(PyObject* self, PyObject* const* args, size_t flags, PyObject*) {
    HANDLE_TH_ERRORS
    const auto recorded = reinterpret_cast<Callable*>(self)->recorded; /* `add` may replace it */
    const auto& forward = recorded->forward;
    const size_t n = PyVectorcall_NARGS(flags);
    Tensors given;
    given.reserve(n);
    bool any = false;
    const bool wanted = at::GradMode::is_enabled();
    for (size_t i = 0; i < n; i++) {
        if (args[i] == Py_None) {
            given.emplace_back();
            continue;
        }
        given.push_back(THPVariable_Unpack(args[i]));
        const Tensor& x = given.back();
        if (!x.is_contiguous() || !plain(x)) Py_RETURN_NONE;
        any |= wanted && x.requires_grad();
    }
    const size_t which = any ? backward_of(*recorded, given) : 0;
    if (any && which == recorded->backwards.size()) Py_RETURN_NONE;
    Tensors made;
    {
        py::gil_scoped_release release;
        {
            at::AutoGradMode torch_own(wanted && !any);
            made = make(forward.made, forward.view, given[0]);
        }
        if (forward.call.kernel != nullptr) run(forward.call, given, made, threads);
        if (any) {
            const auto [shared, own] = node<KernelNode>();
            own->recorded = recorded;
            own->threads = &threads;
            own->which = which;
            own->set_next_edges(torch::autograd::collect_next_edges(given));
            torch::autograd::set_history(made[0], shared);
            if (forward.view) refuse_writing(made[0]);
            for (const auto& p : forward.derived) {
                torch::autograd::set_history(p.source == MADE ? made[p.index] : Tensor(), shared);
            }
            own->save(given, made);
        }
    }
    return THPVariable_Wrap(std::move(made[0]));
    END_HANDLE_TH_ERRORS
}

std::vector<Place> places(py::handle list) {
    std::vector<Place> found;
    for (const auto& item : py::reinterpret_borrow<py::sequence>(list)) {
        const auto pair = py::reinterpret_borrow<py::sequence>(item);
        found.push_back({static_cast<Source>(pair[0].cast<int>()), pair[1].cast<size_t>()});
    }
    return found;
}

/* Of (address, places, rest as bytes), or of None: no call. */
Call recorded_call(py::handle given) {
    Call found;
    if (given.is_none()) return found;
    const auto parts = py::reinterpret_borrow<py::sequence>(given);
    found.kernel = reinterpret_cast<bpx_kernel>(parts[0].cast<uintptr_t>());
    found.places = places(parts[1]);
    const auto bytes = parts[2].cast<std::string>();
    found.rest.resize(bytes.size() / sizeof(int64_t));
    if (!bytes.empty()) memcpy(found.rest.data(), bytes.data(), bytes.size());
    TORCH_CHECK_VALUE(found.places.size() + found.rest.size() <= MOST, "bpx: a call of over 64 fields");
    return found;
}

std::vector<Array> arrays(py::handle tensors) {
    std::vector<Array> found;
    for (const auto& t : py::reinterpret_borrow<py::sequence>(tensors)) {
        const Tensor& x = THPVariable_Unpack(t.ptr());
        found.push_back({x.sizes().vec(), x.scalar_type()});
    }
    return found;
}

/* Callable(name, call, made, saved, derived, linked, slow); where call is None, y is a view. */
PyObject* create(PyTypeObject* type, PyObject* args, PyObject*) {
    HANDLE_TH_ERRORS
    const auto given = py::reinterpret_borrow<py::tuple>(args);
    TORCH_CHECK_TYPE(given.size() == 7, "expected name, call, made, saved, derived, linked, slow");
    auto recorded = std::make_shared<Recorded>();
    recorded->forward.name = given[0].cast<std::string>();
    recorded->forward.call = recorded_call(given[1]);
    recorded->forward.made = arrays(given[2]);
    recorded->forward.view = given[1].is_none();
    recorded->forward.saved = places(given[3]);
    recorded->forward.derived = places(given[4]);
    for (const auto& a : arrays(given[5])) recorded->forward.linked.push_back(a.sizes);
    recorded->slow = py::object(given[6]).release().ptr();
    PyObject* self = type->tp_alloc(type, 0);
    if (self == nullptr) throw python_error();
    auto* made = reinterpret_cast<Callable*>(self);
    made->call = call;
    new (&made->recorded) std::shared_ptr<const Recorded>(std::move(recorded));
    return self;
    END_HANDLE_TH_ERRORS
}

void destroy(PyObject* self) {
    reinterpret_cast<Callable*>(self)->recorded.~shared_ptr();
    Py_TYPE(self)->tp_free(self);
}

/* add(needs, call, made, grads): what backward does for these needs; what is made without a call is dy
 * in another shape. */
PyObject* add(PyObject* self, PyObject* args) {
    HANDLE_TH_ERRORS
    const auto given = py::reinterpret_borrow<py::tuple>(args);
    TORCH_CHECK_TYPE(given.size() == 4, "expected needs, call, made, grads");
    Backward back;
    for (const auto& need : py::reinterpret_borrow<py::sequence>(given[0])) {
        back.needs.push_back(need.cast<bool>());
    }
    back.call = recorded_call(given[1]);
    back.made = arrays(given[2]);
    back.grads = places(given[3]);
    back.shaped = given[1].is_none() && !back.made.empty();
    auto& recorded = reinterpret_cast<Callable*>(self)->recorded;
    auto next = std::make_shared<Recorded>(*recorded);
    next->backwards.push_back(std::move(back));
    recorded = std::move(next);
    Py_RETURN_NONE;
    END_HANDLE_TH_ERRORS
}

PyMethodDef methods[] = {{"add", add, METH_VARARGS, "add(needs, call, made, grads)"}, {}};

PyTypeObject callable = {PyVarObject_HEAD_INIT(nullptr, 0)};

/* bind(parallel, number, loop): the addresses of torch's OpenMP threads and of the core's loop. */
PyObject* bind(PyObject*, PyObject* args) {
    unsigned long long parallel, number, loop;
    if (!PyArg_ParseTuple(args, "KKK", &parallel, &number, &loop)) return nullptr;
    threads.host.parallel = reinterpret_cast<decltype(threads.host.parallel)>(parallel);
    threads.host.number = reinterpret_cast<decltype(threads.host.number)>(number);
    threads.loop = reinterpret_cast<bpx_parallel_for>(loop);
    Py_RETURN_NONE;
}

PyMethodDef functions[] = {{"bind", bind, METH_VARARGS, "bind(parallel, number, loop)"}, {}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "torch_node",
                          "Recorded calls of the native core as nodes of torch's graph.", -1, functions};

}  // namespace

PyMODINIT_FUNC PyInit_torch_node() {
    callable.tp_name = "torch_node.Callable";
    callable.tp_basicsize = sizeof(Callable);
    callable.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL;
    callable.tp_vectorcall_offset = offsetof(Callable, call);
    callable.tp_call = PyVectorcall_Call;
    callable.tp_new = create;
    callable.tp_dealloc = destroy;
    callable.tp_methods = methods;
    if (PyType_Ready(&callable) < 0) return nullptr;
    PyObject* made = PyModule_Create(&definition);
    if (made == nullptr) return nullptr;
    Py_INCREF(&callable);
    if (PyModule_AddObject(made, "Callable", reinterpret_cast<PyObject*>(&callable)) < 0) return nullptr;
    return made;
}
