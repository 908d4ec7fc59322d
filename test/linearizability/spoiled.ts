import { type ClientHistory, type Operation, readRecord } from "./operation.ts";
import { digest, object } from "./sample-history.ts";

const groups = "Object Group";
const note = "Contact Information";

/** An operation 1,000 ms after whatever was before, and 10 ms after the last of these. */
function then(history: ClientHistory, ...contents: readonly object[]): ClientHistory {
  const lastMs = Math.max(...history.operations.map((one) => one.return ?? one.call));
  const more = contents.map((content, at) => {
    const call = lastMs + 1_000 + at * 10;
    const who = { object, client: "client 9", node: "b1", region: "b", store: "b" };
    return readRecord({ ...who, call, return: call + 1, ...content }) as Operation;
  });
  return { ...history, operations: [...history.operations, ...more] };
}

const shared = { outcome: "done", acknowledged: ["a", "b"] };

/** What a client is shown after all, by the last read of the history. */
function shown(history: ClientHistory) {
  const last = history.operations.findLast(({ operation }) => operation === "GetAttributes");
  if (last?.operation !== "GetAttributes") throw new Error("no read");
  const { state = "PreActive", attributes = {} } = last;
  return { operation: "GetAttributes", outcome: "done", state, attributes };
}

const look = (state: string) => ({ operation: "GetAttributes", outcome: "done", state });
const add = (value: string) => ({ operation: "AddAttribute", attribute: groups, value });
const set = (value: string) => ({ operation: "SetAttribute", attribute: note, value });

const search = (value: string, found: boolean) => ({
  operation: "Locate",
  outcome: "done",
  attribute: groups,
  value,
  found,
});

/** What is put at the end of a good history, and what the message must say. */
export const spoiled: readonly [string, (history: ClientHistory) => ClientHistory, RegExp][] = [
  [
    "a lost Create",
    (good) =>
      then(good, { operation: "GetAttributes", outcome: "refused", reason: "ItemNotFound" }),
    /GetAttributes by client 9 at b1, \d+ to \d+ ms: refused, ItemNotFound; before it, the object could only be: /,
  ],
  [
    "a stale read",
    (good) => then(good, { ...add("new"), ...shared }, shown(good)),
    /no order explains GetAttributes .* could only be: .*Object Group .*new.*; changes: .*AddAttribute Object Group new by client 9 .* acknowledged by a and b$/,
  ],
  [
    "a destroyed object that is none any more",
    (good) => then(compromised(good), { operation: "Destroy", ...shared }, look("Compromised")),
    /GetAttributes .*: Compromised; before it, the object could only be: (DestroyedCompromised|destroyed)/,
  ],
  [
    "destroyed material",
    (good) =>
      then(
        compromised(good),
        { operation: "Destroy", ...shared },
        { operation: "Get", outcome: "done", digest },
      ),
    /Get by client 9 .*: material d1d1d1d1; before it, the object could only be: (DestroyedCompromised|destroyed)/,
  ],
  [
    "a lost attribute value",
    (good) =>
      then(good, { ...add("new"), ...shared }, { ...shown(good), attributes: { [groups]: [] } }),
    /GetAttributes .*no value of Object Group; before it, the object could only be: .*new/,
  ],
  [
    "a search that does not find a value that is there",
    (good) => then(fresh(good), { ...add("new"), ...shared }, search("new", false)),
    /Locate Object Group new .*: not found; before it, the object could only be: .*new/,
  ],
  [
    "a search that finds a value that was never written",
    (good) => then(good, search("other", true)),
    /Locate Object Group other .*: found; before it, the object could only be: /,
  ],
  [
    "a search that finds a value that was deleted",
    (good) =>
      then(
        good,
        { ...add("new"), ...shared },
        { operation: "DeleteAttribute", attribute: groups, value: "new", ...shared },
        search("new", true),
      ),
    /Locate Object Group new .*: found; before it, the object could only be: /,
  ],
  [
    "two values of key material",
    (good) =>
      then(
        fresh(good),
        ...["d2d2d2d2", "d3d3d3d3"].map((one) => ({
          operation: "Get",
          outcome: "done",
          digest: one,
        })),
      ),
    /Get .*: material d\dd\dd\dd\d; before it, the object could only be: .*material d\dd\dd\dd\d/,
  ],
  [
    "a state that goes backwards",
    (good) => then(compromised(good), look("Active")),
    /GetAttributes .*: Active; before it, the object could only be: .*(Compromised|compromised)/,
  ],
  [
    "an acknowledged write that is missing",
    (good) =>
      then(good, { ...set("new"), ...shared }, { ...shown(good), attributes: { [note]: [] } }),
    /no value of Contact Information; before it, the object could only be: .*Contact Information new/,
  ],
  [
    "a refused write that happened",
    (good) =>
      then(
        good,
        { ...add("refused"), outcome: "refused", reason: "IllegalOperation" },
        {
          ...shown(good),
          attributes: { [groups]: [...(shown(good).attributes[groups] ?? []), "refused"] },
        },
      ),
    /GetAttributes .*refused.*; (nobody had asked for refused|before it, the object could only be)/,
  ],
  [
    "a value that was never written",
    (good) => then(good, { ...shown(good), attributes: { [note]: ["ghost"] } }),
    /Contact Information ghost; (nobody had asked for ghost|before it, the object could only be)/,
  ],
  [
    "a search that misses the object",
    (good) => then(undestroyed(good), { operation: "Locate", outcome: "done", found: false }),
    /Locate by client 9 at b1, .*: not found; before it, the object could only be/,
  ],
  [
    "a Destroy of an Active object",
    (good) =>
      then(fresh(good), { operation: "Activate", ...shared }, { operation: "Destroy", ...shared }),
    /Destroy .* acknowledged by a and b; before it, the object could only be: Active/,
  ],
  [
    "a refusal that the state does not call for",
    (good) =>
      then(fresh(good), {
        operation: "Destroy",
        outcome: "refused",
        reason: "WrongKeyLifecycleState",
      }),
    /Destroy .*: refused, WrongKeyLifecycleState; before it, the object could only be: PreActive/,
  ],
  [
    "a deleted value that comes back",
    (good) => {
      const attributes = { [groups]: [...(shown(good).attributes[groups] ?? []), "new"] };
      const deleted = { ...add("new"), operation: "DeleteAttribute", ...shared };
      return then(good, { ...add("new"), ...shared }, deleted, { ...shown(good), attributes });
    },
    /GetAttributes .*new.*could only be/,
  ],
  [
    "a replaced value that comes back",
    (good) => {
      const old = { ...shown(good), attributes: { [note]: ["old"] } };
      return then(good, { ...set("old"), ...shared }, { ...set("new"), ...shared }, old);
    },
    /Contact Information old; before it, the object could only be: .*Contact Information new/,
  ],
  [
    "an identifier that is handed out twice",
    (good) => then(good, { operation: "Create", ...shared }),
    /Create by client 9/,
  ],
];

/** Without what happened in it but its Create. */
function fresh(good: ClientHistory): ClientHistory {
  return { ...good, operations: good.operations.filter(({ operation }) => operation === "Create") };
}

function undestroyed(good: ClientHistory): ClientHistory {
  const { operations } = good;
  const isOf = (one: Operation) =>
    one.operation === "Create" || (one.operation === "Locate" && one.attribute === undefined);
  return { ...good, operations: operations.filter(isOf) };
}

function compromised(good: ClientHistory): ClientHistory {
  const revoke = { operation: "Revoke", compromise: true, ...shared };
  return then(fresh(good), { operation: "Activate", ...shared }, revoke);
}
