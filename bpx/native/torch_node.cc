/* The module torch_node: recorded calls of rules that Python can make, each a node of torch's graph.
 * Compiled against torch's headers in the background when first wanted (bpx_torch/_node.py), so that
 * neither the core nor an install of bpx needs them. What a call consists of was recorded from the
 * kernel's Python (bpx_torch/_recording.py): nothing here knows a rule. */
#include "torch_known.hpp"
#include "torch_recorded.hpp"

#include <cstddef>

namespace {

using namespace bpx;

/* Callable(name, steps, made, y, place of y, saved, residuals, derived, linked, given, slow); without
 * steps y is a view. `given` are the arguments it was recorded of, None where absent. */
PyObject* create(PyTypeObject* type, PyObject* args, PyObject*) {
    HANDLE_TH_ERRORS
    const auto given = py::reinterpret_borrow<py::tuple>(args);
    TORCH_CHECK_TYPE(given.size() == 11, "expected name, steps, made, y, place, saved, residuals, "
                                         "derived, linked, given, slow");
    auto recorded = std::make_shared<Recorded>();
    auto& forward = recorded->forward;
    forward.name = given[0].cast<std::string>();
    forward.steps = recorded_steps(given[1]);
    forward.view = forward.steps.empty();
    forward.made = arrays(given[2]);
    forward.kind = array(given[3]);
    forward.y = place(given[4]).index;
    forward.saved = places(given[5]);
    forward.residuals = places(given[6]);
    forward.derived = places(given[7]);
    for (const auto& a : arrays(given[8])) forward.linked.push_back(a.sizes);
    for (const auto& a : py::reinterpret_borrow<py::sequence>(given[9])) {
        auto& strides = forward.strides.emplace_back();
        if (!a.is_none()) strides = array(a).strides;
    }
    recorded->slow = py::object(given[10]).release().ptr();
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

/* A method of positional arguments alone. */
PyMethodDef fast(const char* name, PyObject* (*method)(PyObject*, PyObject* const*, Py_ssize_t),
                 const char* about) {
    const auto any = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(method));
    return {name, any, METH_FASTCALL, about};
}

PyMethodDef methods[] = {{"add", add, METH_VARARGS, "add(needs, steps, made, grads)"},
                         fast("whole", call_whole, "whole(*arrays) -> (y, *residuals), or None"),
                         {}};

PyMethodDef known_methods[] = {
    {"add", known_add, METH_VARARGS, "add(arrays, options, bounds, callable)"},
    fast("whole", known_whole, "whole(arrays, options) -> (y, *residuals), or None"),
    {}};

PyTypeObject callable = {PyVarObject_HEAD_INIT(nullptr, 0)};
PyTypeObject known = {PyVarObject_HEAD_INIT(nullptr, 0)};

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

/* A type of objects with a vectorcall. */
void describe(PyTypeObject& type, const char* name, size_t size, size_t call_at, newfunc made,
              destructor gone, PyMethodDef* own) {
    type.tp_name = name;
    type.tp_basicsize = static_cast<Py_ssize_t>(size);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL;
    type.tp_vectorcall_offset = static_cast<Py_ssize_t>(call_at);
    type.tp_call = PyVectorcall_Call;
    type.tp_new = made;
    type.tp_dealloc = gone;
    type.tp_methods = own;
}

bool joins(PyObject* module, const char* name, PyTypeObject& type) {
    if (PyType_Ready(&type) < 0) return false;
    Py_INCREF(&type);
    return PyModule_AddObject(module, name, reinterpret_cast<PyObject*>(&type)) == 0;
}

}  // namespace

PyMODINIT_FUNC PyInit_torch_node() {
    describe(callable, "torch_node.Callable", sizeof(Callable), offsetof(Callable, call), create, destroy,
             methods);
    describe(known, "torch_node.Known", sizeof(Known), offsetof(Known, call), known_create, known_destroy,
             known_methods);
    PyObject* made = PyModule_Create(&definition);
    if (made == nullptr) return nullptr;
    return joins(made, "Callable", callable) && joins(made, "Known", known) ? made : nullptr;
}
