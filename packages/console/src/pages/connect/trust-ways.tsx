import { who } from "../../base/api.ts";
import type { OperationName } from "../../base/contract.ts";
import { may } from "../../base/may.ts";
import type { Action, Given } from "../../parts/action-model.ts";
import { Notice } from "../../parts/notices.tsx";

/** One of vCenter's four ways to make a key server trust it. */
interface Way {
  /** The choice in vCenter's wizard. */
  readonly choice: string;
  /** When it fits. */
  readonly fits: string;
  /** What to press in vCenter before, and after. */
  readonly before: string;
  readonly after: string;
  readonly operation: OperationName;
  /** What the button says. */
  readonly button: string;
  readonly given: Given;
}

const ways: readonly Way[] = [
  {
    choice: "vCenter Certificate",
    fits: "The usual way: vCenter makes a certificate of its own for this provider.",
    before: "Next, then Download certificate (or copy the text), then Done.",
    operation: "addCertificate",
    button: "Add vCenter's certificate",
    given: { kind: "client" },
    after: "Press Refresh: the provider turns green.",
  },
  {
    choice: "vCenter Root CA Certificate",
    fits: "Every client certificate that this authority ever issues gets access: all hosts and solutions under this vCenter.",
    before: "Next, then Download.",
    operation: "addCertificate",
    button: "Add the root CA",
    given: { kind: "authority" },
    after: "Press Refresh: the provider turns green.",
  },
  {
    choice: "New Certificate Signing Request (CSR)",
    fits: "The private key never leaves vCenter, and the authority of this instance signs.",
    before: "Next, then Download.",
    operation: "signRequest",
    button: "Sign the request",
    given: {},
    after:
      "Save the certificate. Then in vCenter: Establish Trust, Upload Signed CSR Certificate, choose the file, Upload.",
  },
  {
    choice: "KMS certificate and private key",
    fits: "Holdfast makes both. The private key passes through this browser: prefer another way where you can.",
    before: "Leave this open: vCenter asks for two files.",
    operation: "issuePair",
    button: "Make certificate and key",
    given: {},
    after:
      "Save both files: the key is shown only once. Then in vCenter: Next, upload both, Establish Trust. Delete the file with the key.",
  },
];

/** The four ways, each with what to press in vCenter and what to do here. */
export function TrustWays({
  instance,
  taken,
  begin,
}: {
  instance: string;
  /** Names that certificates of the instance have. */
  taken: readonly string[];
  begin: (action: Action) => void;
}) {
  const mayAdd = may("addCertificate");
  const isBound = who.value?.instances !== undefined;
  return (
    <>
      <p>
        Select the provider, Establish Trust, Make KMS trust vCenter. vCenter offers four ways; one
        is enough.
      </p>
      {mayAdd ? null : (
        <Notice tone="info">
          Your token may not decide who is a client: a security officer does the steps here.
        </Notice>
      )}
      {ways.map(({ choice, fits, before, after, operation, button, given }, at) => (
        <details key={choice} class="way" open={at === 0}>
          <summary>{choice}</summary>
          <p>{fits}</p>
          <p>
            <b>In vCenter:</b> choose {choice}. {before}
          </p>
          {mayAdd && isBound && given["kind"] === "authority" ? (
            <Notice tone="info">
              Your token is bound to instances, so it adds no authority: choose another way, or ask
              somebody whose token is not.
            </Notice>
          ) : mayAdd ? (
            <button
              type="button"
              class="btn btn-sm btn-primary"
              onClick={() =>
                begin({
                  name: operation,
                  params: { instance },
                  target: instance,
                  given: { name: freeName(given["kind"], taken), ...given },
                })
              }
            >
              {button}
            </button>
          ) : null}
          <p>
            <b>Afterwards:</b> {after}
          </p>
        </details>
      ))}
    </>
  );
}

/** `vcenter-1`, or the next one that is free. */
function freeName(kind: unknown, taken: readonly string[]): string {
  const stem = kind === "authority" ? "vmca" : "vcenter";
  for (let at = 1; ; at++) {
    const name = `${stem}-${at}`;
    if (!taken.includes(name)) return name;
  }
}
