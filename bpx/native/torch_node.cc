/* The module torch_node: recorded calls of rules that Python can make, each a node of torch's graph. Compiled against torch's headers in the background when first wanted (bpx_torch/_node.py), so
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
        run(forward.steps, given, made, threads);
        const Tensor& y = made[forward.y];
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
    }
    return THPVariable_Wrap(std::move(made[forward.y]));
    END_HANDLE_TH_ERRORS
}

Place place(py::handle pair) {
    const auto parts = py::reinterpret_borrow<py::sequence>(pair);
    return {static_cast<Source>(parts[0].cast<int>()), parts[1].cast<size_t>()};
}

std::vector<Place> places(py::handle list) {
    std::vector<Place> found;
    for (const auto& item : py::reinterpret_borrow<py::sequence>(list)) found.push_back(place(item));
    return found;
}

/* Of (address, places, rest as bytes). */
Call recorded_call(const py::sequence& parts) {
    Call found;
    found.kernel = reinterpret_cast<bpx_kernel>(parts[0].cast<uintptr_t>());
    found.places = places(parts[1]);
    const auto bytes = parts[2].cast<std::string>();
    found.rest.resize(bytes.size() / sizeof(int64_t));
    if (!bytes.empty()) memcpy(found.rest.data(), bytes.data(), bytes.size());
    TORCH_CHECK_VALUE(found.places.size() + found.rest.size() <= MOST, "bpx: a call of over 64 fields");
    return found;
}

/* None, a truth value, a number, a type or a list of integers. */
c10::IValue constant(py::handle value) {
    if (value.is_none()) return {};
    if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
    if (py::isinstance<py::int_>(value)) return value.cast<int64_t>();
    if (py::isinstance<py::float_>(value)) return value.cast<double>();
    if (THPDtype_Check(value.ptr())) {
        return static_cast<int64_t>(reinterpret_cast<THPDtype*>(value.ptr())->scalar_type);
    }
    return value.cast<std::vector<int64_t>>();
}

/* Of (name, overload, what each argument is): a place, which is a tuple, or a constant. */
Operation recorded_operation(const py::sequence& parts) {
    auto& all = c10::Dispatcher::singleton();
    const auto name = parts[0].cast<std::string>(), overload = parts[1].cast<std::string>();
    Operation found{all.findSchemaOrThrow(name.c_str(), overload.c_str()), {}, {}};
    for (const auto& value : py::reinterpret_borrow<py::sequence>(parts[2])) {
        if (py::isinstance<py::tuple>(value)) {
            found.tensors.emplace_back(found.arguments.size(), place(value));
            found.arguments.emplace_back();
        } else {
            found.arguments.push_back(constant(value));
        }
    }
    return found;
}

std::vector<Step> recorded_steps(py::handle list) {
    std::vector<Step> found;
    for (const auto& item : py::reinterpret_borrow<py::sequence>(list)) {
        const auto parts = py::reinterpret_borrow<py::sequence>(item);
        auto& step = found.emplace_back();
        if (py::isinstance<py::str>(parts[0])) step.operation = recorded_operation(parts);
        else step.call = recorded_call(parts);
    }
    return found;
}

Array array(py::handle tensor) {
    const Tensor& x = THPVariable_Unpack(tensor.ptr());
    return {x.sizes().vec(), x.scalar_type()};
}

std::vector<Array> arrays(py::handle tensors) {
    std::vector<Array> found;
    for (const auto& t : py::reinterpret_borrow<py::sequence>(tensors)) found.push_back(array(t));
    return found;
}

/* Callable(name, steps, made, y, place of y, saved, derived, linked, slow); without steps y is a view. */
PyObject* create(PyTypeObject* type, PyObject* args, PyObject*) {
    HANDLE_TH_ERRORS
    const auto given = py::reinterpret_borrow<py::tuple>(args);
    TORCH_CHECK_TYPE(given.size() == 9,
                     "expected name, steps, made, y, place, saved, derived, linked, slow");
    auto recorded = std::make_shared<Recorded>();
    auto& forward = recorded->forward;
    forward.name = given[0].cast<std::string>();
    forward.steps = recorded_steps(given[1]);
    forward.view = forward.steps.empty();
    forward.made = arrays(given[2]);
    forward.kind = array(given[3]);
    forward.y = place(given[4]).index;
    forward.saved = places(given[5]);
    forward.derived = places(given[6]);
    for (const auto& a : arrays(given[7])) forward.linked.push_back(a.sizes);
    recorded->slow = py::object(given[8]).release().ptr();
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

/* add(needs, steps, made, grads): what backward does for these needs; what is made without a step is dy
 * in another shape. */
PyObject* add(PyObject* self, PyObject* args) {
    HANDLE_TH_ERRORS
    const auto given = py::reinterpret_borrow<py::tuple>(args);
    TORCH_CHECK_TYPE(given.size() == 4, "expected needs, steps, made, grads");
    Backward back;
    for (const auto& need : py::reinterpret_borrow<py::sequence>(given[0])) {
        back.needs.push_back(need.cast<bool>());
    }
    back.steps = recorded_steps(given[1]);
    back.made = arrays(given[2]);
    back.grads = places(given[3]);
    back.shaped = back.steps.empty() && !back.made.empty();
    auto& recorded = reinterpret_cast<Callable*>(self)->recorded;
    auto next = std::make_shared<Recorded>(*recorded);
    next->backwards.push_back(std::move(back));
    recorded = std::move(next);
    Py_RETURN_NONE;
    END_HANDLE_TH_ERRORS
}

PyMethodDef methods[] = {{"add", add, METH_VARARGS, "add(needs, steps, made, grads)"}, {}};

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
                          "Recorded calls of rules as nodes of torch's graph.", -1, functions};

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
