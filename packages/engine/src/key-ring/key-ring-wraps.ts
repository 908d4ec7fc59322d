import { createSecretKey, type KeyObject } from "node:crypto";
import type { AuditEvent } from "../audit/audit-event.ts";
import type { Clock } from "../base/clock.ts";
import { KeyRingUnavailable, SealBroken, UnknownKek } from "../base/errors.ts";
import type { Ids } from "../base/ids.ts";
import type { Observer } from "../base/observe.ts";
import type { KekStore, RootOfTrust, RootWrap } from "../ports/keys.ts";
import {
  isWithheldKek,
  type KekEntry,
  type KekWrap,
  type WrappedKek,
  withheldKekId,
} from "../system/wrapped-kek.ts";
import { checkKek, wrapKek, wrapOf, wrapProven } from "./key-ring-kek.ts";
import { kekBytes, kekCheck, kekData } from "./seal.ts";

export interface KekWrapsOptions {
  /**
   * The root of trust that wraps an instance's KEKs in this region from now on. With `madeBy`, the one of that name,
   * which opens what it wrapped before the instance was moved; if no root of trust has that name, the present one.
   */
  readonly rootOf: (instance: string, madeBy?: string) => RootOfTrust | Promise<RootOfTrust>;
  readonly keks: KekStore;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observe: Observer;
  readonly region: string;
  /** Asks another region for a KEK whose wrap for this region is not valid; its bytes are zeroed after use. */
  readonly fetchPlain?: (instance: string, kekId: string) => Promise<Uint8Array>;
}

/** How a KEK is made; one with evidence comes after others, and one without is the first. */
interface NewKek {
  readonly createdMs: number;
  /** Whether its wrap is opened once before it is written. */
  readonly proven: boolean;
  readonly evidence?: readonly AuditEvent[];
  readonly isWithheld?: boolean;
}

/** A KEK that was unwrapped. */
export interface UnwrappedKek {
  readonly key: KeyObject;
  /** The root of trust that made the wrap. */
  readonly madeBy: string;
  readonly createdMs: number;
  /** All KEKs of its instance. */
  readonly known: readonly WrappedKek[];
}

/** The result for a KEK: under another root of trust, under another version, unchanged, or lost to another writer. */
export type Rewrapped = "moved" | "rewrapped" | "same" | "raced";

/** The KEK if it is open in memory. */
export type Held = () => KeyObject | undefined;

/**
 * What is known of a region's wrap: it opens to its KEK; it does not; or it names a root of trust that the region does not
 * have, as far as this node has seen.
 */
export type WrapProof = "opens" | "broken" | "strange";

const noBlob = new Uint8Array();

/** Makes, opens, repairs and re-wraps this region's wraps of KEKs; it keeps no key. */
export class KekWraps {
  readonly #options: KekWrapsOptions;

  constructor(options: KekWrapsOptions) {
    this.#options = options;
  }

  list(instance: string): Promise<readonly WrappedKek[]> {
    return this.#options.keks.list(instance);
  }

  /** Makes an instance's first KEK, unless another node is faster; `proven` if another region may seal first. */
  async make(instance: string, proven: boolean): Promise<void> {
    const createdMs = this.#options.clock.wallMs();
    await this.#add(instance, { createdMs, proven });
  }

  /**
   * Makes a KEK that comes after all others of its instance, and returns its id. Every region agrees to it, so that none
   * of them seals with another one.
   */
  async makeNext(instance: string, evidence: readonly AuditEvent[]): Promise<string> {
    const createdMs = this.#nextMs(await this.list(instance));
    return await this.#add(instance, { createdMs, proven: true, evidence });
  }

  /**
   * Makes the KEK under which destroyed material is withheld from now on, unless the instance has one that was made later
   * than `afterMs`. Every region agrees to it.
   */
  async makeWithheld(instance: string, afterMs: number): Promise<void> {
    const known = await this.list(instance);
    const isMade = known.some(
      ({ id, createdMs, wraps }) => isWithheldKek(id) && wraps.length > 0 && createdMs > afterMs,
    );
    if (isMade) return;
    const createdMs = this.#nextMs(known);
    await this.#add(instance, { createdMs, proven: true, evidence: [], isWithheld: true });
  }

  /** A time after that of every KEK that there is. */
  #nextMs(known: readonly WrappedKek[]): number {
    const newestMs = known.reduce((newest, { createdMs }) => Math.max(newest, createdMs), 0);
    return Math.max(this.#options.clock.wallMs(), newestMs + 1);
  }

