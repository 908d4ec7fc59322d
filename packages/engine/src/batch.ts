import {
  type ImplementedOperation,
  KmipError,
  type OperationRow,
  operations,
  type RequestItem,
  type RequestMessage,
  type ResponseItem,
  tags,
} from "@holdfast/kmip";
import type { Client } from "./access.ts";
import { BatchReferences } from "./batch-references.ts";
import type { EngineSettings, OperationContext } from "./context.ts";
import { StoreUnavailable } from "./errors.ts";
import { failureOf } from "./failure.ts";
import type { Handler, Handlers } from "./handlers.ts";
import { type AuditBase, ItemAudit } from "./item-audit.ts";
import type { Observer } from "./observe.ts";
import { operationTraits } from "./operation-traits.ts";
import type { AuditEvent, Clock, Ids, KeyRing, Locks, ObjectStore } from "./ports.ts";
import { ResponseRoom } from "./response-room.ts";
import { WorkingSet } from "./working-set.ts";

/** How often an Undo batch is decided anew where another writer was faster. */
const attemptsMax = 8;

/** What a batch is carried out with. */
export interface BatchParts {
  readonly store: ObjectStore;
  readonly locks: Locks;
  readonly keyRing: KeyRing;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observe: Observer;
  readonly region: string;
  readonly settings: EngineSettings;
  readonly handlers: Handlers;
}

/** Whose message it is. */
export interface Origin {
  readonly client: Client;
  readonly requestId: string;
}

/** An answer, and what is told of it when it is final. */
interface Done {
  readonly answer: ResponseItem;
  readonly audit: ItemAudit;
  readonly startedMs: number;
  readonly cause?: unknown;
}

/** Successful operations whose identifier becomes the ID Placeholder; Locate and Check say themselves. */
const fillsPlaceholder: ReadonlySet<string> = new Set(["Create", "Register"]);

/**
 * Carries out the items of a message in their order and answers them (KMIP 2.1, 8 and 9.6; KMIP 1.4, 11.43). With
 * `refusal` every item is refused by it, as the continuation option says.
 */
export async function runBatch(
  parts: BatchParts,
  message: RequestMessage,
  origin: Origin,
  refusal?: KmipError,
): Promise<readonly ResponseItem[]> {
  const undo = message.header.batchErrorContinuationOption === "Undo";
  for (let attempt = 1; undo && attempt < attemptsMax; attempt++) {
    const batch = new Batch(parts, message, origin, refusal);
    const answers = await batch.undoable();
    if (answers !== undefined) return answers;
  }
  const batch = new Batch(parts, message, origin, refusal);
  return undo ? ((await batch.undoable()) ?? batch.busy()) : batch.inOrder();
}

class Batch {
  readonly #parts: BatchParts;
  readonly #message: RequestMessage;
  readonly #origin: Origin;
  readonly #refusal: KmipError | undefined;
  readonly #references = new BatchReferences();
  readonly #set: WorkingSet;
  readonly #room: ResponseRoom;
  readonly #auditBase: AuditBase;
  /** Reads and refusals, handed over at the end of the message. */
  readonly #evidence: AuditEvent[] = [];

  constructor(parts: BatchParts, message: RequestMessage, origin: Origin, refusal?: KmipError) {
    const { store, locks, observe, region, settings, clock } = parts;
    const { client, requestId } = origin;
    const staged = message.header.batchErrorContinuationOption === "Undo";
    this.#parts = parts;
    this.#message = message;
    this.#origin = origin;
    this.#refusal = refusal;
    const { instance, fingerprint: initiator } = client;
    const references = this.#references;
    this.#set = new WorkingSet({ store, locks, observe, instance, region, references, staged });
    this.#room = new ResponseRoom(message, requestId, settings.responseBytesMax);
    this.#auditBase = { time: clock.wallMs(), initiator, requestId };
  }

  /** Stop and Continue: each item is done and stays done. */
  async inOrder(): Promise<readonly ResponseItem[]> {
    const answers: ResponseItem[] = [];
    const goesOn = this.#message.header.batchErrorContinuationOption === "Continue";
    for (const [position, item] of this.#message.items.entries()) {
      const done = await this.#carryOut(item, position);
      answers.push(done.answer);
      this.#tell(done);
      if (done.answer.status === "OperationFailed" && !goesOn) break;
    }
    this.#handOver();
    return answers;
  }

