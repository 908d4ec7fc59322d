import { ManagementError, type ProblemCode } from "@holdfast/admin";
import type { Engine } from "@holdfast/engine";
import {
  decodeResponse,
  encodeRequest,
  type ImplementedOperation,
  type Request,
} from "@holdfast/kmip";
import { decode, encode } from "@holdfast/ttlv";
import { detailNames } from "../../audit/management-event.ts";
import { beforeWriting } from "../../records/dry-run.ts";

/** Carries out KMIP operations. */
export type KeyEngine = Pick<Engine, "execute">;

/** The instance whose object is changed. */
export interface OfInstance {
  readonly id: string;
  /** See the engine's `Client.destroyDelaySeconds`. */
  readonly destroyDelaySeconds?: number | undefined;
}

/** In whose name an object is changed. */
export interface Changer {
  readonly principal: { readonly name: string; readonly id: string; readonly remote: string };
  readonly requestId: string;
}

const fingerprintForm = /^[0-9a-f]{64}$/i;

const codes: Readonly<Record<string, ProblemCode>> = {
  ItemNotFound: "notFound",
  ObjectNotFound: "notFound",
  WrongKeyLifecycleState: "wrongState",
  ObjectDestroyed: "wrongState",
  InvalidObjectType: "wrongState",
  InvalidField: "invalid",
  PermissionDenied: "wrongState",
  GeneralFailure: "storeUnavailable",
};

/**
 * Changes an object as a client of its instance would: the engine decides, locks, agrees with the other region and
 * leaves evidence, all in one place.
 */
export async function changeKey<Operation extends ImplementedOperation>(
  engine: KeyEngine,
  { id: instance, destroyDelaySeconds }: OfInstance,
  operation: Operation,
  payload: Request<Operation>,
  { principal, requestId }: Changer,
): Promise<void> {
  beforeWriting();
  const request = encodeRequest({ version: "2.1", items: [{ operation, payload }] });
  const { id, name, remote } = principal;
  // The caller takes the place of a client's fingerprint in the evidence, and must never be mistaken for one.
  const fingerprint = fingerprintForm.test(name) ? `token ${name}` : name;
  const evidence = { [detailNames.initiatorId]: id, [detailNames.remote]: remote };
  const client = { instance, fingerprint, evidence, destroyDelaySeconds };
  const answer = await engine.execute(encode(request), client, requestId);
  const [item] = decodeResponse(decode(answer)).items;
  if (item?.status === "Success") return;
  const { reason, message = "the operation failed" } = item ?? {};
  const isPeer = message.includes("region");
  const code = reason === undefined ? "internal" : (codes[reason] ?? "internal");
  throw new ManagementError(
    code === "storeUnavailable" && isPeer ? "peerUnreachable" : code,
    message,
  );
}
