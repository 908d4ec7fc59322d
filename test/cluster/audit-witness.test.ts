import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verifyAudit } from "@holdfast/server/audit";
import { machine } from "@holdfast/server/machine";
import { OperatorError } from "@holdfast/server/operator-error";
import { answerOf, until } from "@holdfast/testing";
import { playVcenter } from "@holdfast/workbench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AuditReceivers } from "../support/audit-receivers.ts";
import { holdfast, settled } from "../support/command-line.ts";
import { seeded } from "../support/random.ts";
import { type Region, startRegion } from "../support/region.ts";
import { hasSigsum, runTool, SigsumWitness, sigsumLogName } from "../support/sigsum-witness.ts";
import { logKeys, TrailAttacker } from "../support/trail-attacker.ts";

const stack = new AsyncDisposableStack();
let folder: string;
let region: Region;
let witness: SigsumWitness;
let receivers: AuditReceivers;

/** Checks the store, and files; again while a busy machine keeps the check from the store. */
const verify = (files: readonly string[] = []) =>
  answerOf(
    "a check of the trail",
    () => verifyAudit({ config: region.node(0).configFile, files }, machine),
    (error) => error instanceof OperatorError && error.exit === "again",
  );

const instances = ["vcenter", "other"] as const;

const partitions = Array.from({ length: 64 }, (_, at) => `p${String(at).padStart(2, "0")}`);

/** The partitions of the instances. */
async function busyPartitions(): Promise<readonly string[]> {
  const attacker = new TrailAttacker(region.redis.primary);
  const entries = await Promise.all(partitions.map((name) => attacker.entries(name)));
  return partitions.filter((_, at) => (entries[at]?.length ?? 0) > 10);
}

/** What receivers have of the trail as it is in Redis. */
async function shipped(attacker: TrailAttacker): Promise<readonly string[]> {
  const cadf = { region: "a", account: "holdfast", names: "current" } as const;
  const all = ["sys", ...partitions].map((name) => attacker.shipped(name, cadf));
  return (await Promise.all(all)).flat();
}

async function play(instance: (typeof instances)[number] = "vcenter"): Promise<void> {
  const { ca, certificate, key } = region.target(instance);
  const ignored = (): void => undefined;
  const nodes = region.nodes.map(({ name, host, kmip }) => ({
    ...{ name, region: "a", endpoint: `${host}:${kmip}` },
  }));
  await playVcenter({ nodes, tls: { ca, certificate, key }, report: ignored, answered: ignored });
}

/** Waits until the witness has cosigned everything. */
async function witnessed(): Promise<void> {
  await until("everything is witnessed", async () => {
    const { lines, whole } = await verify();
    return whole && lines.some((line) => line.includes(" 0 not witnessed yet"));
  });
}

