/** The header of a session's token in vCenter's VI JSON API. */
export const sessionHeader = "vmware-api-session-id";

/** Where a client and vCenter agree on a release of the API. */
export const helloPath = "/api/vcenter/system?action=hello";

/** The first release of the API: vSphere 8.0 U1, which has no `hello`. */
export const firstRelease = "8.0.1.0";

/** Primitives and lists are boxed where any type may stand: `{"_typeName":"string","_value":"a"}`. */
export function unboxed(value: unknown): unknown {
  const isBox = typeof value === "object" && value !== null && "_value" in value;
  return isBox ? value._value : value;
}
