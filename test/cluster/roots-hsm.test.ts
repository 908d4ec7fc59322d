import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { KmipClient } from "@holdfast/client";
import { createPkcs11Root, rotatePkcs11Root } from "@holdfast/root-of-trust";
import { answerOf, until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { answered, createKey, isBusy, keyBytes } from "../support/keys.ts";
import { say } from "../support/load.ts";
import { systemClock, systemIds } from "../support/redis-store.ts";
import { type Region, startRegion } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";
import { hasSoftHsm, SoftHsm, softHsmMissing } from "../support/softhsm.ts";

const there = hasSoftHsm();
if (!there) test.skip(softHsmMissing, () => {});

const instances = ["one", "two", "three", "four"];
const kekCacheMs = 1_000;
const phaseMs = 1_500;
/** So many Gets that the pause of a busy machine is not their median. */
const getsMin = 40;
const context = { clock: systemClock, ids: systemIds, observe: () => undefined };

let hsm: SoftHsm;
/** Whether the slow module is loaded in front of the HSM's module; it needs a compiler. */
let slow: boolean;
let region: Region;
let clients: readonly KmipClient[];
let ids: readonly string[];
let bytes: readonly string[];
const before = { ...process.env };

beforeAll(async () => {
  if (!there) return;
  hsm = await SoftHsm.open();
  slow = hsm.slowDown();
  await createPkcs11Root(hsm.settings(), context);
  const pinFile = join(hsm.directory, "pin");
  await writeFile(pinFile, `${hsm.pin}\n`, { mode: 0o600 });
  // The module finds its configuration in the node's environment, as on any machine.
  Object.assign(process.env, hsm.environment);
  const { module, token } = hsm;
  const pkcs11 = { module, token, rootKey: "crk", pinFile, deadlineMs: 2_000 };
  region = await startRegion({
    instances,
    settings: { rootOfTrust: { type: "pkcs11", pkcs11, kekCacheMs, graceMs: 60_000 } },
  });
  clients = await Promise.all(instances.map((name) => letIn(region, name, 0)));
  ids = await Promise.all(clients.map((client) => answered(() => createKey(client))));
  const read = (client: KmipClient, at: number) => answered(() => keyBytes(client, ids[at] ?? ""));
  bytes = await Promise.all(clients.map(read));
});

afterAll(async () => {
  await Promise.all((clients ?? []).map((client) => client.close()));
  await region?.[Symbol.asyncDispose]();
  await hsm?.[Symbol.asyncDispose]();
  process.env = before;
});

/** On a busy machine a node may be without its store for a moment; an HSM is no reason to answer that. */
const isWithoutStore = (error: unknown): boolean =>
  isBusy(error) && !/keys cannot be opened/.test(String(error));

/** Gets the keys of all instances for a while, and a number of times. Prints the times and returns the median in ms. */
async function gets(name: string): Promise<number> {
  const untilMs = performance.now() + phaseMs;
  const times: number[] = [];
  await Promise.all(
    clients.map(async (client, at) => {
      for (let got = 0; got < getsMin || performance.now() < untilMs; got += 1) {
        const startMs = performance.now();
        const read = () => keyBytes(client, ids[at] ?? "");
        expect(await answerOf("a key", read, isWithoutStore)).toBe(bytes[at]);
        times.push(performance.now() - startMs);
      }
    }),
  );
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * (times.length - 1))] ?? 0;
  say(
    `${name}: ${times.length} Gets, p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms, slowest ${at(1).toFixed(0)} ms`,
  );
  return at(0.5);
}

describe.runIf(there)("a node whose root key is in an HSM (needs SoftHSM)", () => {
  test("answers as fast with a slow, a hanging and an absent HSM, and after a rotation", async () => {
    const quietMs = await gets("HSM as usual");
    const bound = Math.max(250, 20 * quietMs);
    if (slow) {
      await hsm.faults({ delayMs: 20 });
      expect(await gets("HSM at 20 ms a call")).toBeLessThan(bound);
      await hsm.faults({ hang: true });
      expect(await gets("HSM that hangs")).toBeLessThan(bound);
      await hsm.faults({});
    }
    await hsm.takeOut();
    expect(await gets("HSM without its token")).toBeLessThan(bound);
    await hsm.putBack();
    await until("the root of trust works again", async () => {
      const text = await region.nodes[0]?.metrics();
      return /^holdfast_root_of_trust_ok 1$/m.test(text ?? "");
    });
    expect(await rotatePkcs11Root(hsm.settings(), context)).toBe(2);
    expect(await gets("HSM after a rotation")).toBeLessThan(bound);
    await Promise.all(clients.map((client) => answered(() => createKey(client))));
  });
});
