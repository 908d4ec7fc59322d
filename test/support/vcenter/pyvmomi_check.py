"""Compares calls of vCenter's API, and their answers, with the types that VMware's own library knows.

Standard input: a JSON list of {"type", "method", "body", "result"}. Standard output: a JSON list of faults.
"""

import json
import sys

from pyVmomi import VmomiSupport as types

faults = set()
PRIMITIVES = {bool: bool, int: int, float: (int, float), str: str}


def method_of(managed, name):
    for base in managed.__mro__:
        for info in getattr(base, "_methodInfo", {}).values():
            if info.wsdlName == name:
                return info
    return None


def check_object(value, wanted, place):
    name = value.get("_typeName")
    actual = types.GuessWsdlType(name) if name else wanted
    if not issubclass(actual, wanted) and wanted is not object:
        faults.add(f"{place}: {name} is no {wanted.__name__}")
        return
    if issubclass(actual, types.ManagedObject):
        if not issubclass(types.GuessWsdlType(value["type"]), wanted):
            faults.add(f"{place}: a reference to {value['type']}, not to {wanted.__name__}")
        return
    known = {info.name: info for info in actual._GetPropertyList()}
    for key, inner in value.items():
        if key == "_typeName":
            continue
        if key not in known:
            faults.add(f"{place}: {actual.__name__} has no property {key}")
        else:
            check(inner, known[key].type, f"{place}.{key}")
    for key, info in known.items():
        if key not in value and not info.flags & types.F_OPTIONAL:
            faults.add(f"{place}: {actual.__name__} needs the property {key}")


def check(value, wanted, place):
    if value is None or wanted is type(None):
        return
    if isinstance(value, dict) and value.get("_typeName") == "ManagedObjectReference":
        wanted = types.ManagedObject if wanted is object else wanted
        if not issubclass(types.GuessWsdlType(value["type"]), wanted):
            faults.add(f"{place}: a reference to {value['type']}, not to {wanted.__name__}")
    elif issubclass(wanted, list):
        items = value.get("_value", value) if isinstance(value, dict) else value
        if not isinstance(items, list):
            faults.add(f"{place}: {type(value).__name__}, not a list")
            return
        for index, item in enumerate(items):
            check(item, wanted.Item, f"{place}[{index}]")
    elif wanted is object:
        return
    elif issubclass(wanted, types.Enum):
        if value not in wanted.values:
            faults.add(f"{place}: {value} is no {wanted.__name__}")
    elif isinstance(value, dict):
        check_object(value, wanted, place)
    elif issubclass(wanted, (types.DataObject, types.ManagedObject)):
        faults.add(f"{place}: {type(value).__name__}, not {wanted.__name__}")
    else:
        for base, form in PRIMITIVES.items():
            if issubclass(wanted, base) and not isinstance(value, form):
                faults.add(f"{place}: {type(value).__name__}, not {wanted.__name__}")
                break
            if issubclass(wanted, base):
                break


def check_call(call):
    place = f"{call['type']}.{call['method']}"
    info = method_of(types.GuessWsdlType(call["type"]), call["method"])
    if info is None:
        faults.add(f"{place}: no such method")
        return
    params = {param.name: param for param in info.params}
    for key, value in call["body"].items():
        if key not in params:
            faults.add(f"{place}: no parameter {key}")
        else:
            check(value, params[key].type, f"{place} {key}")
    for key, param in params.items():
        if key not in call["body"] and not param.flags & types.F_OPTIONAL:
            faults.add(f"{place}: needs the parameter {key}")
    check(call.get("result"), info.methodResult, f"{place} answers")


for each in json.load(sys.stdin):
    check_call(each)
json.dump(sorted(faults), sys.stdout)
