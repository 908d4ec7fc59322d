import { userInfo } from "node:os";
import { type AuditEvent, type OwnStore, systemInstance } from "@holdfast/engine";
import type { ManagementAction } from "../audit/actions.ts";
import { reasonOf } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { openStoreOf } from "./open-store.ts";

type Detail = NonNullable<AuditEvent["detail"]>;
type Append = (events: readonly AuditEvent[]) => Promise<void>;

/** What an operator does at a node's command line. */
export interface OperatorAct {
  readonly action: ManagementAction;
  /** What it is done to: a region, an instance, a file's path. */
  readonly target: string;
  readonly detail?: Detail;
}

/** How an act ended. */
export interface ActEnding {
  /** Why it failed, without secrets; undefined for a success. */
  readonly reason?: string | undefined;
  readonly detail?: Detail;
}

/** The events of one act: they share a request identifier. */
export class ActEvidence {
  readonly #act: OperatorAct;
  readonly #wallMs: () => number;
  readonly #requestId: string;

  constructor(act: OperatorAct, { clock, ids }: Pick<Machine, "clock" | "ids">) {
    this.#act = act;
    this.#wallMs = clock.wallMs;
    this.#requestId = ids.uuid();
  }

  /** Pending and success, to be committed with the change itself. */
  committed(): readonly AuditEvent[] {
    return [this.#event("pending"), this.#event("success")];
  }

  pending(): AuditEvent {
    return this.#event("pending");
  }

  ended({ reason, detail }: ActEnding): AuditEvent {
    return this.#event(reason === undefined ? "success" : "failure", reason, detail);
  }

  /** Runs `work`, whose pending event is written by then or by the work itself, and appends how it ended. */
  async concluding<Result>(
    append: Append,
    work: () => Promise<Result>,
    endingOf: (result: Result) => ActEnding = () => ({}),
  ): Promise<Result> {
    let result: Result;
    try {
      result = await work();
    } catch (error) {
      await append([this.ended({ reason: reasonOf(error) })]);
      throw error;
    }
    await append([this.ended(endingOf(result))]);
    return result;
  }

  #event(outcome: AuditEvent["outcome"], reason?: string, more: Detail = {}): AuditEvent {
    const { action, target, detail = {} } = this.#act;
    return {
      time: this.#wallMs(),
      action,
      outcome,
      ...(reason !== undefined && { reason: reason.slice(0, reasonLengthMax) }),
      initiator: `operator ${userInfo().username}`,
      target,
      requestId: this.#requestId,
      detail: { ...detail, ...more },
    };
  }
}

const reasonLengthMax = 200;

/** Runs an operator's act between its pending event and the event of its outcome. */
export async function withEvidence<Result>(
  append: Append,
  machine: Pick<Machine, "clock" | "ids">,
  act: OperatorAct,
  work: () => Promise<Result>,
  endingOf?: (result: Result) => ActEnding,
): Promise<Result> {
  const evidence = new ActEvidence(act, machine);
  await append([evidence.pending()]);
  return await evidence.concluding(append, work, endingOf);
}

/** Appends to a store's trail; durable when it resolves. */
export function appendTo(own: Pick<OwnStore, "appendAudit">): Append {
  return (events) => own.appendAudit(systemInstance, events, true);
}

/**
 * The same for an act that needs no store, such as a drill on another machine: where the configured store cannot be
 * reached, the act is done anyway, and `warn` gets one line.
 */
export async function withEvidenceIfReached<Result>(
  configFile: string,
  machine: Machine,
  act: OperatorAct,
  work: () => Promise<Result>,
  endingOf?: (result: Result) => ActEnding,
  warn: (line: string) => void = (line) => void process.stderr.write(`holdfast: ${line}\n`),
): Promise<Result> {
  await using opened = new AsyncDisposableStack();
  let append: Append | undefined;
  try {
    append = appendTo(await openStoreOf(configFile, machine, opened));
  } catch (error) {
    warn(missing(act, error));
  }
  const tolerant: Append = async (events) => {
    try {
      await append?.(events);
    } catch (error) {
      append = undefined;
      warn(missing(act, error));
    }
  };
  return await withEvidence(tolerant, machine, act, work, endingOf);
}

function missing({ action }: OperatorAct, error: unknown): string {
  return `warning: the audit trail has no event of this ${action}: store: ${reasonOf(error)}`;
}
