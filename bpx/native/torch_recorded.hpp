/* What bpx_torch/_recording.py hands over, as steps and arrays. */
#ifndef BPX_TORCH_RECORDED_H
#define BPX_TORCH_RECORDED_H

#include "torch_callable.hpp"

#include <cstring>

namespace bpx {

namespace py = pybind11;

inline Place place(py::handle pair) {
    const auto parts = py::reinterpret_borrow<py::sequence>(pair);
    return {static_cast<Source>(parts[0].cast<int>()), parts[1].cast<size_t>()};
}

inline std::vector<Place> places(py::handle list) {
    std::vector<Place> found;
    for (const auto& item : py::reinterpret_borrow<py::sequence>(list)) found.push_back(place(item));
    return found;
}

/* Of (address, places, rest as bytes). */
inline Call recorded_call(const py::sequence& parts) {
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
inline c10::IValue constant(py::handle value) {
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
inline Operation recorded_operation(const py::sequence& parts) {
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

inline std::vector<Step> recorded_steps(py::handle list) {
    std::vector<Step> found;
    for (const auto& item : py::reinterpret_borrow<py::sequence>(list)) {
        const auto parts = py::reinterpret_borrow<py::sequence>(item);
        auto& step = found.emplace_back();
        if (py::isinstance<py::str>(parts[0])) step.operation = recorded_operation(parts);
        else step.call = recorded_call(parts);
    }
    return found;
}

inline Array array(py::handle tensor) {
    const Tensor& x = THPVariable_Unpack(tensor.ptr());
    return {x.sizes().vec(), x.scalar_type(), strides(x)};
}

inline std::vector<Array> arrays(py::handle tensors) {
    std::vector<Array> found;
    for (const auto& t : py::reinterpret_borrow<py::sequence>(tensors)) found.push_back(array(t));
    return found;
}

}  // namespace bpx

#endif