describe.skipIf(!hasSigsum())("the log over the audit trail (needs sigsum-go and litetlog)", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-audit-witness-"));
    stack.defer(() => rm(folder, { recursive: true }));
    const { privateKey } = generateKeyPairSync("ed25519");
    const keyFile = join(folder, "log.pem");
    const pem = privateKey.export({ format: "pem", type: "pkcs8" });
    await writeFile(keyFile, pem, { mode: 0o600 });
    witness = stack.use(await SigsumWitness.start(folder, privateKey));
    const witnesses = [{ name: "w1", url: witness.url, key: witness.key }];
    const log = { keyFile, name: sigsumLogName, witnesses };
    receivers = stack.use(await AuditReceivers.start(folder));
    const settings = { audit: { log, ...receivers.settings } };
    region = stack.use(await startRegion({ instances, nodes: 1, lockMasters: 1, settings }));
  });
  afterAll(() => stack.disposeAsync());

  test("an independent witness cosigns it; events are proven, and other people's tools agree", async () => {
    await play();
    await witnessed();
    const [partition = ""] = await busyPartitions();
    const storeId = (await verify()).lines.at(-1)?.split(/[ :]/)[1] ?? "";
    const out = join(folder, "event");
    const event = `${storeId}-${Number(partition.slice(1))}-2-o`;
    const config = region.node(0).configFile;
    const said = await settled(() =>
      holdfast("audit", "prove", event, "--config", config, "--out", out),
    );
    expect(said).toMatchObject({ code: 0, err: "" });
    expect(said.out).toContain("cosigned by w1 at 20");
    const proof = await readFile(`${out}.tlog-proof`, "utf8");
    expect(proof).toMatch(/^c2sp\.org\/tlog-proof@v1\nindex \d+\n/);

    // spicy reads the same without its first line.
    await writeFile(`${out}.spicy`, proof.slice(proof.indexOf("\n") + 1));
    const shown = await holdfast("audit-key", "show", "--config", config);
    const key = /^verifier key: (.*)$/m.exec(shown.out)?.[1] ?? "";
    runTool("spicy-litetlog", "-verify", key, out);
    // So do the lines in the documents, which check the witness too.
    const page = await readFile(join(import.meta.dirname, "../../docs/audit.md"), "utf8");
    const check = join(folder, "check.mjs");
    await writeFile(check, /```js\n(.*?)```/s.exec(page)?.[1] ?? "");
    const checked = (...keys: readonly string[]) =>
      spawnSync(process.execPath, [check, out, ...keys], { encoding: "utf8" });
    expect(checked(key, witness.key)).toMatchObject({ status: 0, stderr: "" });
    expect(checked()).toMatchObject({ status: 1, stderr: expect.stringContaining("give the") });
    const other = witness.key.replace(/.{8}$/, "AAAAAAAA");
    expect(checked(key, other).stderr).toContain("not signed by sigsum.org/v1/witness/");
    const leaf = await readFile(out);
    leaf[9] = (leaf[9] ?? 0) ^ 1;
    await writeFile(out, leaf);
    expect(() => runTool("spicy-litetlog", "-verify", key, out)).toThrow();
    expect(checked(key, witness.key).stderr).toContain("not in the log");
  });

  test("a witness that is out stops nothing, is shown, and catches up", async () => {
    await witness.stop();
    await play();
    const metric = (name: string) => async () => {
      const text = await region.node(0).metrics();
      return new RegExp(`^holdfast_audit_witness_${name}\\{witness="w1"\\} (\\S+)$`, "m").exec(
        text,
      )?.[1];
    };
    await until("the metric shows it", async () => (await metric("ok")()) === "0");
    const { lines, whole } = await verify();
    expect(whole).toBe(true);
    expect(lines.join("\n")).toMatch(/witness w1 cannot be asked/);
    expect(lines.at(-1)).not.toContain(" 0 not witnessed yet");
    await witness.resume();
    await witnessed();
    await until("the metric shows it", async () => (await metric("behind")()) === "0");
  });

  test("100 attempts to remove, change or reorder events in Redis and at all receivers are all found", async () => {
    const attacker = new TrailAttacker(region.redis.primary);
    await play("other");
    await witnessed();
    const earlier = await attacker.copy();
    const earlierStep = await attacker.step();
    for (const instance of instances) await play(instance);
    await witnessed();
    await until("every receiver has everything", async () => {
      const all = await shipped(attacker);
      const lacking = receivers.received.map((lines) =>
        all.filter((text) => !lines.includes(text)),
      );
      return lacking.every(({ length }) => length === 0) || `${lacking.flat()[0]}`;
    });
    await region.node(0).kill();
    await receivers.write(receivers.received);
    expect(await verify(receivers.files)).toMatchObject({ whole: true });
    const genuine = await attacker.copy();
    const random = seeded(20261129);
    const below = (most: number) => Math.floor(random() * most);
    const attacks = attacksOf(attacker, { earlier, earlierStep, below });
    const busy = await busyPartitions();
    const names = Object.keys(attacks) as (keyof typeof attacks)[];
    const missed: string[] = [];
    for (let attempt = 0; attempt < 100; attempt += 1) {
      const name = names[attempt % names.length] as (typeof names)[number];
      const partition = busy[below(busy.length)] as string;
      await attacks[name](partition);
      // The receivers are somebody else's too: they show what the forged trail would have sent.
      await receivers.write([await shipped(attacker)]);
      const alone = await verifyAudit({ config: undefined, files: receivers.files }, machine);
      if (isWhole(name)) expect(alone, `${attempt}: ${name}`).toMatchObject({ whole: true });
      if ((await verify(receivers.files)).whole) missed.push(`${attempt}: ${name} ${partition}`);
      await attacker.putBack(genuine);
      if (attempt % 20 === 0) expect((await verify()).whole).toBe(true);
    }
    expect(missed).toEqual([]);
  });
});

