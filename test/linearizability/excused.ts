import { type Operation, readRecord, type StoreEvent } from "./operation.ts";

/** One request: when it began, when it was over, and what it was. */
export function ask(at: string, call: number, end: number | undefined, content: object): Operation {
  const region = at.slice(0, 1);
  const who = { object: "key", client: `c${call}`, node: at, region };
  const when = { call, ...(end !== undefined && { return: end }) };
  return readRecord({ ...who, store: region, ...when, ...content }) as Operation;
}

export const by = (...acknowledged: readonly string[]) => ({ outcome: "done", acknowledged });
const add = (value: string) => ({ operation: "AddAttribute", attribute: "x", value });
const set = (value: string) => ({ operation: "SetAttribute", attribute: "x", value });
const look = (...x: readonly string[]) => ({
  operation: "GetAttributes",
  outcome: "done",
  attributes: { x },
});
export const lost: StoreEvent = { event: "storeLost", region: "a", at: 100, levelAt: 200 };
const converged: StoreEvent = { event: "converged", at: 90 };
const levelIn = (region: string, since: number): StoreEvent => ({ ...converged, region, since });
const noAnswer = { outcome: "unknown" };
export const missing = { operation: "GetAttributes", outcome: "refused", reason: "ItemNotFound" };
export const created = ask("a1", 0, 1, { operation: "Create", ...by("a", "b") });
const alone = ask("a1", 10, 11, { ...add("v"), ...by("a") });
const unanswered = ask("a1", 10, undefined, { ...add("v"), ...noAnswer });

/** What clients were told, and whether it is excused. */
export const excused: readonly [
  string,
  readonly Operation[],
  readonly StoreEvent[],
  "legal" | "illegal",
][] = [
  ["an alone change that the other region lacks", [alone, ask("b1", 20, 21, look())], [], "legal"],
  ["and its own region lacks", [alone, ask("a2", 20, 21, look())], [], "illegal"],
  [
    "and that both lack once they are the same",
    [alone, ask("b1", 95, 96, look())],
    [converged],
    "illegal",
  ],
  [
    "an alone change that the other region lacks when it has caught up with a time before",
    [alone, ask("b1", 95, 96, look())],
    [levelIn("b", 10)],
    "legal",
  ],
  [
    "and when it has caught up with a time after",
    [alone, ask("b1", 95, 96, look())],
    [levelIn("b", 12)],
    "illegal",
  ],
  [
    "and when only its own region has everything",
    [alone, ask("b1", 95, 96, look())],
    [levelIn("a", 12)],
    "legal",
  ],
  [
    "and that another region had before its store was lost",
    [alone, ask("b1", 210, 211, look())],
    [levelIn("b", 12), lost],
    "illegal",
  ],
  ["an alone change that the other region has", [alone, ask("b1", 20, 21, look("v"))], [], "legal"],
  [
    "which then lacks it",
    [alone, ask("b1", 20, 21, look("v")), ask("b1", 30, 31, look())],
    [],
    "illegal",
  ],
  [
    "an alone change that was lost with the only store that had it",
    [alone, ask("a1", 210, 211, look())],
    [lost],
    "legal",
  ],
  [
    "and that was in both before",
    [alone, ask("a1", 210, 211, look())],
    [lost, converged],
    "illegal",
  ],
  [
    "a shared change that is not there yet in a store that was put back",
    [ask("a1", 10, 11, { ...add("v"), ...by("a", "b") }), ask("a1", 150, 151, look())],
    [lost],
    "legal",
  ],
  [
    "and when that store has everything",
    [ask("a1", 10, 11, { ...add("v"), ...by("a", "b") }), ask("a1", 210, 211, look())],
    [lost],
    "illegal",
  ],
  ["a write without an answer, not done", [unanswered, ask("a1", 20, 21, look())], [], "legal"],
  [
    "done later",
    [unanswered, ask("a1", 20, 21, look()), ask("a1", 50, 51, look("v"))],
    [],
    "legal",
  ],
  [
    "done and gone again",
    [unanswered, ask("a1", 20, 21, look("v")), ask("a1", 50, 51, look())],
    [],
    "illegal",
  ],
  [
    "a write that a retry made twice",
    [
      ask("a1", 10, 40, { ...set("v"), ...by("a", "b"), tries: 2 }),
      ask("a1", 12, 20, { ...set("w"), ...by("a", "b") }),
      ask("a1", 13, 14, look("v")),
      ask("a1", 15, 16, look("w")),
      ask("a1", 30, 31, look("v")),
    ],
    [],
    "legal",
  ],
  [
    "the same without a retry",
    [
      ask("a1", 10, 40, { ...set("v"), ...by("a", "b") }),
      ask("a1", 12, 20, { ...set("w"), ...by("a", "b") }),
      ask("a1", 13, 14, look("v")),
      ask("a1", 15, 16, look("w")),
      ask("a1", 30, 31, look("v")),
    ],
    [],
    "illegal",
  ],
  [
    "a refused write that happened",
    [
      ask("a1", 10, 11, { ...add("v"), outcome: "refused", reason: "IllegalOperation" }),
      ask("a1", 20, 21, look("v")),
    ],
    [],
    "illegal",
  ],
  [
    "a Destroy without an answer, shown in one region and not in the other",
    [
      ask("a1", 10, undefined, { operation: "Destroy", ...noAnswer }),
      ask("a1", 20, 21, { operation: "GetAttributes", outcome: "done", state: "Destroyed" }),
      ask("b1", 30, 31, { operation: "Get", outcome: "done", digest: "d" }),
    ],
    [],
    "illegal",
  ],
  [
    "a shared object that the other region does not have",
    [ask("b1", 20, 21, missing)],
    [],
    "illegal",
  ],
  [
    "a shared object that a search of the other region misses",
    [ask("b1", 20, 21, { operation: "Locate", outcome: "done", found: false })],
    [],
    "illegal",
  ],
];
