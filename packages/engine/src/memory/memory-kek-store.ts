import type { KekStore, KekWrap, WrappedKek } from "../ports.ts";

/** Wrapped KEKs in memory, for tests. */
export class MemoryKekStore implements KekStore {
  readonly #keks = new Map<string, readonly WrappedKek[]>();

  async list(instance: string): Promise<readonly WrappedKek[]> {
    return this.#of(instance);
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
    let replaced = false;
    const keks = this.#of(instance).map((kek) => ({
      ...kek,
      wraps: kek.wraps.map((wrap) => {
        const ours = kek.id === kekId && wrap.region === replacement.region;
        if (!ours || Buffer.compare(wrap.blob, expected) !== 0) return wrap;
        replaced = true;
        return replacement;
      }),
    }));
    this.#keks.set(instance, keks);
    return replaced;
  }

  #of(instance: string): readonly WrappedKek[] {
    return this.#keks.get(instance) ?? [];
  }
}