/** Whether a forgery leaves a trail and receivers that agree, so that only the log and its witness show it. */
function isWhole(name: string): boolean {
  return /and the chain$|and renumbers$|^exchanges|^adds|the end$/.test(name);
}

/** What somebody in Redis does to hide something, as well as it can be done. */
function attacksOf(
  attacker: TrailAttacker,
  {
    earlier,
    earlierStep,
    below,
  }: {
    readonly earlier: Awaited<ReturnType<TrailAttacker["copy"]>>;
    readonly earlierStep: Buffer;
    readonly below: (most: number) => number;
  },
) {
  const forged = async (
    partition: string,
    change: (entries: readonly Buffer[], at: number) => readonly Buffer[],
  ) => {
    const entries = await attacker.entries(partition);
    await attacker.forge(partition, change(entries, below(entries.length - 1)));
  };
  const changed = (entry: Buffer | undefined): Buffer => {
    const other = Buffer.from(entry ?? Buffer.alloc(8));
    other[7] = (other[7] ?? 0) ^ (1 + below(255));
    return other;
  };
  const change = (entries: readonly Buffer[], at: number) => entries.with(at, changed(entries[at]));
  return {
    "changes an entry": async (partition: string) => {
      const entries = await attacker.entries(partition);
      const at = below(entries.length);
      await attacker.replace(partition, at + 1, changed(entries[at]));
    },
    "changes an entry, and the chain": (partition: string) => forged(partition, change),
    "removes an entry, and renumbers": (partition: string) =>
      forged(partition, (entries, at) => entries.toSpliced(at, 1)),
    "exchanges two entries": (partition: string) =>
      forged(partition, (entries, at) => {
        const other = (at + 1 + below(entries.length - 1)) % entries.length;
        const [one, two] = [entries[at] as Buffer, entries[other] as Buffer];
        return one.equals(two) ? change(entries, at) : entries.with(at, two).with(other, one);
      }),
    "adds an entry": (partition: string) =>
      forged(partition, (entries, at) => entries.toSpliced(at, 0, changed(entries[at]))),
    "cuts off the end": (partition: string) =>
      forged(partition, (entries, at) => entries.slice(0, at + 1)),
    "cuts off the beginning, as retention does": async (partition: string) => {
      const entries = await attacker.entries(partition);
      await attacker.forge(partition, entries, 1 + below(entries.length - 1));
    },
    "cuts off the beginning, as the hard bound does": async (partition: string) => {
      const entries = await attacker.entries(partition);
      await attacker.sayDropped(partition, 1 + below(entries.length - 1));
    },
    "takes a partition away": async (partition: string) => {
      await attacker.remove(
        ...["audit", "audit-chain", "counters"].map((name) => `{${partition}}:${name}`),
      );
    },
    "puts an earlier state back": () => attacker.putBack(earlier),
    "puts an earlier step and trail back, and leaves the newest cosigned step": async () => {
      const trail = [...earlier.keys()].filter((key) => !logKeys.some((each) => each === key));
      await attacker.putBack(earlier, trail);
      await attacker.putStepBack(earlierStep);
    },
    "says that older leaves were folded, and changes": async (partition: string) => {
      await attacker.fold(9_999);
      await forged(partition, change);
    },
    "puts an earlier log back, and changes": async (partition: string) => {
      await attacker.putBack(earlier, logKeys);
      await forged(partition, change);
    },
    "removes the log, and changes": async (partition: string) => {
      await attacker.remove(...logKeys);
      await forged(partition, change);
    },
  } satisfies Readonly<Record<string, (partition: string) => Promise<void>>>;
}
