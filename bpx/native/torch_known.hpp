/* The recorded calls of one rule, found again by what fixes them: options, dtypes and shapes. It is what
 * bpx_torch/_fast.py looks up in Python, for the calls that have come to a Callable. */
#ifndef BPX_TORCH_KNOWN_H
#define BPX_TORCH_KNOWN_H

#include "torch_recorded.hpp"

#include <new>
#include <unordered_map>

namespace bpx {

/* What the numbers of an index may be: 0 <= number < below, or `ignored`. */
struct Bound {
    size_t at; /* which argument */
    int64_t below;
    std::optional<int64_t> ignored;
};

constexpr int64_t kFewIndices = 1 << 16; /* more are looked at by several threads, in Python's call */

struct Seen {
    std::vector<std::pair<py::object, py::object>> options; /* as given, in that order */
    std::vector<std::optional<Array>> arrays;
    std::vector<Bound> bounds;
    py::object callable;
};

struct Known {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject* used;    /* the context variable of bpx.rule.use */
    PyObject* nothing; /* its value where no kernel is asked for */
    std::unordered_multimap<uint64_t, Seen> seen;
};

/* Whether no compiler, transform, mode or autocast looks at the operations of this thread. */
inline bool eager() {
    const auto keys = c10::impl::tls_local_dispatch_key_set();
    const auto inference = c10::DispatchKeySet(c10::DispatchKey::ADInplaceOrView);
    return keys.included_ - inference == c10::default_included_set - inference &&
           keys.excluded_ - c10::autograd_dispatch_keyset == c10::default_excluded_set;
}

/* -0.0 is not 0.0: threshold writes it. What is not known to be fixed is never the same. */
inline bool same(PyObject* a, PyObject* b) {
    if (a == b) return true;
    if (Py_TYPE(a) != Py_TYPE(b)) return false;
    if (PyFloat_CheckExact(a)) {
        const double x = PyFloat_AS_DOUBLE(a), y = PyFloat_AS_DOUBLE(b);
        return memcmp(&x, &y, sizeof x) == 0;
    }
    if (PyTuple_CheckExact(a)) {
        const Py_ssize_t n = PyTuple_GET_SIZE(a);
        if (n != PyTuple_GET_SIZE(b)) return false;
        for (Py_ssize_t i = 0; i < n; i++) {
            if (!same(PyTuple_GET_ITEM(a, i), PyTuple_GET_ITEM(b, i))) return false;
        }
        return true;
    }
    if (!PyLong_CheckExact(a) && !PyUnicode_CheckExact(a)) return false;
    return PyObject_RichCompareBool(a, b, Py_EQ) == 1;
}

inline bool same(const Seen& seen, PyObject* options, const Tensors& given) {
    if (static_cast<size_t>(PyDict_GET_SIZE(options)) != seen.options.size()) return false;
    if (given.size() != seen.arrays.size()) return false;
    PyObject *name, *value;
    Py_ssize_t at = 0;
    for (const auto& [known, expected] : seen.options) {
        PyDict_Next(options, &at, &name, &value);
        if (!same(known.ptr(), name) || !same(expected.ptr(), value)) return false;
    }
    for (size_t i = 0; i < given.size(); i++) {
        const auto& a = seen.arrays[i];
        if (given[i].defined() != a.has_value()) return false;
        if (a && (given[i].scalar_type() != a->dtype ||
                  given[i].sizes() != c10::IntArrayRef(a->sizes) || !lies(given[i], a->strides)))
            return false;
    }
    return true;
}

template <class T>
bool inside(const Tensor& x, const Bound& bound) {
    const T* numbers = x.const_data_ptr<T>();
    bool all = true;
    for (int64_t i = 0; i < x.numel(); i++) {
        const int64_t n = numbers[i];
        all &= (n >= 0 && n < bound.below) || (bound.ignored && n == *bound.ignored);
    }
    return all;
}

/* Whether the indices are known to be what they may be; the error is for Python to make. */
inline bool inside(const std::vector<Bound>& bounds, const Tensors& given) {
    for (const auto& bound : bounds) {
        const Tensor& x = given[bound.at];
        if (!x.defined()) continue;
        if (!x.is_contiguous() || !plain(x) || x.numel() > kFewIndices) return false;
        const bool wide = x.scalar_type() == at::kLong;
        if (!wide && x.scalar_type() != at::kInt) return false;
        if (!(wide ? inside<int64_t>(x, bound) : inside<int32_t>(x, bound))) return false;
    }
    return true;
}

inline uint64_t mixed(uint64_t hash, uint64_t n) { return (hash ^ n) * 0x9e3779b97f4a7c15u; }

inline uint64_t hashed(const Tensors& given) {
    uint64_t hash = given.size();
    for (const auto& x : given) {
        hash = mixed(hash, x.defined() ? 1 + static_cast<uint64_t>(x.scalar_type()) : 0);
        if (!x.defined()) continue;
        for (const auto n : x.sizes()) hash = mixed(hash, static_cast<uint64_t>(n));
    }
    return hash;
}

/* The arguments as tensors; whether each is a plain one or None. */
inline bool taken(PyObject* arrays, Tensors& given) {
    const auto n = static_cast<size_t>(PyTuple_GET_SIZE(arrays));
    given.reserve(n);
    for (size_t i = 0; i < n; i++) {
        PyObject* a = PyTuple_GET_ITEM(arrays, i);
        if (a == Py_None) {
            given.emplace_back();
            continue;
        }
        const auto type = reinterpret_cast<PyObject*>(Py_TYPE(a));
        if (type != THPVariableClass && type != ParameterClass) return false;
        given.push_back(THPVariable_Unpack(a));
        if (torch::autograd::isFwGradDefined(given.back())) return false;
    }
    return true;
}

inline bool asked(const Known* self) {
    PyObject* value = nullptr;
    if (PyContextVar_Get(self->used, nullptr, &value) < 0) throw python_error();
    Py_XDECREF(value);
    return value != self->nothing;
}

inline PyObject* known_answer(PyObject* object, PyObject* const* args, Py_ssize_t n, bool whole) {
    TORCH_CHECK_TYPE(n == 2 && PyTuple_CheckExact(args[0]) && PyDict_CheckExact(args[1]),
                     "expected a tuple of arrays and a dict of options");
    const auto* self = reinterpret_cast<Known*>(object);
    Tensors given;
    if (!eager() || asked(self) || !taken(args[0], given)) Py_RETURN_NONE;
    const auto [first, last] = self->seen.equal_range(hashed(given));
    for (auto at = first; at != last; ++at) {
        if (!same(at->second, args[1], given)) continue;
        if (!inside(at->second.bounds, given)) break;
        const auto recorded = reinterpret_cast<Callable*>(at->second.callable.ptr())->recorded;
        return answer(recorded, given, whole);
    }
    Py_RETURN_NONE;
}

/* known(arrays, options) -> y, or None where this is not a recorded call. */
inline PyObject* known_call(PyObject* object, PyObject* const* args, size_t flags, PyObject*) {
    HANDLE_TH_ERRORS
    return known_answer(object, args, PyVectorcall_NARGS(flags), false);
    END_HANDLE_TH_ERRORS
}

/* whole(arrays, options) -> (y, *residuals but y), or None. */
inline PyObject* known_whole(PyObject* object, PyObject* const* args, Py_ssize_t n) {
    HANDLE_TH_ERRORS
    return known_answer(object, args, n, true);
    END_HANDLE_TH_ERRORS
}

/* add(arrays, options, bounds, callable): what such calls are from now on; bounds are of (argument, below,
 * ignored or None). */
inline PyObject* known_add(PyObject* object, PyObject* args) {
    HANDLE_TH_ERRORS
    PyObject *arrays, *options, *bounds, *callable;
    if (!PyArg_ParseTuple(args, "O!O!OO", &PyTuple_Type, &arrays, &PyDict_Type, &options, &bounds,
                          &callable))
        return nullptr;
    Tensors given;
    TORCH_CHECK_TYPE(taken(arrays, given), "expected plain tensors");
    Seen made;
    PyObject *name, *value;
    for (Py_ssize_t at = 0; PyDict_Next(options, &at, &name, &value);) {
        made.options.emplace_back(py::reinterpret_borrow<py::object>(name),
                                  py::reinterpret_borrow<py::object>(value));
    }
    for (const auto& x : given) {
        auto& a = made.arrays.emplace_back();
        if (x.defined()) a = Array{x.sizes().vec(), x.scalar_type(), strides(x)};
    }
    for (const auto& item : py::reinterpret_borrow<py::sequence>(bounds)) {
        const auto parts = py::reinterpret_borrow<py::sequence>(item);
        auto& bound = made.bounds.emplace_back();
        bound.at = parts[0].cast<size_t>();
        bound.below = parts[1].cast<int64_t>();
        if (!parts[2].is_none()) bound.ignored = parts[2].cast<int64_t>();
    }
    made.callable = py::reinterpret_borrow<py::object>(callable);
    reinterpret_cast<Known*>(object)->seen.emplace(hashed(given), std::move(made));
    Py_RETURN_NONE;
    END_HANDLE_TH_ERRORS
}

/* Known(used, nothing) */
inline PyObject* known_create(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *used, *nothing;
    if (!PyArg_ParseTuple(args, "O!O", &PyContextVar_Type, &used, &nothing)) return nullptr;
    PyObject* self = type->tp_alloc(type, 0);
    if (self == nullptr) return nullptr;
    auto* made = reinterpret_cast<Known*>(self);
    made->call = known_call;
    made->used = Py_NewRef(used);
    made->nothing = Py_NewRef(nothing);
    new (&made->seen) decltype(made->seen)();
    return self;
}

inline void known_destroy(PyObject* object) {
    auto* self = reinterpret_cast<Known*>(object);
    std::destroy_at(&self->seen);
    Py_DECREF(self->used);
    Py_DECREF(self->nothing);
    Py_TYPE(object)->tp_free(object);
}

}  // namespace bpx

#endif