  /** Undo: all items or none. Undefined when another writer was faster. */
  async undoable(): Promise<readonly ResponseItem[] | undefined> {
    const all: Done[] = [];
    for (const [position, item] of this.#message.items.entries()) {
      const done = await this.#carryOut(item, position);
      all.push(done);
      if (done.answer.status === "OperationFailed") return this.#undone(all);
    }
    const failed = await this.#commit(all);
    if (failed === "again") return undefined;
    if (failed !== undefined) return this.#undone(failed);
    for (const done of all) this.#tell(done);
    this.#handOver();
    return all.map(({ answer }) => answer);
  }

  /** Undo that never got through. */
  busy(): readonly ResponseItem[] {
    const error = new KmipError("generalFailure", "cannot tell: others change these objects");
    const [first] = this.#message.items;
    if (first === undefined) return [];
    const done = this.#failed(first, this.#newAudit(first), this.#nowMs(), error);
    return this.#undone([done]);
  }

  /** Makes the staged changes; what comes back otherwise are the items up to the one that was refused. */
  async #commit(all: readonly Done[]): Promise<readonly Done[] | "again" | undefined> {
    const reads = all.flatMap(({ audit }) => (audit.staged ? [] : audit.outcomeEvents("success")));
    try {
      const outcome = await this.#set.commit(reads);
      if (outcome === "again") return outcome;
      if (typeof outcome === "object") return this.#failedAt(all, outcome.position, outcome.error);
      const strict = this.#parts.settings.auditReads === "strict";
      if (outcome === "untouched" && !strict) return undefined;
      if (outcome === "untouched") await this.#appendStrictly(reads);
      for (const { audit } of all) audit.written = true;
      return undefined;
    } catch (error) {
      return this.#failedAt(all, all.length - 1, error);
    }
  }

  #failedAt(all: readonly Done[], position: number, error: unknown): readonly Done[] {
    const item = this.#message.items[position];
    const done = all[position];
    if (item === undefined || done === undefined) return all;
    return [...all.slice(0, position), this.#failed(item, done.audit, done.startedMs, error)];
  }

  /** The items before the one that failed were done on the overlay only. */
  #undone(all: readonly Done[]): readonly ResponseItem[] {
    const last = all.length - 1;
    const answers = all.map((done, position): ResponseItem => {
      const answer: ResponseItem =
        position === last ? done.answer : { ...done.answer, status: "OperationUndone" };
      this.#tell({ ...done, answer });
      return answer;
    });
    this.#handOver();
    return answers;
  }

  async #carryOut(item: RequestItem, position: number): Promise<Done> {
    const startedMs = this.#nowMs();
    const audit = this.#newAudit(item);
    try {
      const fault = item.fault ?? this.#refusal;
      if (fault !== undefined) throw fault;
      const operation = item.operation as ImplementedOperation;
      const { changes } = operationTraits[operation];
      if (changes) this.#room.reserve(item.payload);
      const payload = await this.#handle(operation, item.payload, audit, position);
      const answer = this.#answerOf(item, operation, payload);
      this.#room.take(answer);
      await this.#evidenceOfSuccess(audit);
      return { answer, audit, startedMs };
    } catch (error) {
      return this.#failed(item, audit, startedMs, error);
    }
  }

  async #handle<N extends ImplementedOperation>(
    operation: N,
    payload: unknown,
    audit: ItemAudit,
    position: number,
  ): Promise<object> {
    const { clock, handlers, ids, keyRing, region, settings } = this.#parts;
    const wallMs = clock.wallMs();
    const nowSeconds = Math.floor(wallMs / 1000);
    this.#set.begin({ operation, nowSeconds, audit, position });
    const context: OperationContext = {
      operation,
      version: this.#message.version,
      instance: this.#origin.client.instance,
      region,
      nowSeconds,
      nowUs: Math.floor(wallMs * 1000),
      settings,
      ids,
      keyRing,
      objects: this.#set,
      placeholder: this.#references,
      note: (detail) => audit.note(detail),
    };
    const handler: Handler<N> = handlers[operation];
    const response: object = await handler(context, payload as Parameters<Handler<N>>[1]);
    this.#noteIdentifiers(operation, response);
    return response;
  }

  #noteIdentifiers(operation: ImplementedOperation, response: object): void {
    if ("uniqueIdentifier" in response && typeof response.uniqueIdentifier === "string") {
      this.#references.produced(operation, response.uniqueIdentifier);
      if (fillsPlaceholder.has(operation)) this.#references.set(response.uniqueIdentifier);
    }
    if ("uniqueIdentifiers" in response) {
      for (const identifier of response.uniqueIdentifiers as readonly string[]) {
        this.#references.produced(operation, identifier);
      }
    }
  }

  /** Encoded at once, so that what the version cannot say is the item's failure (KMIP 1.4, 11.12). */
  #answerOf(item: RequestItem, operation: ImplementedOperation, payload: object): ResponseItem {
    const { response }: OperationRow = operations[operation];
    const tag = tags.ResponsePayload.tag;
    const encodedPayload = response?.encode(tag, payload, this.#message.version);
    const answer = { ...echoOf(item), status: "Success" } as const;
    return encodedPayload === undefined ? { ...answer, payload } : { ...answer, encodedPayload };
  }

  #failed(item: RequestItem, audit: ItemAudit, startedMs: number, error: unknown): Done {
    const { reason, message, cause } = failureOf(error, this.#message.version, item.operation);
    const answer: ResponseItem = { ...echoOf(item), status: "OperationFailed", reason, message };
    const done = { answer, audit, startedMs };
    return cause === undefined ? done : { ...done, cause };
  }

  /** A read is evidence itself; with strict audit it is durable before the answer goes out. */
  async #evidenceOfSuccess(audit: ItemAudit): Promise<void> {
    if (audit.written || this.#parts.settings.auditReads === "batched" || this.#isUndo()) return;
    await this.#appendStrictly(audit.outcomeEvents("success"));
    audit.written = true;
  }

  async #appendStrictly(events: readonly AuditEvent[]): Promise<void> {
    if (events.length === 0) return;
    await this.#parts.store.appendAudit(this.#origin.client.instance, events, true);
  }

  #isUndo(): boolean {
    return this.#message.header.batchErrorContinuationOption === "Undo";
  }

  #newAudit(item: RequestItem): ItemAudit {
    return new ItemAudit(this.#auditBase, traitsOf(item)?.audit);
  }

  #nowMs(): number {
    return this.#parts.clock.monotonicMs();
  }

  /** Tells the observer of a final answer, and keeps its evidence if its change did not carry it. */
  #tell({ answer, audit, startedMs, cause }: Done): void {
    const { observe } = this.#parts;
    const result =
      answer.status === "OperationFailed" ? (answer.reason ?? answer.status) : answer.status;
    const { client, requestId } = this.#origin;
    observe({
      type: "operation",
      operation: answer.operation ?? "unknown",
      version: this.#message.version,
      instance: client.instance,
      result,
      durationMs: this.#nowMs() - startedMs,
      requestId,
      fingerprint: client.fingerprint,
      ...(audit.target === undefined ? {} : { uniqueIdentifier: audit.target }),
      ...(cause === undefined ? {} : { cause }),
    });
    if (audit.written) return;
    if (result === "Success") this.#evidence.push(...audit.outcomeEvents("success"));
    // A change whose barrier came back short may survive.
    else if (cause instanceof StoreUnavailable && traitsOf(answer)?.changes === true) {
      this.#evidence.push(...audit.outcomeEvents("unknown", result));
    } else this.#evidence.push(...audit.outcomeEvents("failure", result));
  }

  /** Evidence that no change carried; the answer does not wait for it. */
  #handOver(): void {
    if (this.#evidence.length === 0) return;
    const { observe, store, settings } = this.#parts;
    const strict = settings.auditReads === "strict";
    store
      .appendAudit(this.#origin.client.instance, this.#evidence, strict)
      .catch((cause: unknown) => {
        observe({ type: "warning", message: "audit events were lost", cause });
      });
  }
}

function traitsOf({ operation }: Pick<RequestItem | ResponseItem, "operation">) {
  return operation !== undefined && Object.hasOwn(operationTraits, operation)
    ? operationTraits[operation as ImplementedOperation]
    : undefined;
}

/** What every answer repeats of its request; the identifier byte for byte, and none where there was none. */
function echoOf({ operation, operationCode, uniqueBatchItemId }: RequestItem) {
  return {
    ...(operation === undefined ? {} : { operation }),
    ...(operationCode === undefined ? {} : { operationCode }),
    ...(uniqueBatchItemId === undefined ? {} : { uniqueBatchItemId }),
  };
}
