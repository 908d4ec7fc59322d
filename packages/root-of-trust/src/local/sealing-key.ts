import type { Ids } from "@holdfast/engine";
import {
  createLocalRoot,
  type LocalRoot,
  type LocalRootSources,
  openLocalRoot,
  rotateLocalRoot,
} from "./local-root.ts";
import type { KeyFile } from "./root-key-file.ts";

/** Keeps sealed data apart from what a root of trust wraps, even if both use the same file. */
const domain = Buffer.from("holdfast sealing key\0", "ascii");

/** The data that a sealing key opened; `resealed` is present if the key has a newer version. */
export interface Unsealed {
  readonly plaintext: Uint8Array;
  readonly resealed?: Uint8Array;
}

/** Creates a region's sealing key file, mode 0600; refuses to replace an existing file. */
export async function createSealingKey(path: string, sources: LocalRootSources): Promise<void> {
  await createLocalRoot(keyFile(path), sources);
}

/** Adds a version of the sealing key, which seals from now on; older ones still open. Returns its number. */
export async function rotateSealingKey(path: string, sources: LocalRootSources): Promise<number> {
  return await rotateLocalRoot(keyFile(path), sources);
}

/** A region's own key for its own secrets in the store: a file of versions, read again after it was replaced. */
export class SealingKey implements AsyncDisposable {
  readonly #root: LocalRoot;

  constructor(root: LocalRoot) {
    this.#root = root;
  }

  /** Opens the file; rejects with a `RootOfTrustError` that says what is wrong with it, including its mode. */
  static async open(path: string, ids: Ids): Promise<SealingKey> {
    return new SealingKey(await openLocalRoot(keyFile(path), ids));
  }

  /** The version that seals. */
  async version(): Promise<string> {
    return (await this.#root.describe()).currentVersion;
  }

  /** Seals bytes, bound to their purpose (`additionalData`). */
  async seal(bytes: Uint8Array, additionalData: Uint8Array): Promise<Uint8Array> {
    return (await this.#root.wrap(bytes, bound(additionalData))).blob;
  }

  /** Opens what was sealed for the same purpose; rejects with `SealBroken` otherwise. */
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
