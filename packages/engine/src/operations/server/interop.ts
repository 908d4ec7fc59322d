import { KmipError } from "@holdfast/kmip";
import type { Handler } from "../../ports/operation-context.ts";

/** Begin and End of an interoperability test, if the setting allows it; nothing is reset (KMIP 2.1, 6.1.26). */
export const interop: Handler<"Interop"> = ({ settings }, { interopFunction }) => {
  if (!settings.interop) {
    throw new KmipError("operationNotSupported", "Interop is not available in production");
  }
  if (interopFunction !== "Begin" && interopFunction !== "End") {
    throw new KmipError("permissionDenied", `Interop ${interopFunction} is not allowed`);
  }
  return {};
};
