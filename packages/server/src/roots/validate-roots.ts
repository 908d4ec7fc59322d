import {
  type AuditEvent,
  type Clock,
  type CrkState,
  type InstanceKeyRing,
  type RegionState,
  RootOfTrustError,
} from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import { managementEvent, managementEvents } from "../audit/management-event.ts";
import { reasonOf } from "../base/operator-error.ts";
import { shreddedReason } from "../records/keys-order.ts";
import { instanceRecordId, type Records } from "../records/records.ts";
import type { RootReference } from "../records/root-reference.ts";
import { keyOf } from "./open/root-pool.ts";
import type { Roots } from "./open/roots.ts";
import { crkStateOf } from "./root-problem.ts";

interface ValidateRootsOptions {
  readonly region: string;
  readonly node: string;
  readonly roots: Pick<Roots, "named" | "of" | "keks" | "instances" | "record" | "ready">;
  readonly keyRing: Pick<InstanceKeyRing, "seal" | "statusOf">;
  readonly records: Pick<Records, "change">;
  readonly clock: Clock;
  readonly graceMs: number;
  readonly requestId: () => string;
  /** Whether this region creates the first KEK of instances: only one region does, so that there is only one. */
  readonly makesFirst: () => boolean;
  /** How long an unchanged state is not written again. */
  readonly againMs: number;
  readonly everyMs: number;
}

/** The result of validating a root of trust. */
interface Finding {
  readonly crkState: CrkState;
  readonly reason: string;
  readonly root: string;
  readonly version: string;
}

const nothing = { uniqueIdentifier: "", objectType: 0 };
const wantsKeys: ReadonlySet<string | undefined> = new Set([undefined, "Configuring", "Installed"]);

/**
 * Asks key managers whether root keys may still be used, and writes the results to the instances' records, where both
 * regions and every node see them. Also creates an instance's first KEK once its root of trust is usable.
 */
export class ValidateRoots implements Duty {
  readonly name = "validate-roots";
  readonly everyMs: number;
  readonly #options: ValidateRootsOptions;

  constructor(options: ValidateRootsOptions) {
    this.#options = options;
    this.everyMs = options.everyMs;
  }

  async run({ active }: DutyContext): Promise<DutyResult> {
    const { done, left } = await this.all(active);
    // Records that could not be written are tried again at the next run, not at once.
    return { done: left > 0 ? 0 : done, left };
  }

  /** Validates each root of trust once, and writes the states of its instances; `left` could not be written. */
  async all(active: () => boolean): Promise<DutyResult> {
    const { roots } = this.#options;
    const currentOf = (instance: string) => roots.named(instance).current;
    const groups = Map.groupBy(roots.instances(), (instance) => keyOf(currentOf(instance)));
    // A slow root of trust does not delay the instances of others.
    const counts = await Promise.all(
      [...groups.values()].map(async (instances) => {
        const finding = await this.#find(currentOf(instances[0] as string));
        const count = { done: 0, left: 0 };
        for (const instance of instances) {
          if (!active()) break;
          const written = await this.#write(instance, finding).catch(() => undefined);
          if (written === true) count.done += 1;
          if (written === undefined) count.left += 1;
        }
        return count;
      }),
    );
    return {
      done: counts.reduce((sum, { done }) => sum + done, 0),
      left: counts.reduce((sum, { left }) => sum + left, 0),
    };
  }

  /** The same for one instance, now. */
  async one(instance: string): Promise<RegionState> {
    const { roots } = this.#options;
    const finding = await this.#find(roots.named(instance).current);
    const state = await this.#stateOf(instance, finding);
    await this.#save(instance, state);
    return state;
  }

