import {
  type IdentifierReference,
  type ImplementedOperation,
  type KmipError,
  type OperationRow,
  operationRow,
  operations,
  type RequestItem,
  type RequestMessage,
  type ResponseItem,
  tags,
} from "@holdfast/kmip";
import { largestAnswer, ResponseRoom } from "../operations/response-room.ts";
import type { Handler, OperationContext } from "../ports/operation-context.ts";
import { authorize, limitRefusing } from "./access.ts";
import type { BatchEvidence } from "./batch-evidence.ts";
import type { BatchParts, Done, Origin } from "./batch-parts.ts";
import { BatchReferences } from "./batch-references.ts";
import { failureOf } from "./failure.ts";
import type { ItemAudit } from "./item-audit.ts";
import { WorkingSet } from "./working-set.ts";

/** Carries out the items of one batch, which share their objects, references and room for answers. */
export class BatchItems {
  /** The batch's objects. */
  readonly objects: WorkingSet;
  readonly #parts: BatchParts;
  readonly #message: RequestMessage;
  readonly #origin: Origin;
  readonly #refusal: KmipError | undefined;
  readonly #evidence: BatchEvidence;
  readonly #references = new BatchReferences();
  readonly #room: ResponseRoom;
  readonly #isUndo: boolean;

  /** With `refusal`, every item is refused with it. */
  constructor(
    parts: BatchParts,
    message: RequestMessage,
    origin: Origin,
    evidence: BatchEvidence,
    refusal: KmipError | undefined,
  ) {
    const { store, locks, observe, region, settings } = parts;
    const { client, pace } = origin;
    const { instance } = client;
    const staged = message.header.batchErrorContinuationOption === "Undo";
    const references = this.#references;
    this.#parts = parts;
    this.#message = message;
    this.#origin = origin;
    this.#evidence = evidence;
    this.#refusal = refusal;
    this.#isUndo = staged;
    this.objects = new WorkingSet({
      store,
      locks,
      observe,
      instance,
      region,
      pace,
      references,
      staged,
    });
    this.#room = new ResponseRoom(message, origin, settings.responseBytesMax);
  }

  /** Carries out the item at a position of the batch; a failure becomes its answer. */
  async carryOut(item: RequestItem, position: number): Promise<Done> {
    const startedMs = this.#parts.clock.monotonicMs();
    const audit = this.#evidence.begin(item);
    try {
      if (position > 0) await this.#origin.pace.next();
      const fault = item.fault ?? this.#refusal;
      if (fault !== undefined) throw fault;
      const operation = item.operation as ImplementedOperation;
      authorize(this.#origin.client, this.#origin.users, operation);
      const { changes } = operations[operation];
      if (changes && this.#room.isLimited) {
        const largest = largestAnswer(item.payload, this.#objectOf(operation, item.payload));
        this.#room.require(this.#answerOf(item, operation, largest));
      }
      const payload = await this.#handle(operation, item, audit, position);
      const answer = this.#answerOf(item, operation, payload);
      this.#room.take(answer, changes);
      if (this.#evidence.isStrict && !this.#isUndo) await this.#makeDurable(audit);
      this.#noteIdentifiers(operation, payload);
      return { answer, audit, startedMs };
    } catch (error) {
      const fills = operationRow(item.operation)?.placeholder !== undefined;
      if (fills) this.#references.set(undefined);
      if (item.operation !== undefined) this.#references.answered(item.operation, []);
      return this.failed(item, audit, startedMs, error);
    }
  }

  async #handle<N extends ImplementedOperation>(
    operation: N,
    item: RequestItem,
    audit: ItemAudit,
    position: number,
  ): Promise<object> {
    const { clock, handlers, ids, keyRing, region, settings, writer } = this.#parts;
    const wallMs = clock.wallMs();
    const nowSeconds = Math.floor(wallMs / 1000);
    const doubt = clock.doubt?.();
    this.objects.begin({ operation, nowSeconds, doubt, audit, position });
    const context: OperationContext = {
      operation,
      version: this.#message.version,
      instance: this.#origin.client.instance,
      region,
      writer,
      fingerprint: this.#origin.client.fingerprint,
      keepsKeys: this.#origin.client.keepsKeys === true,
      destroyDelaySeconds: this.#origin.client.destroyDelaySeconds ?? 0,
      mayRevoke: limitRefusing(this.#origin.client, this.#origin.users, "Revoke") === undefined,
      nowSeconds,
      doubt,
      nowUs: Math.floor(wallMs * 1000),
      settings,
      ids,
      keyRing,
      objects: this.objects,
      placeholder: this.#references,
      requireRoom: (response) => {
        if (this.#room.isLimited) this.#room.require(this.#answerOf(item, operation, response));
      },
      note: (detail) => audit.note(detail),
    };
    const handler: Handler<N> = handlers[operation];
    return await handler(context, item.payload as Parameters<Handler<N>>[1]);
  }

  /** The object that a request names; undefined if it names none, or makes a new one. */
  #objectOf(operation: ImplementedOperation, payload: unknown): string | undefined {
    if (operationRow(operation)?.placeholder === "answered") return undefined;
    const { uniqueIdentifier } = payload as { readonly uniqueIdentifier?: IdentifierReference };
    try {
      return this.#references.resolve(uniqueIdentifier);
    } catch {
      // Its handler refuses it.
      return undefined;
    }
  }

  #noteIdentifiers(operation: ImplementedOperation, response: object): void {
    if ("uniqueIdentifiers" in response) {
      this.#references.answered(operation, response.uniqueIdentifiers as readonly string[]);
      return;
    }
    const single = "uniqueIdentifier" in response ? response.uniqueIdentifier : undefined;
    this.#references.answered(operation, typeof single === "string" ? [single] : []);
    if (typeof single !== "string") return;
    if (operationRow(operation)?.placeholder === "answered") this.#references.set(single);
  }

  /** Encodes at once, so that a value which the version cannot express fails its own item (KMIP 1.4, 11.12). */
  #answerOf(item: RequestItem, operation: ImplementedOperation, payload: object): ResponseItem {
    const { response }: OperationRow = operations[operation];
    const tag = tags.ResponsePayload.tag;
    const encodedPayload = response?.encode(tag, payload, this.#message.version);
    const answer = { ...echoOf(item), status: "Success" } as const;
    return encodedPayload === undefined ? { ...answer, payload } : { ...answer, encodedPayload };
  }

  /** The answer to an item that failed. */
  failed(item: RequestItem, audit: ItemAudit, startedMs: number, error: unknown): Done {
    const { cause, ...failure } = failureOf(error, this.#message.version, item.operation);
    const answer: ResponseItem = { ...echoOf(item), status: "OperationFailed", ...failure };
    const done = { answer, audit, startedMs };
    return cause === undefined ? done : { ...done, cause };
  }

  /** A read leaves evidence too; with strict audit it is durable before the response is sent. */
  async #makeDurable(audit: ItemAudit): Promise<void> {
    if (audit.written) return;
    await this.#evidence.append(audit.outcomeEvents("success"));
    audit.written = true;
  }
}

/** What every answer repeats from its request; the batch item's identifier byte for byte, if it has one. */
function echoOf({ operation, operationCode, uniqueBatchItemId }: RequestItem) {
  return {
    ...(operation === undefined ? {} : { operation }),
    ...(operationCode === undefined ? {} : { operationCode }),
    ...(uniqueBatchItemId === undefined ? {} : { uniqueBatchItemId }),
  };
}
