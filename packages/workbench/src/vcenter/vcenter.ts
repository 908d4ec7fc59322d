import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, type TlsCredentials } from "@holdfast/client";
import { reasonOf } from "@holdfast/server/base";
import { UnexpectedAnswer, VcenterSession } from "./vcenter-session.ts";

/** A node as in vCenter's list. */
interface Kms {
  readonly name: string;
  readonly region: string;
  /** `host:port`. */
  readonly endpoint: string;
}

/** The result of one task at one node. */
export interface StepOutcome {
  readonly step: string;
  readonly node: string;
  readonly region: string;
  readonly result: string;
  readonly ok: boolean;
  /** The node that gets the same task next, if this one did not answer it. */
  readonly next?: string;
  readonly ms: number;
}

/** A key that the sequence created, with the digest of its bytes. */
export interface MadeKey {
  readonly uniqueIdentifier: string;
  readonly sha256: string;
}

export interface Play {
  readonly nodes: readonly Kms[];
  readonly tls: TlsCredentials;
  /** The key of an earlier run: it must still exist, with the same bytes. */
  readonly earlier?: MadeKey;
  readonly report: (outcome: StepOutcome) => void;
  /** Called at each response. */
  readonly answered: () => void;
}

/** How often a task goes through all nodes before it fails, and the pause after each round in milliseconds. */
const roundsMax = 30;
const roundPauseMs = 1000;

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
 * Plays vCenter's own sequence: trust, health check, new key over four connections, key needed again. Each task has its
 * own connection, and the nodes take turns.
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

/** A task at one node; `again` is true if another node was asked before, which may have carried it out. */
type Work = (endpoint: string, again: boolean) => Promise<string>;

/** Gives each task to the next node, or to the one after it if that does not answer; reports each outcome. */
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
    await this.#try(step, async (endpoint) => {
      await using _ = await VcenterSession.connect(endpoint, this.#play);
      return "server certificate verified";
    });
  }

  async task(
    step: string,
    work: (session: VcenterSession, again: boolean) => Promise<string>,
  ): Promise<void> {
    await this.#try(step, async (endpoint, again) => {
      await using session = await VcenterSession.begin(endpoint, this.#play);
      return await work(session, again);
    });
  }

  /** Asks the nodes in turn until one answers, as vCenter does. */
  async #try(step: string, work: Work): Promise<void> {
    const tries = roundsMax * this.nodes.length;
    for (let tried = 0; !(await this.#at(step, work, tried, tried + 1 === tries)); tried += 1) {
      if ((tried + 1) % this.nodes.length === 0) await sleep(roundPauseMs);
    }
  }

  /** One try at the next node; false when another node must be asked. */
  async #at(step: string, work: Work, tried: number, last: boolean): Promise<boolean> {
    const node = this.#node(this.#turn);
    this.#turn += 1;
    const started = performance.now();
    const report = (outcome: Pick<StepOutcome, "ok" | "result" | "next">) => {
      const ms = performance.now() - started;
      this.#play.report({ step, node: node.name, region: node.region, ...outcome, ms });
    };
    try {
      report({ ok: true, result: await work(node.endpoint, tried > 0) });
      return true;
    } catch (error) {
      const result = reasonOf(error);
      if (!last && mayBeOnlyThisNode(error)) {
        report({ ok: false, result, next: this.#node(this.#turn).name });
        return false;
      }
      report({ ok: false, result });
      throw new SequenceFailed(`${step} at ${node.name}: ${result}`, { cause: error });
    }
  }

  #node(turn: number): Kms {
    const node = this.nodes[turn % this.nodes.length];
    if (node === undefined) throw new TypeError("no node");
    return node;
  }
}

/** No connection, or General Failure: this node cannot answer now, but another one may. */
function mayBeOnlyThisNode(error: unknown): boolean {
  if (error instanceof UnexpectedAnswer) return error.reason === "GeneralFailure";
  return error instanceof ConnectionError;
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
  for (const _ of turns.nodes) {
    await turns.task("health: versions, twice", async (session) => {
      await session.discoverVersions();
      return "answers";
    });
  }
}

async function newKey(turns: Turns): Promise<MadeKey> {
  let id = "";
  let sha256 = "";
  await turns.task("new key: Create", async (session) => {
    id = await session.create();
    return `AES-256 ${id}`;
  });
  await turns.task("new key: product attributes", (session, again) =>
    describeKey(session, id, product, again),
  );
  await turns.task("new key: Get, State, Activate", async (session, again) => {
    sha256 = await session.get(id);
    const before = await session.state(id);
    if (again && before === "Active") return "256 bits, activated by the try before";
    if (before !== "PreActive") throw new UnexpectedAnswer(`the new key is ${before}`);
    await session.activate(id);
    return "256 bits, Pre-Active, activated";
  });
  const machine = {
    "x-Identifier": randomUUID(),
    "x-Component": "Virtual Machine",
    "x-Name": "demo-vm",
  };
  await turns.task("new key: machine attributes", (session, again) =>
    describeKey(session, id, machine, again),
  );
  return { uniqueIdentifier: id, sha256 };
}

/** Asks for the attributes one by one, then adds those that are absent in one batch. */
async function describeKey(
  session: VcenterSession,
  id: string,
  values: Readonly<Record<string, string>>,
  again: boolean,
): Promise<string> {
  const names = Object.keys(values);
  const absent: [string, string][] = [];
  for (const [name, value] of Object.entries(values)) {
    const count = await session.count(id, name);
    if (count === 0) absent.push([name, value]);
    else if (!again) throw new UnexpectedAnswer(`the new key has ${name} already`);
  }
  if (absent.length > 0) await session.addAttributes(id, Object.fromEntries(absent));
  return `${names.join(", ")} added`;
}

/** Gets a key that was created before: its bytes must be the same, unless somebody has destroyed it since. */
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