  async #add(
    instance: string,
    { createdMs, proven, evidence, isWithheld = false }: NewKek,
  ): Promise<string> {
    const { rootOf, keks, ids, region } = this.#options;
    const root = await rootOf(instance);
    const id = isWithheld ? withheldKekId(ids.uuid()) : ids.uuid();
    const key = ids.randomBytes(kekBytes);
    try {
      const wrap = await (proven ? wrapProven : wrapKek)(root, { instance, id, region }, key);
      const check = kekCheck(key, instance, id);
      const kek = { id, createdMs, check, wraps: [wrap] };
      await keks.add(instance, kek, evidence === undefined, evidence);
      return id;
    } finally {
      // The root of trust must unwrap it before it seals anything, which proves that it can be opened.
      key.fill(0);
    }
  }

  /** Looks at a wrap of this region. Rejects while its root of trust cannot tell. */
  async prove({ instance, kek }: KekEntry, wrap: KekWrap): Promise<WrapProof> {
    const root = await this.#options.rootOf(instance, wrap.rootOfTrust);
    if ((await root.describe()).name !== wrap.rootOfTrust) return "strange";
    try {
      const { plaintext } = await this.#unwrapTold(root, wrap, kekData(instance, kek.id));
      try {
        checkKek(plaintext, instance, kek);
      } finally {
        plaintext.fill(0);
      }
      return "opens";
    } catch (error) {
      if (error instanceof SealBroken) return "broken";
      throw error;
    }
  }

  /** Gives a KEK this region's wrap, from memory or the other region; false if it has one. */
  async adopt(
    instance: string,
    kekId: string,
    { held, fetchPlain }: { readonly held: Held; readonly fetchPlain: () => Promise<Uint8Array> },
  ): Promise<boolean> {
    const lacking = async (): Promise<WrappedKek | undefined> => {
      const kek = await this.#options.keks.read(instance, kekId);
      return kek && wrapOf(kek, this.#options.region) === undefined ? kek : undefined;
    };
    const kek = await lacking();
    if (kek === undefined) return false;
    const root = await this.#options.rootOf(instance);
    let plain: Uint8Array;
    try {
      // One that lost its wrap is given no more by the other region.
      plain = held()?.export() ?? (await fetchPlain());
    } catch (error) {
      // Another node was faster, and then the other region gives it no more.
      if ((await lacking()) === undefined) return false;
      throw error;
    }
    return await this.#wrapAnew(root, { instance, kek, old: noBlob }, plain);
  }

  /** A KEK's bytes from this region's wrap; the caller zeroes them after use. */
  async plaintext(instance: string, kekId: string): Promise<Uint8Array> {
    return (await this.#unwrapped(instance, kekId)).plaintext;
  }

  /**
   * Opens a KEK. If this region's wrap is malformed, whether the store or another region damaged it, wraps the KEK
   * again. A wrap of another root of trust stays: a node with the wrong one must not take the KEK from all others.
   */
  async open(instance: string, id: string, held: Held): Promise<UnwrappedKek> {
    const { rootOf, region, observe, fetchPlain } = this.#options;
    try {
      return await this.#open(instance, id);
    } catch (broken) {
      if (!(broken instanceof SealBroken)) throw broken;
      const kek = await this.#options.keks.read(instance, id);
      const old = kek && wrapOf(kek, region);
      if (!(kek && old)) throw broken;
      const root = await rootOf(instance, old.rootOfTrust);
      if (old.rootOfTrust !== (await root.describe()).name) throw broken;
      const plain = held()?.export() ?? (await fetchPlain?.(instance, id));
      if (plain === undefined) throw broken;
      await this.#wrapAnew(root, { instance, kek, old: old.blob }, plain);
      const message = `key-encryption key ${id} had a wrap of this region that does not open; it has another one now`;
      observe({ type: "warning", message, cause: broken });
      return await this.#open(instance, id);
    }
  }

  /**
   * Re-wraps a KEK for this region under `target`'s current version, and proves that the wrap opens before it replaces
   * the old one. The key comes from the root of trust that wrapped it. If that fails, as it may be lost, and an
   * administrator orders it (`anySource`), the key comes from memory or the other region.
   */
  async rewrap(
    instance: string,
    kek: WrappedKek,
    target: RootOfTrust,
    from: { readonly held: Held; readonly anySource: boolean },
  ): Promise<Rewrapped> {
    const old = wrapOf(kek, this.#options.region);
    const { name, currentVersion } = await target.describe();
    if (old?.rootOfTrust === name) {
      if (old.rootKeyVersion === currentVersion) return "same";
      return await this.#renew(instance, kek, old, target);
    }
    const plain = await this.#plain(instance, kek, old, from);
    const of = { instance, kek, old: old?.blob ?? noBlob };
    return (await this.#wrapAnew(target, of, plain)) ? "moved" : "raced";
  }

  async #renew(
    instance: string,
    kek: WrappedKek,
    old: KekWrap,
    target: RootOfTrust,
  ): Promise<Rewrapped> {
    const made = await target.rewrap(old.blob, kekData(instance, kek.id));
    if (made === undefined) return "same";
    return (await this.#replace(target, { instance, kek, old }, made)) ? "rewrapped" : "raced";
  }

  /** Puts a new wrap in the place of the old one, once it is proven to open; false if another writer was faster. */
  async #replace(
    root: RootOfTrust,
    of: { readonly instance: string; readonly kek: WrappedKek; readonly old: KekWrap },
    { blob, version: rootKeyVersion }: RootWrap,
  ): Promise<boolean> {
    const { instance, kek, old } = of;
    const { plaintext } = await root.unwrap(blob, kekData(instance, kek.id));
    try {
      checkKek(plaintext, instance, kek);
    } finally {
      plaintext.fill(0);
    }
    const wrap = { ...old, rootKeyVersion, blob };
    return await this.#options.keks.rewrap(instance, kek.id, old.blob, wrap);
  }

  async #plain(
    instance: string,
    kek: WrappedKek,
    old: KekWrap | undefined,
    { held, anySource }: { readonly held: Held; readonly anySource: boolean },
  ): Promise<Uint8Array> {
    const { rootOf, fetchPlain } = this.#options;
    let failure: unknown = new KeyRingUnavailable(false, `${kekName(kek.id)} has no wrap here`);
    if (old !== undefined) {
      try {
        const maker = await rootOf(instance, old.rootOfTrust);
        return await this.#unwrapTold(maker, old, kekData(instance, kek.id)).then(
          ({ plaintext }) => plaintext,
        );
      } catch (error) {
        failure = error;
      }
    }
    if (!anySource) throw failure;
    const open = held()?.export();
    if (open !== undefined) return open;
    if (fetchPlain === undefined) throw failure;
    return await fetchPlain(instance, kek.id);
  }

  /** Gives a KEK this region's wrap in place of `old`, and zeroes its bytes; false if another writer was faster. */
  async #wrapAnew(
    root: RootOfTrust,
    of: { readonly instance: string; readonly kek: WrappedKek; readonly old: Uint8Array },
    key: Uint8Array,
  ): Promise<boolean> {
    const { keks, region } = this.#options;
    const { instance, kek, old } = of;
    try {
      if (key.length !== kekBytes) throw new SealBroken(`${kekName(kek.id)} has a wrong length`);
      checkKek(key, instance, kek);
      const wrap = await wrapProven(root, { instance, id: kek.id, region }, key);
      return await keks.rewrap(instance, kek.id, old, wrap);
    } finally {
      key.fill(0);
    }
  }

  async #open(instance: string, id: string): Promise<UnwrappedKek> {
    const { observe } = this.#options;
    const { plaintext, rewrapped, root, wrap, kek, known } = await this.#unwrapped(instance, id);
    const key = takeKey(plaintext);
    if (key === undefined) throw new SealBroken(`${kekName(id)} has a wrong length`);
    checkKek(key, instance, kek);
    if (rewrapped !== undefined) {
      // The old wrap still opens; the next load tries again.
      this.#replace(root, { instance, kek, old: wrap }, rewrapped).catch((cause: unknown) =>
        observe({ type: "warning", message: `${kekName(id)} is not rewrapped`, cause }),
      );
    }
    return { key, madeBy: wrap.rootOfTrust, createdMs: kek.createdMs, known };
  }

  /** This region's wrap, unwrapped by its root of trust. */
  async #unwrapped(instance: string, id: string) {
    const { rootOf, region } = this.#options;
    const known = await this.list(instance);
    const kek =
      known.find((each) => each.id === id) ?? (await this.#options.keks.read(instance, id));
    if (kek === undefined) throw new UnknownKek(false, `${kekName(id)} is not known`);
    const wrap = wrapOf(kek, region);
    // No region opens what it sealed any more, so a copy under another KEK counts instead.
    if (kek.wraps.length === 0) throw new UnknownKek(false, `${kekName(id)} was removed`);
    if (wrap === undefined) {
      throw new KeyRingUnavailable(false, `${kekName(id)} is not wrapped for this region`);
    }
    const root = await rootOf(instance, wrap.rootOfTrust);
    const opened = await this.#unwrapTold(root, wrap, kekData(instance, id));
    return { ...opened, root, wrap, kek, known };
  }

  async #unwrapTold(root: RootOfTrust, { blob }: KekWrap, data: Uint8Array) {
    const { clock, observe } = this.#options;
    const startedMs = clock.monotonicMs();
    const report = (ok: boolean): void =>
      observe({ type: "unwrap", durationMs: clock.monotonicMs() - startedMs, ok });
    const opened = await root.unwrap(blob, data).catch((error: unknown) => {
      report(false);
      throw error;
    });
    report(true);
    return opened;
  }
}

function kekName(id: string): string {
  return `key-encryption key ${id}`;
}

/** The key of a KEK's bytes, which are zeroed; undefined for any other length. */
function takeKey(bytes: Uint8Array): KeyObject | undefined {
  try {
    return bytes.length === kekBytes ? createSecretKey(bytes) : undefined;
  } finally {
    bytes.fill(0);
  }
}
