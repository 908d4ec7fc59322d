"""PyKMIP clients, driven by a JSON object a line on standard input, each answered by one on standard output.

PyKMIP as Debian packages it does not verify the server, so the socket is made here, with verification. Add Attribute,
which PyKMIP has not, is written and read with its own primitives.
"""
import json
import ssl
import sys

from kmip.core import enums, objects, primitives
from kmip.core.exceptions import OperationFailure
from kmip.core.factories.payloads.response import ResponsePayloadFactory
from kmip.core.messages import payloads
from kmip.pie import client as pie_client
from kmip.pie import objects as pie_objects
from kmip.pie.exceptions import KmipOperationFailure
from kmip.services import kmip_client


class StrictProxy(kmip_client.KMIPProxy):
    """Verifies the server's certificate and the address in it."""

    tls_version = None

    def _create_socket(self, sock):
        context = ssl.create_default_context(cafile=self.ca_certs)
        context.load_cert_chain(self.certfile, self.keyfile)
        if self.tls_version is not None:
            context.minimum_version = context.maximum_version = self.tls_version
        self.socket = context.wrap_socket(sock, server_hostname=self.host)
        self.socket.settimeout(self.timeout)


class AddAttributeRequest(payloads.ModifyAttributeRequestPayload):
    """The same fields as Modify Attribute's, but for the current attribute."""


kmip_client.KMIPProxy = StrictProxy
pie_client.KMIPProxy = StrictProxy
ResponsePayloadFactory._create_add_attribute_payload = lambda self: payloads.ModifyAttributeResponsePayload()


def plain(value):
    """A primitive of PyKMIP's as JSON; structures as their own text."""
    if isinstance(value, primitives.Enumeration):
        return value.value.name
    if isinstance(value, objects.Attribute):
        return [value.attribute_name.value, plain(value.attribute_value)]
    if isinstance(value, primitives.Struct):
        return str(getattr(value, "name_value", value))
    return value.value if isinstance(value, primitives.Base) else value


def named(value):
    """A pair of attribute name and value, from either form."""
    if isinstance(value, objects.Attribute):
        return plain(value)
    return [enums.convert_attribute_tag_to_name(value.tag), plain(value)]


def check(result):
    if result.result_status.value != enums.ResultStatus.SUCCESS:
        raise KmipOperationFailure(
            result.result_status.value, result.result_reason.value, result.result_message.value
        )
    return result


class Session:
    def open(self, config, version, tls=None):
        StrictProxy.tls_version = None if tls is None else ssl.TLSVersion[tls]
        self.v2 = version.startswith("2")
        version = enums.KMIPVersion["KMIP_" + version.replace(".", "_")]
        self.client = pie_client.ProxyKmipClient(config_file=config, kmip_version=version)
        self.client.open()
        used = self.client.proxy.socket
        return {"tls": used.version(), "verifies": used.context.verify_mode == ssl.CERT_REQUIRED}

    def close(self):
        self.client.close()

    def discover_versions(self):
        result = check(self.client.proxy.discover_versions())
        return ["%d.%d" % (one.major, one.minor) for one in result.protocol_versions]

    def query(self, functions):
        result = check(self.client.proxy.query(query_functions=[enums.QueryFunction[f] for f in functions]))
        return {
            "operations": [one.name for one in result.operations or []],
            "object_types": [one.name for one in result.object_types or []],
            "vendor": result.vendor_identification,
        }

    def create(self, bits, name=None):
        masks = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
        return self.client.create(
            enums.CryptographicAlgorithm.AES, bits, name=name, cryptographic_usage_mask=masks
        )

    def register(self, material, kind, name):
        value = bytes.fromhex(material)
        if kind == "symmetric_key":
            one = pie_objects.SymmetricKey(enums.CryptographicAlgorithm.AES, len(value) * 8, value, name=name)
        elif kind == "secret_data":
            one = pie_objects.SecretData(value, enums.SecretDataType.PASSWORD, name=name)
        else:
            one = pie_objects.OpaqueObject(value, enums.OpaqueDataType.NONE, name=name)
        return self.client.register(one)

    def get(self, uid):
        return self.client.get(uid).value.hex()

    def get_attribute_list(self, uid):
        return self.client.get_attribute_list(uid)

    def get_attributes(self, uid, names=None):
        return [named(one) for one in self.client.get_attributes(uid, names)[1]]

    def add_attribute(self, uid, name, value):
        self._send(enums.Operation.ADD_ATTRIBUTE, AddAttributeRequest, uid, name, value)

    def modify_attribute(self, uid, name, value):
        kind = payloads.ModifyAttributeRequestPayload
        self._send(enums.Operation.MODIFY_ATTRIBUTE, kind, uid, name, value)

    def delete_attribute(self, uid, name, value=None):
        if self.v2:
            self.client.delete_attribute(
                uid, current_attribute=objects.CurrentAttribute(attribute=self._value(name, value))
            )
        else:
            self.client.delete_attribute(uid, attribute_name=name)

    def locate(self, name):
        attribute = self.client.attribute_factory.create_attribute(enums.AttributeType.NAME, name)
        return self.client.locate(attributes=[attribute])

    def activate(self, uid):
        self.client.activate(uid)

    def revoke(self, uid, reason):
        self.client.revoke(enums.RevocationReasonCode[reason], uid, "for a test")

    def destroy(self, uid):
        self.client.destroy(uid)

    def _value(self, name, value):
        factory = self.client.attribute_factory.value_factory
        return factory.create_attribute_value_by_enum(enums.convert_attribute_name_to_tag(name), value)

    def _send(self, operation, kind, uid, name, value):
        if self.v2:
            request = kind(uid, new_attribute=objects.NewAttribute(attribute=self._value(name, value)))
        else:
            text = self.client.attribute_factory.value_factory.create_attribute_value(
                enums.AttributeType(name) if name in [a.value for a in enums.AttributeType] else name, value
            )
            request = kind(uid, attribute=objects.Attribute(objects.Attribute.AttributeName(name), None, text))
        self.client.proxy.send_request_payload(operation, request)


def answer(sessions, line):
    asked = json.loads(line)
    session = sessions.setdefault(asked["session"], Session())
    try:
        return {"ok": getattr(session, asked["call"])(**asked["arguments"])}
    except (KmipOperationFailure, OperationFailure) as failure:
        return {"error": {"kind": "failure", "reason": failure.reason.name, "message": getattr(failure, "message", str(failure))}}
    except Exception as failure:
        return {"error": {"kind": type(failure).__name__, "message": str(failure)}}


if __name__ == "__main__":
    sessions = {}
    for line in sys.stdin:
        print(json.dumps(answer(sessions, line)), flush=True)
