import { createHash } from "node:crypto";
import { ConnectionError, type KmipClient, KmipClientError } from "@holdfast/client";
import { attributeItem, objectItem, type ResponseItem, tags } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { byteString } from "@holdfast/ttlv";
import type { VcenterSession } from "@holdfast/workbench";
import { expect, test } from "vitest";
import { judge } from "../linearizability/judge.ts";
import { seeded } from "../support/random.ts";
import { calm } from "./calm.ts";
import type { Clients, Endpoint, Outcome } from "./clients.ts";
import { History } from "./history.ts";
import { began } from "./moment.ts";
import { Workload } from "./workload.ts";

/** An object of the server in memory. */
interface Kept {
  state: "PreActive" | "Active" | "Compromised" | "DestroyedCompromised";
  readonly values: Map<string, string>;
  readonly bytes: Uint8Array;
}

/** A server that keeps its promises over connections that do not: some answers are lost, done or not. */
class Flaky {
  readonly objects = new Map<string, Kept>();
  /** Breaks a promise: what was activated is not. */
  forgets = false;
  readonly #random = seeded(5);

  async #ask<Answer>(work: () => Answer): Promise<Answer> {
    const dice = this.#random();
    if (dice < 0.05) throw lost();
    const answer = work();
    if (dice > 0.95) throw lost();
    return answer;
  }

  #of(id: string): Kept {
    const found = this.objects.get(id);
    if (found === undefined) throw new Error(`no ${id}`);
    return found;
  }

  readonly session = {
    create: () =>
      this.#ask(() => {
        const id = `key ${this.objects.size}`;
        const bytes = createHash("sha256").update(id).digest();
        this.objects.set(id, { state: "PreActive", values: new Map(), bytes });
        return id;
      }),
    get: (id: string) =>
      this.#ask(() => createHash("sha256").update(this.#of(id).bytes).digest("hex")),
    state: (id: string) => this.#ask(() => this.#of(id).state),
    count: (id: string, name: string) => this.#ask(() => Number(this.#of(id).values.has(name))),
    addAttributes: (id: string, values: Readonly<Record<string, string>>) =>
      this.#ask(() => {
        for (const [name, value] of Object.entries(values)) this.#of(id).values.set(name, value);
      }),
    activate: (id: string) =>
      this.#ask(() => {
        if (!this.forgets) this.#of(id).state = "Active";
      }),
  };

  readonly client = {
    version: "1.4",
    revoke: ({ uniqueIdentifier }: { readonly uniqueIdentifier: string }) =>
      this.#ask(() => {
        this.#of(uniqueIdentifier).state = "Compromised";
      }),
    destroy: ({ uniqueIdentifier }: { readonly uniqueIdentifier: string }) =>
      this.#ask(() => {
        const kept = this.#of(uniqueIdentifier);
        if (kept.state === "Active") throw denied();
        kept.state = "DestroyedCompromised";
      }),
    request: (
      _: string,
      asked: readonly { readonly payload: { readonly uniqueIdentifier: string } }[],
    ) =>
      this.#ask(() => ({
        items: asked.map(({ payload }, at) => this.#item(payload.uniqueIdentifier, at % 2 === 0)),
      })),
  };

  #item(id: string, isState: boolean): ResponseItem {
    const { state, bytes } = this.#of(id);
    const success = { status: "Success" } as const;
    if (isState) {
      const attributes = [{ item: attributeItem("State", state) }];
      return { ...success, operation: "GetAttributes", payload: { attributes } } as never;
    }
    if (state === "DestroyedCompromised") {
      return { status: "OperationFailed", reason: "ItemNotFound", operation: "Get" } as never;
    }
    const object = objectItem("SymmetricKey", {
      keyBlock: {
        keyFormatType: "Raw",
        keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, bytes) },
        cryptographicAlgorithm: "AES",
        cryptographicLength: 256,
      },
    });
    return { ...success, operation: "Get", payload: { object } } as never;
  }
}

function lost(): ConnectionError {
  return new ConnectionError("lost", "no answer");
}

function denied(): KmipClientError {
  const reason = "PermissionDenied";
  return new KmipClientError({
    operation: "Destroy",
    status: "OperationFailed",
    reason,
    message: "",
  });
}

const endpoint: Endpoint = { node: "a1", region: "a", target: { host: "", port: 0 } as never };

/** Clients of the server in memory; all that the workload needs of them. */
function clientsOf(server: Flaky): Clients {
  const attempt = async <Answer>(work: () => Promise<Answer>): Promise<Outcome<Answer>> => {
    const moment = began(endpoint);
    try {
      return { kind: "done", answer: await work(), moment: moment() };
    } catch (error) {
      return error instanceof KmipClientError
        ? { kind: "denied", moment: moment(), reason: error.reason ?? "" }
        : { kind: "failed", moment: moment() };
    }
  };
  const clients = {
    next: () => endpoint,
    vcenter: (_: string, __: Endpoint, work: (session: VcenterSession) => Promise<unknown>) =>
      attempt(() => work(server.session as unknown as VcenterSession)),
    plain: (_: string, __: Endpoint, work: (client: KmipClient) => Promise<unknown>) =>
      attempt(() => work(server.client as unknown as KmipClient)),
  };
  return clients as unknown as Clients;
}

/** Runs the load until it has done everything, and decides what it noted. */
async function judged(server: Flaky) {
  const history = new History();
  const workload = new Workload(clientsOf(server), history, 8, 1);
  const operations = () => history.recorder.history(calm).operations;
  const wanted = ["Create", "Get", "GetAttributes", "AddAttribute", "Activate", "Revoke"];
  await until("every operation done, and some without an answer", () => {
    const all = operations();
    const doneOf = (name: string) =>
      all.filter(({ operation, outcome }) => operation === name && outcome === "done").length;
    return wanted.every((name) => doneOf(name) > 3) && doneOf("Destroy") > 0;
  });
  await workload.stop();
  const found = operations();
  expect(found.some(({ outcome }) => outcome === "unknown")).toBe(true);
  return judge(history.recorder.history(calm));
}

test("what the load notes of a server that keeps its promises is linearizable", async () => {
  const { objects, violations, undecided } = await judged(new Flaky());
  expect(objects).toBeGreaterThan(3);
  expect([...violations, ...undecided]).toEqual([]);
});

test("what it notes of a server that forgets an Activate is not", async () => {
  const server = new Flaky();
  server.forgets = true;
  const { violations } = await judged(server);
  expect(violations.join("\n")).toMatch(/no order explains GetAttributes by worker \d .*PreActive/);
});
