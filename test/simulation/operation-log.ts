import type { ClientHistory, Operation, StoreEvent } from "../linearizability/operation.ts";
import type { Answer } from "./checker.ts";
import type { Wish } from "./client.ts";
import type { DamagedRecords } from "./damaged-records.ts";
import type { Dates } from "./end-checks.ts";

/** A request of a client, when it is over or was given up. */
export interface Request {
  readonly node: string;
  readonly wish: Wish;
  /** Of the object; empty where none is known. */
  readonly id: string;
  readonly askedMs: number;
  readonly answeredMs: number;
  readonly answer: Answer | undefined;
  /** The region whose store served it all the time, where one did. */
  readonly store: string | undefined;
  /** Regions that had the change when it was answered. */
  readonly acknowledged: readonly string[];
}

/** What a client writes, as attributes of the history. */
const attributes = { note: "Contact Information", values: "Name and Object Group" } as const;

/** Notes all requests, for the check that some order explains all answers. */
export class OperationLog {
  readonly #regions: readonly string[];
  readonly #operations: Operation[] = [];
  readonly #objects = new Set<string>();
  readonly #damaged: DamagedRecords;
  readonly #events: StoreEvent[] = [];

  constructor(regions: readonly string[], damaged: DamagedRecords) {
    this.#regions = regions;
    this.#damaged = damaged;
  }

  /** A request was answered, or given up. */
  note(request: Request): void {
    const { wish, id, answer } = request;
    const asked = askedOf(wish);
    if (answer?.kind === "located" && wish.kind === "locate") {
      this.#addSearch(request, wish, answer.ids);
    } else if (asked !== undefined && id !== "") {
      if (wish.kind === "create") this.#objects.add(id);
      this.#add(request, id, asked);
      if (wish.kind === "create") this.#addDates(request, id, wish.dates);
    }
  }

  /** Of objects whose Create was not answered nobody knows. */
  #addSearch(
    request: Request,
    { by, text: value }: Extract<Wish, { readonly kind: "locate" }>,
    ids: readonly string[],
  ): void {
    const searched = by === undefined ? {} : { attribute: attributes.values, value };
    for (const each of this.#objects) {
      const found = ids.includes(each);
      if (!found && this.#damaged.mayLack(each, request.store, request.askedMs)) continue;
      this.#add(request, each, { operation: "Locate", ...searched, found });
    }
  }

  /** A date that comes is a change of which nobody knows when it happens: a node with a fast clock writes it early. */
  #addDates(request: Request, id: string, dates: Dates | undefined): void {
    if (dates === undefined) return;
    const unanswered = { ...request, answer: undefined, store: undefined, tries: 0 };
    this.#add(unanswered, id, { operation: "Activate" });
    if (dates.deactivation === undefined) return;
    this.#add(unanswered, id, { operation: "Revoke", compromise: false });
  }

  #add(request: Request, object: string, asked: object): void {
    const { node, answer, store } = request;
    const outcome = outcomeOf(answer);
    const who = { object, client: `client ${this.#operations.length + 1}`, node };
    const when = {
      call: request.askedMs,
      ...(answer !== undefined && { return: request.answeredMs }),
    };
    const { acknowledged } = request;
    const told = outcome.outcome === "done" && shownOf(answer, { acknowledged });
    const region = node.slice(0, 1);
    const where = { region, ...(store !== undefined && { store }) };
    this.#operations.push({
      ...asked,
      ...who,
      ...where,
      ...when,
      ...outcome,
      ...told,
    } as Operation);
  }

  /** A region's store lost data at this time. */
  lost(region: string, at: number): void {
    this.#events.push({ event: "storeLost", region, at });
  }

  /** A region's store has all that the other region has. */
  level(region: string, levelAt: number): void {
    const at = this.#events.findLastIndex(
      (one) => one.event === "storeLost" && one.region === region,
    );
    const lost = this.#events[at];
    if (lost?.event !== "storeLost" || lost.levelAt !== undefined) return;
    this.#events[at] = { ...lost, levelAt };
  }

  /** Both regions are the same. */
  converged(at: number): void {
    this.#events.push({ event: "converged", at });
  }

  /** The history; `triesOf` says how often a commit of a text was begun. */
  history(triesOf: (text: string) => number): ClientHistory {
    const operations = this.#operations.map((one): Operation => {
      if (one.operation !== "SetAttribute" || one.outcome === "refused") return one;
      const tries = triesOf(one.value);
      return tries > 1 ? { ...one, tries } : one;
    });
    return { regions: this.#regions, operations, events: this.#events };
  }
}

/** A wish as an operation on one object; a search is none. */
function askedOf(wish: Wish): object | undefined {
  switch (wish.kind) {
    case "create":
      return { operation: "Create" };
    case "get":
      return { operation: "Get" };
    case "look":
      return { operation: "GetAttributes" };
    case "activate":
      return { operation: "Activate" };
    case "revoke":
      return { operation: "Revoke", compromise: wish.compromised };
    case "destroy":
      return { operation: "Destroy" };
    case "note":
      return { operation: "SetAttribute", attribute: attributes.note, value: wish.text };
    case "add":
    case "name":
      return { operation: "AddAttribute", attribute: attributes.values, value: wish.text };
    case "drop":
      return { operation: "DeleteAttribute", attribute: attributes.values, value: wish.text };
    case "locate":
      return undefined;
  }
}

/** "Cannot tell" is a General Failure. */
const unsure = /^GeneralFailure\b/;

/** Whether an answer, or none, leaves open if what was asked for was done. */
export function isUnsure(answer: Answer | undefined): boolean {
  return answer === undefined || (answer.kind === "refused" && unsure.test(answer.reason));
}

function outcomeOf(answer: Answer | undefined): Pick<Operation, "outcome" | "reason"> {
  if (answer === undefined || isUnsure(answer)) return { outcome: "unknown" };
  if (answer.kind === "notFound") return { outcome: "refused", reason: "ObjectNotFound" };
  if (answer.kind !== "refused") return { outcome: "done" };
  const [reason = ""] = answer.reason.split(":");
  // KMIP 2.x, which these clients speak, has a reason of its own for the State: this one says something else.
  return { outcome: "refused", reason: reason === "PermissionDenied" ? answer.reason : reason };
}

function shownOf(answer: Answer | undefined, done: object): object {
  if (answer?.kind === "located") return {};
  if (answer?.kind === "material") return { digest: answer.digest };
  if (answer?.kind !== "read") return done;
  const note = answer.note === "" ? [] : [answer.note];
  return {
    state: answer.state,
    attributes: { [attributes.note]: note, [attributes.values]: answer.values },
  };
}
