import { ManagementError } from "@holdfast/admin";
import type { KeyRingStatus } from "@holdfast/engine";
import { rootKind } from "@holdfast/root-of-trust/kinds";
import type { PeerCommandHandlers } from "../records/peer-commands.ts";
import type { RootReference } from "../records/root-reference.ts";
import {
  checkRoot,
  type GivenLookup,
  type GivenRoot,
  givenSecret,
  listRoots,
  type OpenForLook,
  type Sealer,
  storedReference,
} from "./given-root.ts";
import type { Roots } from "./open/roots.ts";
import type { RewrapKeks } from "./rewrap-keks.ts";
import { rootProblem } from "./root-problem.ts";
import type { RootStatus } from "./root-status.ts";
import type { StorageKeyWraps } from "./storage-key-wraps.ts";
import type { ValidateRoots } from "./validate-roots.ts";

/** The commands that regions send to each other about roots of trust. */
export type RootPeerHandlers = Pick<
  PeerCommandHandlers,
  "checkRoot" | "rootKeys" | "settleRoot" | "revalidateRoot" | "reportStorageKey"
>;

interface RootPeerDeps {
  readonly roots: Roots;
  readonly rewrap: Pick<RewrapKeks, "settle">;
  readonly validate: Pick<ValidateRoots, "one">;
  readonly keyRing: {
    readonly revalidate: (instance: string) => Promise<void>;
    readonly statusOf: (instance: string) => KeyRingStatus | undefined;
  };
  /** Reads what other nodes and regions ordered; where no store can be read, the order is refused, not carried out by old records. */
  readonly refresh: () => Promise<void>;
  readonly status: (instance: string) => RootStatus;
  /** Opens a root of trust separately from those in use. */
  readonly open: OpenForLook;
  readonly seal: Sealer;
  /** What holds a reference's root keys, with the configuration's for what the reference leaves out. */
  readonly holderOf: (named: Pick<RootReference, "type">) => unknown;
  readonly storageKeys: Pick<StorageKeyWraps, "row">;
}

/** Carries out administrators' orders in this region, whichever region they call. */
export function rootPeerHandlers(deps: RootPeerDeps): RootPeerHandlers {
  const { roots, rewrap, validate, keyRing, status, open, refresh } = deps;
  const stored = (given: GivenRoot | GivenLookup): Promise<RootReference> =>
    storedReference(given, deps.seal).catch((error: unknown) => {
      throw rootProblem(error);
    });
  return {
    checkRoot: async ({ root, bound }) => {
      if (bound !== undefined) {
        await refresh();
        refuseShared(deps, root, bound);
      }
      const reference = await stored(root);
      return { reference: { ...reference, name: await checkRoot(open, reference) } };
    },
    rootKeys: async ({ root }) => {
      const keys = await listRoots(open, await stored(root));
      return {
        items: keys.map(({ id, name, aliases, keyRing: ring, state, usable }) => ({
          id,
          name,
          aliases: [...aliases],
          state,
          usable,
          ...(ring !== undefined && { keyRing: ring }),
        })),
      };
    },
    settleRoot: async ({ instance, anySource }) => {
      await refresh();
      try {
        const { current, next } = roots.named(instance);
        // This reads the current version of the root key.
        await (await roots.of(next ?? current)).validate();
        const { rewrapped } = await rewrap.settle(instance, { anySource });
        await validate.one(instance);
        return { rewrapped, status: status(instance) };
      } catch (error) {
        throw rootProblem(error);
      }
    },
    // This covers every open key of this node; the other nodes see the order in the instance's record.
    revalidateRoot: async ({ instance }) => {
      await refresh();
      await keyRing.revalidate(instance);
      await validate.one(instance);
      return { status: status(instance) };
    },
    reportStorageKey: async () => ({ row: await deps.storageKeys.row() }),
  };
}

/** A token counts the wrong PINs of all who use it: a caller that is bound to instances gives none for others' tokens. */
function refuseShared(
  { roots, holderOf }: Pick<RootPeerDeps, "roots" | "holderOf">,
  given: GivenRoot,
  bound: readonly string[],
): void {
  const { type } = given;
  const { holder } = rootKind(type);
  if (holder?.ownSecret !== true || givenSecret(given) === undefined) return;
  const asked = holderOf(given);
  const isHeld = (reference: Pick<RootReference, "type"> | undefined) =>
    reference?.type === type && holderOf(reference) === asked;
  const isShared =
    isHeld({ type }) ||
    roots.instances().some((instance) => {
      if (bound.includes(instance)) return false;
      const { current, next, left } = roots.named(instance);
      return [current, next, ...left.map(({ reference }) => reference)].some(isHeld);
    });
  if (!isShared) return;
  throw new ManagementError(
    "forbidden",
    `the ${holder.word} ${String(asked)} is the node's own or serves other instances, and it locks after some wrong secrets: only a token that is not bound to instances may give one for it`,
  );
}
