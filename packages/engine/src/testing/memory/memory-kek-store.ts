import type { KekStore } from "../../ports/keys.ts";
import type { KekWrap, WrappedKek } from "../../system/wrapped-kek.ts";

/** Wrapped KEKs in memory, for tests. */
export class MemoryKekStore implements KekStore {
  readonly #keks = new Map<string, readonly WrappedKek[]>();

  async list(instance: string): Promise<readonly WrappedKek[]> {
    return this.#of(instance);
  }

  async read(instance: string, kekId: string): Promise<WrappedKek | undefined> {
    return this.#of(instance).find(({ id }) => id === kekId);
  }

  async add(instance: string, kek: WrappedKek, onlyIfNone: boolean): Promise<boolean> {
    const keks = this.#of(instance);
    if (onlyIfNone && keks.length > 0) return false;
    this.#keks.set(instance, [...keks, kek]);
    return true;
  }

  async rewrap(
    instance: string,
    kekId: string,
    expected: Uint8Array,
    replacement: KekWrap,
  ): Promise<boolean> {
    const keks = this.#of(instance);
    const kek = keks.find(({ id }) => id === kekId);
    if (kek === undefined) return false;
    const old = kek.wraps.find((wrap) => wrap.region === replacement.region);
    if (Buffer.compare(old?.blob ?? new Uint8Array(), expected) !== 0) return false;
    const wraps = [...kek.wraps.filter((wrap) => wrap !== old), replacement];
    this.#keks.set(
      instance,
      keks.map((each) => (each === kek ? { ...kek, wraps } : each)),
    );
    return true;
  }

  #of(instance: string): readonly WrappedKek[] {
    return this.#keks.get(instance) ?? [];
  }
}
