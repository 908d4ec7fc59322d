import {
  type Clock,
  type InstanceKeyRing,
  type ManagedObject,
  readRecord,
  type SystemRecord,
} from "@holdfast/engine";
import { rootKind } from "@holdfast/root-of-trust/kinds";
import type { Health } from "../observe/health.ts";
import { shreddedReason } from "../records/keys-order.ts";
import { namedRoots, referenceText } from "../records/root-reference.ts";
import type { SystemView } from "../records/system-view.ts";
import type { RootHealth } from "./open/guarded-root.ts";
import type { RootInUse, Roots } from "./open/roots.ts";

interface RootWatchOptions {
  readonly region: string;
  readonly roots: Pick<Roots, "inUse" | "of">;
  readonly keyRing: Pick<InstanceKeyRing, "forget" | "shred" | "unshred" | "revalidate">;
  readonly view: Pick<SystemView, "records" | "onChange">;
  readonly health: Pick<Health, "rootOfTrust">;
  readonly clock: Clock;
  /** How often to probe a root of trust that works and was not used. */
  readonly revalidateMs: number;
}

/** The parts of an instance's record that this node has acted on. */
interface ActedOn {
  readonly order: string | undefined;
  readonly crkState: string | undefined;
  readonly reference: string;
}

const lookEveryMs = 1_000;
const onNodeEveryMs = 10_000;
const failedEveryMs = 5_000;
const revalidationsMax = 8;

/**
 * Work that each node does by itself: it carries out orders in instances' records, checks its open keys again when a
 * root key was found refused or usable again, and probes the roots of trust that are not in use.
 */
export class RootWatch implements Disposable {
  readonly #options: RootWatchOptions;
  readonly #actedOn = new Map<string, ActedOn>();
  readonly #probing = new Set<RootInUse["root"]>();
  readonly #timer: NodeJS.Timeout;
  readonly #stop: () => void;

  constructor(options: RootWatchOptions) {
    this.#options = options;
    this.#take([...options.view.records()]);
    this.#stop = options.view.onChange((changed) => this.#take(changed));
    this.#timer = setInterval(() => this.look(), lookEveryMs).unref();
  }

  /** Call this when a root of trust starts or stops working: checks the instances under it at once. */
  changed(instances: readonly string[], { ok, failure }: RootHealth): void {
    if (ok !== true && failure === "unavailable") return;
    void this.#revalidate(instances);
  }

  /** Checks a few at a time: thousands may be under one root key, and its key manager serves others too. */
  async #revalidate(instances: readonly string[]): Promise<void> {
    const left = [...instances];
    const next = async (): Promise<void> => {
      for (let one = left.pop(); one !== undefined; one = left.pop()) {
        await this.#options.keyRing.revalidate(one);
      }
    };
    await Promise.all(Array.from({ length: revalidationsMax }, next));
  }

  /** Probes each root of trust whose time has come, and reports to health. */
  look(): void {
    const all = this.#options.roots.inUse();
    for (const each of all) if (this.#isDue(each)) void this.#probe(each);
    this.tell();
  }

  /** Reports the state of this node's roots of trust to health. */
  tell(): void {
    const all = this.#options.roots.inUse();
    const used = all.filter(({ instances }) => instances.length > 0);
    const own = all.filter(({ reference }) => reference === undefined);
    const told = nodeState(used.length > 0 ? used : own);
    if (told !== undefined) this.#options.health.rootOfTrust(told.state, told.reason);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#stop();
  }

  #isDue({ root }: RootInUse): boolean {
    const { clock, revalidateMs } = this.#options;
    if (this.#probing.has(root)) return false;
    const { ok, askedMs } = root.health;
    if (askedMs === undefined) return true;
    const everyMs = rootKind(root.kind)?.onNode
      ? Math.min(onNodeEveryMs, revalidateMs)
      : revalidateMs;
    return (
      clock.monotonicMs() - askedMs >= (ok === true ? everyMs : Math.min(failedEveryMs, everyMs))
    );
  }

  async #probe({ root }: RootInUse): Promise<void> {
    this.#probing.add(root);
    // The result is in its health.
    await root.validate().catch(() => undefined);
    this.#probing.delete(root);
    this.tell();
  }

  #take(changed: readonly ManagedObject[]): void {
    for (const record of changed) {
      const instance = readRecord("Instance", record);
      if (instance === undefined) continue;
      if (instance.destroyed === undefined) this.#act(instance);
      else this.#forget(instance.instance);
    }
  }

  #forget(instance: string): void {
    this.#options.keyRing.forget(instance);
    this.#actedOn.delete(instance);
  }

  #act(record: SystemRecord<"Instance">): void {
    const { region, keyRing } = this.#options;
    const { instance } = record;
    const { current } = namedRoots(record, region);
    const now: ActedOn = {
      order: record.revalidated?.id,
      crkState: record.state[region]?.crkState,
      reference: current === undefined ? "" : referenceText(current),
    };
    const before = this.#actedOn.get(instance);
    this.#actedOn.set(instance, now);
    if (shreddedReason(record) !== undefined) {
      keyRing.shred(instance);
      return;
    }
    keyRing.unshred(instance);
    if (before === undefined) return;
    const found = now.crkState !== before.crkState && now.crkState !== "unreachable";
    if (found || now.order !== before.order || now.reference !== before.reference) {
      void keyRing.revalidate(instance);
    }
  }
}

/**
 * The combined state of a node's roots of trust. A refusal concerns only its own instance, whose clients get an error.
 * The node closes its listener if no root of trust can be reached, or if its own key file is refused.
 */
export function nodeState(
  all: readonly Pick<RootInUse, "reference" | "root">[],
):
  | { readonly state: "ok" | "degraded" | "unreachable" | "refused"; readonly reason: string }
  | undefined {
  const asked = all.filter(({ root }) => root.health.ok !== undefined);
  if (asked.length === 0) return undefined;
  const bad = asked.filter(({ root }) => root.health.ok === false);
  if (bad.length === 0) return { state: "ok", reason: "" };
  const reason = bad
    .slice(0, 5)
    .map(({ root }) => `${root.lastDescription?.name ?? root.kind}: ${root.health.reason}`)
    .join("; ");
  const refusals = bad.filter(({ root }) => root.health.failure !== "unavailable");
  const own = refusals.some(
    ({ reference, root }) => reference === undefined && rootKind(root.kind)?.onNode,
  );
  if (own) return { state: "refused", reason };
  if (bad.length === asked.length && refusals.length === 0) return { state: "unreachable", reason };
  return { state: "degraded", reason };
}