  async #find(reference: RootReference | undefined): Promise<Finding> {
    const { roots } = this.#options;
    let known: { readonly name: string; readonly currentVersion: string } | undefined;
    try {
      const root = await roots.of(reference);
      known = root.lastDescription;
      await root.validate();
      known = await root.describe();
      return { crkState: "usable", reason: "", root: known.name, version: known.currentVersion };
    } catch (error) {
      const failure = error instanceof RootOfTrustError ? error.failure : undefined;
      return {
        crkState: crkStateOf(failure),
        reason: reasonOf(error),
        root: known?.name ?? reference?.name ?? "",
        version: known?.currentVersion ?? "",
      };
    }
  }

  async #write(instance: string, finding: Finding): Promise<boolean> {
    const { roots, clock, region, againMs } = this.#options;
    const record = roots.record(instance);
    if (record === undefined) return false;
    const state = await this.#stateOf(instance, finding);
    const known = record.state[region];
    const fresh = known !== undefined && clock.wallMs() - known.atMs < againMs;
    if (fresh && sameState(known, state)) return false;
    await this.#save(instance, state);
    return true;
  }

  async #save(instance: string, state: RegionState): Promise<void> {
    const { records, region, roots } = this.#options;
    const known = roots.record(instance)?.state[region];
    // An event must report a root key that stops working.
    const fails = state.crkState !== "usable" && state.crkState !== known?.crkState;
    await records.change(
      "Instance",
      instanceRecordId(instance),
      () => ({ state: { [region]: state } }),
      [
        ...(fails && state.crkState !== "shredded" ? [this.#failed(instance, state)] : []),
        ...(known !== undefined && isRotated(known, state) ? this.#rotated(instance, state) : []),
      ],
    );
  }

  #failed(instance: string, { crkState, reason, root }: RegionState): AuditEvent {
    const { clock, region } = this.#options;
    const { actor, target } = this.#about(instance);
    return managementEvent(actor, "root.fail", "failure", target, {
      timeMs: clock.wallMs(),
      reason: crkState,
      detail: { region, root, reason },
    });
  }

  /** Root keys are rotated in key managers, tokens and files; the leader notices it here and reports it. */
  #rotated(instance: string, { root, version }: RegionState): readonly AuditEvent[] {
    const { clock, region } = this.#options;
    const { actor, target } = this.#about(instance);
    const detail = { region, root, version };
    return managementEvents(actor, "root.rotate", target, { timeMs: clock.wallMs(), detail });
  }

  #about(instance: string) {
    const { node, requestId, roots } = this.#options;
    const name = roots.record(instance)?.name;
    return {
      actor: { principal: { name: node, id: node }, requestId: requestId() },
      target: { id: instance, instance, ...(name !== undefined && { name }) },
    };
  }

  async #stateOf(instance: string, finding: Finding): Promise<RegionState> {
    const { roots, clock } = this.#options;
    const record = roots.record(instance);
    const wanted = record?.status;
    const base = { ...finding, atMs: clock.wallMs() };
    if (record !== undefined && shreddedReason(record) !== undefined) {
      const reason = "its keys were shredded by an administrator; revalidate to open them again";
      return { ...base, status: "Inactive", crkState: "shredded", reason };
    }
    if (!wantsKeys.has(wanted)) {
      return { ...base, status: wanted === "Removing" ? wanted : "Inactive" };
    }
    if (finding.crkState === "unreachable") return this.#unreachable(instance, base);
    if (finding.crkState !== "usable") return { ...base, status: "Inactive" };
    const waits = await this.#provision(instance);
    if (waits !== "") return { ...base, status: "Configuring", reason: waits };
    const moving = roots.named(instance).next;
    const reason = moving === undefined ? "" : "its keys are being moved to another root key";
    return { ...base, status: "Installed", reason };
  }

  /** Within the grace time the instance can be used as before. */
  #unreachable(instance: string, base: Omit<RegionState, "status">): RegionState {
    const { keyRing, clock, region, roots, graceMs } = this.#options;
    const known = roots.record(instance)?.state[region];
    const own = keyRing.statusOf(instance);
    // Other nodes may have keys open although this node has none. Their grace time also starts at the last contact.
    const lastMs = roots.ready(instance)?.health.okMs;
    const since =
      lastMs === undefined ? undefined : clock.wallMs() - (clock.monotonicMs() - lastMs);
    const told = known?.crkState === "unreachable" ? known.graceUntilMs : undefined;
    const graceUntilMs = own?.graceUntilMs ?? told ?? (since ?? clock.wallMs()) + graceMs;
    const until = new Date(graceUntilMs).toISOString();
    const within = clock.wallMs() < graceUntilMs;
    const effect = within ? `open keys are used until ${until}` : "no key can be used";
    const reason = `${base.reason}; ${effect}`;
    const installed = within && known?.status === "Installed";
    return { ...base, status: installed ? "Installed" : "Inactive", reason, graceUntilMs };
  }

  /** Creates the first KEK if none exists. Returns why the instance cannot seal yet, or an empty text. */
  async #provision(instance: string): Promise<string> {
    const { roots, keyRing, region } = this.#options;
    const keks = roots.keks(instance);
    if (
      keks.some(({ wraps }) => wraps.length > 1 && wraps.some((wrap) => wrap.region === region))
    ) {
      return "";
    }
    if (keks.length === 0 && !this.#options.makesFirst()) {
      return "its first key-encryption key is made by the other region";
    }
    try {
      await keyRing.seal({ instance, ...nothing }, new Uint8Array());
      return "";
    } catch (error) {
      return reasonOf(error);
    }
  }
}

/** Whether two states are equal, except for their times. */
function sameState(one: RegionState, other: RegionState): boolean {
  const said = ({ atMs: _, graceUntilMs: _until, ...rest }: RegionState): string =>
    JSON.stringify(
      Object.entries({
        ...rest,
        reason: rest.crkState === "unreachable" ? "" : rest.reason,
      }).toSorted(),
    );
  return said(one) === said(other);
}

/** Whether the same root key has a different version than at the last check. */
function isRotated(known: RegionState, { root, version, crkState }: RegionState): boolean {
  const seen = known.version !== "" && known.root === root && crkState === "usable";
  return seen && known.version !== version;
}
