import { contract } from "@holdfast/admin";
import { z } from "zod";
import { storedReferenceSchema } from "./root-reference.ts";

const instance = z.string().min(1).max(64);
const { configureRoot, readRoot, reportRoots, retrieveRootKeys } = contract;
const given = configureRoot.body.shape.regions.valueType;
const status = readRoot.answer.shape.regions.valueType;

/** What one region's management asks of the other's about roots of trust. */
export const rootPeerCommands = {
  /** Whether a root of trust could serve there now; its secret comes back sealed by that region. */
  checkRoot: {
    /** `bound`: the only instances that the caller reaches; all unless given. */
    input: z.object({ root: given, bound: z.array(instance).optional() }),
    output: z.object({ reference: storedReferenceSchema }),
  },
  /** The root keys that these credentials see from there. */
  rootKeys: {
    input: z.object({ root: retrieveRootKeys.body.shape.root }),
    output: retrieveRootKeys.answer.pick({ items: true }),
  },
  /** Brings an instance's KEKs under the root key that its record names for that region, and validates that. */
  settleRoot: {
    input: z.object({ instance, anySource: z.boolean() }),
    output: z.object({ rewrapped: z.number().int(), status }),
  },
  /** Asks that region's key manager now, for every open key. */
  revalidateRoot: {
    input: z.object({ instance }),
    output: z.object({ status }),
  },
  /** The row of that region's storage key in the report of root keys. */
  reportStorageKey: {
    input: z.object({}),
    output: z.object({ row: reportRoots.answer.shape.items.element }),
  },
} as const;
