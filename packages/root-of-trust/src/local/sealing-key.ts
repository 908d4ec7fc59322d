import type { Ids } from "@holdfast/engine";
import {
  createLocalRoot,
  type LocalRoot,
  type LocalRootSources,
  openLocalRoot,
  rotateLocalRoot,
} from "./local-root.ts";
import type { KeyFile } from "./root-key-file.ts";

/** Keeps what is sealed apart from what a root of trust wraps, were they ever given the same file. */
const domain = Buffer.from("holdfast sealing key\0", "ascii");

/** What a sealing key opened; `resealed` is present when there is a newer version of the key. */
export interface Unsealed {
  readonly plaintext: Uint8Array;
  readonly resealed?: Uint8Array;
}

/** Makes a region's sealing key file, mode 0600; refuses to replace one. */
export async function createSealingKey(path: string, sources: LocalRootSources): Promise<void> {
  await createLocalRoot(keyFile(path), sources);
}

/** Adds a version of the sealing key, which seals from now on; older ones still open. Answers its number. */
export async function rotateSealingKey(path: string, sources: LocalRootSources): Promise<number> {
  return await rotateLocalRoot(keyFile(path), sources);
}

/** A region's own key for its own secrets in the store: a file of versions, read again when it was replaced. */
export class SealingKey implements AsyncDisposable {
  readonly #root: LocalRoot;

  constructor(root: LocalRoot) {
    this.#root = root;
  }

  /** Opens the file; rejects with a `RootOfTrustError` that says what is wrong with it, its mode too. */
  static async open(path: string, ids: Ids): Promise<SealingKey> {
    return new SealingKey(await openLocalRoot(keyFile(path), ids));
  }

  /** The version that seals. */
  async version(): Promise<string> {
    return (await this.#root.describe()).currentVersion;
  }

  /** Seals bytes, bound to what they are for. */
  async seal(bytes: Uint8Array, additionalData: Uint8Array): Promise<Uint8Array> {
    return (await this.#root.wrap(bytes, bound(additionalData))).blob;
  }

  /** Opens what was sealed for the same; `SealBroken` where it was not. */
  async open(sealed: Uint8Array, additionalData: Uint8Array): Promise<Unsealed> {
    const { plaintext, rewrapped } = await this.#root.unwrap(sealed, bound(additionalData));
    return { plaintext, ...(rewrapped && { resealed: rewrapped.blob }) };
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function keyFile(path: string): KeyFile {
  return { path, what: "sealing key file" };
}

function bound(additionalData: Uint8Array): Uint8Array {
  return Buffer.concat([domain, additionalData]);
}
