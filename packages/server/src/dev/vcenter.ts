import { randomUUID } from "node:crypto";
import type { TlsCredentials } from "@holdfast/client";
import { reasonOf } from "../start-error.ts";
import { UnexpectedAnswer, VcenterSession } from "./vcenter-session.ts";

/** A node as vCenter has it in its list. */
interface Kms {
  readonly name: string;
  readonly region: string;
  /** `host:port`. */
  readonly endpoint: string;
}

/** What one task did at which node. */
export interface StepOutcome {
  readonly step: string;
  readonly node: string;
  readonly region: string;
  readonly result: string;
  readonly ok: boolean;
  readonly ms: number;
}

/** A key that the sequence made, with the digest of its bytes. */
export interface MadeKey {
  readonly uniqueIdentifier: string;
  readonly sha256: string;
}

export interface Play {
  readonly nodes: readonly Kms[];
  readonly tls: TlsCredentials;
  /** The key of an earlier play: it must still be there, with the same bytes. */
  readonly earlier?: MadeKey;
  readonly report: (outcome: StepOutcome) => void;
  /** Called at each answer. */
  readonly answered: () => void;
}

/** A step of the sequence failed; its outcome has been reported. */
export class SequenceFailed extends Error {
  override readonly name = "SequenceFailed";
}

const product = {
  "x-Product_Version": "7.0.3 build-19480866",
  "x-Vendor": "VMware, Inc.",
  "x-Product": "VMware vSphere",
};

/**
 * Plays vCenter's own sequence: trust, health check, new key over four connections, key needed again. Each task has a
 * connection of its own, and the nodes take turns.
 */
export async function playVcenter(play: Play): Promise<MadeKey> {
  const turns = new Turns(play);
  await trust(turns);
  await healthCheck(turns);
  const made = await newKey(turns);
  await neededAgain(turns, "key needed again", made);
  const { earlier } = play;
  if (earlier !== undefined) await neededAgain(turns, "key of the last start", earlier);
  return made;
}

/** Gives each task the next node, and reports what came of it. */
class Turns {
  readonly #play: Play;
  #turn = 0;

  constructor(play: Play) {
    this.#play = play;
  }

  get nodes(): readonly Kms[] {
    return this.#play.nodes;
  }

  /** A connection that carries no message. */
  async probe(step: string): Promise<void> {
    await this.#at(this.#next(), step, async (endpoint) => {
      await using _ = await VcenterSession.connect(endpoint, this.#play);
      return "server certificate verified";
    });
  }

  async task(
    step: string,
    work: (session: VcenterSession) => Promise<string>,
    node: Kms = this.#next(),
  ): Promise<void> {
    await this.#at(node, step, async (endpoint) => {
      await using session = await VcenterSession.begin(endpoint, this.#play);
      return await work(session);
    });
  }

  #next(): Kms {
    const node = this.nodes[this.#turn % this.nodes.length];
    this.#turn += 1;
    if (node === undefined) throw new TypeError("no node");
    return node;
  }

  async #at(node: Kms, step: string, work: (endpoint: string) => Promise<string>): Promise<void> {
    const started = performance.now();
    const report = (ok: boolean, result: string) =>
      this.#play.report({
        step,
        node: node.name,
        region: node.region,
        result,
        ok,
        ms: performance.now() - started,
      });
    try {
      report(true, await work(node.endpoint));
    } catch (error) {
      report(false, reasonOf(error));
      throw new SequenceFailed(`${step} at ${node.name}: ${reasonOf(error)}`, { cause: error });
    }
  }
}

async function trust(turns: Turns): Promise<void> {
  for (const _ of turns.nodes) await turns.probe("trust: TLS only");
  await turns.task("trust: versions, twice", async (session) => {
    const versions = await session.discoverVersions();
    return `KMIP ${versions.join(", ")}`;
  });
  await turns.task("trust: server information", async (session) => {
    const vendor = await session.vendorIdentification();
    if (vendor === "") throw new UnexpectedAnswer("Query answered no Vendor Identification");
    return vendor;
  });
  for (const _ of turns.nodes) await turns.probe("trust: TLS only");
}

/** Every five minutes, at each node: a bare connection, and one with two Discover Versions. */
async function healthCheck(turns: Turns): Promise<void> {
  for (const _ of turns.nodes) await turns.probe("health: TLS only");
  for (const node of turns.nodes) {
    const work = async (session: VcenterSession) => {
      await session.discoverVersions();
      return "answers";
    };
    await turns.task("health: versions, twice", work, node);
  }
}

async function newKey(turns: Turns): Promise<MadeKey> {
  let id = "";
  let sha256 = "";
  await turns.task("new key: Create", async (session) => {
    id = await session.create();
    return `AES-256 ${id}`;
  });
  await turns.task("new key: product attributes", (session) => describeKey(session, id, product));
  await turns.task("new key: Get, State, Activate", async (session) => {
    sha256 = await session.get(id);
    const before = await session.state(id);
    if (before !== "PreActive") throw new UnexpectedAnswer(`the new key is ${before}`);
    await session.activate(id);
    return "256 bits, Pre-Active, activated";
  });
  const machine = {
    "x-Identifier": randomUUID(),
    "x-Component": "Virtual Machine",
    "x-Name": "demo-vm",
  };
  await turns.task("new key: machine attributes", (session) => describeKey(session, id, machine));
  return { uniqueIdentifier: id, sha256 };
}

/** Asks for the attributes one by one, then adds all three in one batch. */
async function describeKey(
  session: VcenterSession,
  id: string,
  values: Readonly<Record<string, string>>,
): Promise<string> {
  const names = Object.keys(values);
  for (const name of names) {
    const count = await session.count(id, name);
    if (count !== 0) throw new UnexpectedAnswer(`the new key has ${name} already`);
  }
  await session.addAttributes(id, values);
  return `${names.join(", ")} added`;
}

/** A key that was made before: its bytes are the same, unless somebody has destroyed it since. */
async function neededAgain(turns: Turns, step: string, key: MadeKey): Promise<void> {
  const { uniqueIdentifier: id } = key;
  await turns.task(step, async (session) => {
    const sha256 = await session.get(id).catch(async (error: unknown) => {
      const absent = error instanceof UnexpectedAnswer && error.reason === "ItemNotFound";
      if (absent && (await session.isDestroyed(id))) return undefined;
      throw error;
    });
    if (sha256 === undefined) return "somebody has destroyed it";
    if (sha256 !== key.sha256) throw new UnexpectedAnswer("the key has other bytes than before");
    const state = await session.state(id);
    if (state === "PreActive") await session.activate(id);
    return `same 256 bits, ${state}`;
  });
}
