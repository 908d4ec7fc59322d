import { stateValues } from "@holdfast/engine";
import type { Answer } from "../checker.ts";
import type { Wish } from "../client.ts";
import type { EventFields } from "./events.ts";
import { stateName } from "./names.ts";

type Request = EventFields["request"];

/** The words for a wish: as a request, and as a thing that was done. */
interface WishTelling {
  readonly asks: (request: Request) => string;
  readonly done: (request: Request) => string;
  readonly changes: boolean;
}

const noKey = "a key";

function keyOf({ key }: Request): string {
  return key ?? noKey;
}

/** One row for each kind of wish. */
export const wishTellings: Readonly<Record<Wish["kind"], WishTelling>> = {
  create: {
    asks: () => "make a key",
    done: (request) => `makes ${keyOf(request)}`,
    changes: true,
  },
  get: {
    asks: (request) => `hand out ${keyOf(request)}`,
    done: (request) => `gets the bytes of ${keyOf(request)}`,
    changes: false,
  },
  look: {
    asks: (request) => `show ${keyOf(request)}`,
    done: (request) => `looks at ${keyOf(request)}`,
    changes: false,
  },
  activate: {
    asks: (request) => `activate ${keyOf(request)}`,
    done: (request) => `activates ${keyOf(request)}`,
    changes: true,
  },
  revoke: {
    asks: (request) => `revoke ${keyOf(request)}`,
    done: (request) => `revokes ${keyOf(request)}`,
    changes: true,
  },
  destroy: {
    asks: (request) => `destroy ${keyOf(request)}`,
    done: (request) => `destroys ${keyOf(request)}`,
    changes: true,
  },
  note: {
    asks: (request) => `set the contact of ${keyOf(request)} to ${request.text}`,
    done: (request) => `sets the contact of ${keyOf(request)} to ${request.text}`,
    changes: true,
  },
  add: {
    asks: (request) => `put ${keyOf(request)} into group ${request.text}`,
    done: (request) => `puts ${keyOf(request)} into group ${request.text}`,
    changes: true,
  },
  name: {
    asks: (request) => `name ${keyOf(request)} ${request.text}`,
    done: (request) => `names ${keyOf(request)} ${request.text}`,
    changes: true,
  },
  drop: {
    asks: (request) => `take ${keyOf(request)} out of group ${request.text}`,
    done: (request) => `takes ${keyOf(request)} out of group ${request.text}`,
    changes: true,
  },
  locate: {
    asks: ({ text }) => `list the keys${text === undefined ? "" : ` with ${text}`}`,
    done: ({ text }) => `lists the keys${text === undefined ? "" : ` with ${text}`}`,
    changes: false,
  },
};

/** A request and its answer, in words. */
export function requestText(request: Request): string {
  const { wish, node, answer } = request;
  const { asks, done } = wishTellings[wish];
  if (answer === undefined) return `asks node ${node} to ${asks(request)}, and gets no answer`;
  switch (answer.kind) {
    case "done":
    case "located":
    case "material":
      return `${done(request)} through node ${node}`;
    case "read":
      return `${done(request)} through node ${node}: ${seen(answer)}`;
    case "notFound":
      return `asks node ${node} to ${asks(request)}, and is told "not found"`;
    case "refused":
      return `asks node ${node} to ${asks(request)}, and gets an error: ${errorText(answer.reason)}`;
  }
}

function seen({ rank, note, values }: Extract<Answer, { readonly kind: "read" }>): string {
  const parts = [
    stateName(rank),
    ...(note === "" ? [] : [`contact ${note}`]),
    ...(values.length === 0 ? [] : [`names and groups ${values.join(", ")}`]),
  ];
  return parts.join(", ");
}

function errorText(reason: string): string {
  return reason.replace(/^\w+: /, "").replace(/; (look, then )?try again$/, "");
}

/** Why an answer matters. */
export function requestWhy(request: Request): string {
  const { answer, wish, regions } = request;
  if (answer === undefined) {
    return wishTellings[wish].changes
      ? "A change without an answer is not acknowledged: it may have been made or not, and the client may ask again."
      : "A client that gets no answer asks another node.";
  }
  switch (answer.kind) {
    case "done":
    case "located":
      return doneWhy(wish, regions);
    case "material":
      return "A host needs these bytes to unlock its machines.";
    case "read":
      return answer.rank >= stateValues.Destroyed
        ? "Once a key is destroyed, no node ever shows it as usable again."
        : "The answer must have every change that was acknowledged before.";
    case "notFound":
      return '"Not found" may be said only if no client was ever given that key.';
    case "refused":
      return refusedWhy(answer.reason);
  }
}

function doneWhy(wish: Wish["kind"], regions: readonly string[]): string {
  if (!wishTellings[wish].changes) return "The list must have every key that was acknowledged.";
  if (wish === "destroy" && regions.length > 0) {
    return "Both regions agreed before: no copy of the bytes may be left anywhere.";
  }
  if (regions.length > 1) {
    return "Both regions had it on disk before the client was told: one region may now be lost.";
  }
  if (regions.length === 1) {
    return `Only region ${regions[0]} has it yet: the other one did not confirm it in time, and gets it as soon as it can.`;
  }
  return "It was so already, which promises as much as the change itself.";
}

function refusedWhy(reason: string): string {
  if (reason.includes("needs the agreement")) {
    return "Destroying needs both regions: else the other one could still hand out the bytes.";
  }
  if (reason.includes("cannot tell")) {
    return '"Cannot tell" is safe: the client asks again. "Not found" would make it believe that its key is gone.';
  }
  if (reason.includes("Destroyed") || reason.includes("destroyed")) {
    return "A destroyed key stays destroyed, at every node.";
  }
  return "The state of the key does not allow this: an ordinary answer.";
}

/** True if a fault shows in the answer, so that a short story needs it. */
export function isNotable({ answer, regions, wish }: Request): boolean {
  if (answer === undefined) return true;
  if (answer.kind === "notFound") return true;
  if (answer.kind === "refused") return /cannot tell|agreement|full|refused/.test(answer.reason);
  return answer.kind === "done" && wishTellings[wish].changes && regions.length === 1;
}
