import { callIn, readDocument } from "@holdfast/admin/approval-request";
import { useSignal } from "@preact/signals";
import { askedCall, leavesOutSecret } from "../../base/asked-call.ts";
import { type AnswerOf, type OperationName, operations } from "../../base/contract.ts";
import { may } from "../../base/may.ts";
import { sha256 } from "../../parts/authenticator.ts";
import { Failure } from "../../parts/notices.tsx";
import { said } from "../resource-model.ts";
import type { ExtraProps } from "./extra-props.ts";

/** Carries out the approved request of the page: its document has the whole call, but for secrets. */
export function CarryOut({ model, params }: ExtraProps) {
  const error = useSignal<unknown>(undefined);
  const request = model.thing.value as AnswerOf<"readApproval"> | undefined;
  if (request?.state !== "approved") return null;
  const { operation: name, document, askedBy } = request;
  if (!isOperation(name)) {
    return (
      <p>
        This request is approved. It is for a command at a node: repeat the command there with{" "}
        <code>--approval {params["approval"]}</code>.
      </p>
    );
  }
  if (!may(name)) return null;
  const begin = async () => {
    const read = readDocument(document, await sha256(callIn(document)));
    if (typeof read === "string") {
      error.value = new Error(`The document of this request is ${read}.`);
      return;
    }
    error.value = undefined;
    said.value = { text: "", path: "" };
    const asked = askedCall(read.call, operations[name], read.request.target);
    model.action.value = { name, ...asked, approval: read.request.request };
  };
  return (
    <section>
      <h2>Carry out</h2>
      <p>
        This request is approved. It works once, and only with the token that asked for it: that of{" "}
        <b class="text">{askedBy}</b>. The form has everything that was signed
        {leavesOutSecret(document) ? " but for secrets: type these again" : ""}.
      </p>
      {error.value === undefined ? null : <Failure error={error.value} />}
      <button type="button" class="btn btn-primary" onClick={() => void begin()}>
        Carry out
      </button>
    </section>
  );
}

/** Requests are also made for commands at a node. */
function isOperation(name: string): name is OperationName {
  return Object.hasOwn(operations, name);
}
