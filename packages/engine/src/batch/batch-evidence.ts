import { operationRow, type RequestItem, type RequestMessage, type Version } from "@holdfast/kmip";
import type { AuditEvent } from "../audit/audit-event.ts";
import { StoreUnavailable } from "../base/errors.ts";
import type { BatchParts, Done, Origin } from "./batch-parts.ts";
import { type AuditBase, eventsMerged, ItemAudit } from "./item-audit.ts";

/** What a batch reports: events for the observer, audit events for the store. */
export class BatchEvidence {
  readonly #parts: BatchParts;
  readonly #version: Version;
  readonly #origin: Origin;
  readonly #auditBase: AuditBase;
  /** Evidence of reads and refusals, handed to the store at the end of the message. */
  readonly #evidence: AuditEvent[] = [];

  constructor(parts: BatchParts, { version }: RequestMessage, origin: Origin) {
    const { client, requestId } = origin;
    this.#parts = parts;
    this.#version = version;
    this.#origin = origin;
    this.#auditBase = { time: parts.clock.wallMs(), initiator: client.fingerprint, requestId };
  }

  /** The evidence of one item, as it begins. */
  begin(item: RequestItem): ItemAudit {
    const audit = new ItemAudit(this.#auditBase, operationRow(item.operation)?.audit);
    const { evidence } = this.#origin.client;
    if (evidence !== undefined) audit.note(evidence);
    return audit;
  }

  /** True when reads must be durable evidence before they are answered. */
  get isStrict(): boolean {
    return this.#parts.settings.auditReads === "strict";
  }

  /** Makes evidence durable. */
  async append(events: readonly AuditEvent[]): Promise<void> {
    if (events.length === 0) return;
    await this.#parts.store.appendAudit(this.#origin.client.instance, events, true);
  }

  /** Reports a final answer to the observer, and keeps its evidence unless it was committed with its change. */
  report({ answer, audit, startedMs, cause }: Done): void {
    const { observe } = this.#parts;
    const result =
      answer.status === "OperationFailed" ? (answer.reason ?? answer.status) : answer.status;
    const { client, requestId } = this.#origin;
    observe({
      type: "operation",
      operation: answer.operation ?? "unknown",
      version: this.#version,
      instance: client.instance,
      result,
      durationMs: this.#parts.clock.monotonicMs() - startedMs,
      requestId,
      fingerprint: client.fingerprint,
      ...(audit.target === undefined ? {} : { uniqueIdentifier: audit.target }),
      ...(cause === undefined ? {} : { cause }),
    });
    if (audit.written) return;
    if (result === "Success") this.#evidence.push(...audit.outcomeEvents("success"));
    // A change that its barrier does not cover may survive.
    else if (cause instanceof StoreUnavailable && operationRow(answer.operation)?.changes) {
      this.#evidence.push(...audit.outcomeEvents("unknown", result));
    } else this.#evidence.push(...audit.outcomeEvents("failure", result));
  }

  /** Writes the evidence that no change carried; the response does not wait for it. */
  handOver(): void {
    if (this.#evidence.length === 0) return;
    const { observe, store } = this.#parts;
    store
      .appendAudit(this.#origin.client.instance, eventsMerged(this.#evidence), this.isStrict)
      .catch((cause: unknown) => {
        observe({ type: "warning", message: "audit events were lost", cause });
      });
  }
}
