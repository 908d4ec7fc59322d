import {
  type KeyRing,
  kekData,
  type ObjectKekStore,
  type RootOfTrust,
  SealBroken,
} from "@holdfast/engine";
import { rootKind, rootKinds } from "@holdfast/root-of-trust/kinds";
import type { Instance } from "../access/instances.ts";
import { OperatorError } from "../base/operator-error.ts";

/**
 * Like `checkRoot`, but before contact with the other region, whose copies of the keys would hide the fault: refuses a
 * root of trust if only another one can open this region's wraps. If the store cannot answer now, the node continues.
 */
export async function checkRootOfStore(
  root: RootOfTrust,
  keks: Pick<ObjectKekStore, "all">,
  region: string,
  place: string,
): Promise<void> {
  // Only key files are copied by hand. With a key manager, each instance may name its own root key.
  if (rootKind(root.kind)?.onNode === false) return;
  const entries = await keks.all().catch(() => []);
  const { name } = await root.describe();
  let foreign = "";
  for (const { instance, kek } of entries) {
    const wrap = kek.wraps.find((one) => one.region === region);
    if (wrap === undefined || !isCopied(wrap.rootOfTrust)) continue;
    try {
      (await root.unwrap(wrap.blob, kekData(instance, kek.id))).plaintext.fill(0);
      return;
    } catch (error) {
      // A damaged wrap of this same root key does not matter: it will be made again.
      if (!(error instanceof SealBroken) || wrap.rootOfTrust === name) return;
      foreign = wrap.rootOfTrust;
    }
  }
  if (foreign === "") return;
  throw new OperatorError(
    `${place} opens no key of region ${region} in the store: they were made under another root key (${foreign}); give every node of the region the same one, or, where that one is lost for good, run \`holdfast root adopt --lost "${foreign}"\``,
  );
}

/** Whether a root key's name is of a kind that is copied to each node. */
function isCopied(name: string): boolean {
  return rootKinds.some(({ kind, onNode }) => onNode && name.startsWith(`${kind} `));
}

/**
 * Refuses a root of trust that did not wrap the store's keys. A node with it would look healthy but open no key, and no
 * other node could open what it sealed. If this cannot be checked now, the node continues.
 */
export async function checkRoot(
  keyRing: Pick<KeyRing, "seal">,
  instances: readonly Pick<Instance, "id" | "name">[],
  place: string,
): Promise<void> {
  const nothing = { uniqueIdentifier: "", objectType: 0 };
  const faults = await Promise.all(
    instances.map(async ({ id: instance, name }) => {
      try {
        await keyRing.seal({ instance, ...nothing }, new Uint8Array());
        return undefined;
      } catch (error) {
        return error instanceof SealBroken ? name : undefined;
      }
    }),
  );
  const name = faults.find((fault) => fault !== undefined);
  if (name === undefined) return;
  throw new OperatorError(
    `${place} does not open the keys of instance ${name} in the store, which were made under another root key; give every node of the region the same one, or, where that one is lost for good, run \`holdfast root adopt\` (docs/disaster-recovery.md, A root key)`,
  );
}
