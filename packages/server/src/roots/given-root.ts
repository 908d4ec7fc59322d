import { type Call, type Contract, ManagementError } from "@holdfast/admin";
import { type RootKey, type RootOfTrust, RootOfTrustError } from "@holdfast/engine";
import { rootKind, secretField } from "@holdfast/root-of-trust/kinds";
import type { RootReference } from "../records/root-reference.ts";
import { rootProblem } from "./root-problem.ts";

/** A root of trust as an administrator gives it. */
export type GivenRoot = Call<Contract["configureRoot"]>["body"]["regions"][string];
/** Where to look up root keys. */
export type GivenLookup = Call<Contract["retrieveRootKeys"]>["body"]["root"];

type GivenSecret = Extract<GivenRoot, { readonly type: "hpcs" }>["apiKey"];

/** The given secret of a root of trust; undefined for kinds without a secret. */
export function givenSecret(given: GivenRoot | GivenLookup): GivenSecret | undefined {
  const field = secretField(rootKind(given.type));
  return field === undefined
    ? undefined
    : ((given as Readonly<Record<string, unknown>>)[field] as GivenSecret | undefined);
}

/** Seals a secret for a reference of this region. */
export type Sealer = (
  named: Omit<RootReference, "secret">,
  secret: string,
) => Promise<{ readonly sealed: string }>;

/** Converts a given root of trust to its form in a record: a secret is sealed before it is stored anywhere. */
export async function storedReference(
  given: GivenRoot | GivenLookup,
  seal: Sealer,
): Promise<RootReference> {
  const secret = givenSecret(given);
  const field = secretField(rootKind(given.type));
  const named = Object.fromEntries(
    Object.entries(given).filter(([name]) => name !== field),
  ) as unknown as RootReference;
  if (secret === undefined) return named;
  return { ...named, secret: "value" in secret ? await seal(named, secret.value) : secret };
}

/** Opens a root of trust for a check, separate from those in use. */
export type OpenForLook = (reference: RootReference) => Promise<RootOfTrust>;

/**
 * Checks whether a root of trust could serve an instance now: permission, the root key's state, and that it wraps and
 * unwraps. Returns its name; throws a `ManagementError` that names what is missing.
 */
export async function checkRoot(open: OpenForLook, reference: RootReference): Promise<string> {
  return await looking(open, reference, async (root) => {
    try {
      await root.validate();
    } catch (error) {
      throw await missingKey(root, reference, error);
    }
    await root.probe();
    return (await root.describe()).name;
  });
}

/** The root keys that these credentials can see. */
export async function listRoots(
  open: OpenForLook,
  reference: RootReference,
): Promise<readonly RootKey[]> {
  return await looking(open, reference, (root) => root.rootKeys());
}

async function looking<Answer>(
  open: OpenForLook,
  reference: RootReference,
  look: (root: RootOfTrust) => Promise<Answer>,
): Promise<Answer> {
  try {
    const root = await open(reference);
    try {
      return await look(root);
    } finally {
      await root.close();
    }
  } catch (error) {
    throw rootProblem(error);
  }
}

/** Uses the list of keys to tell a key that never existed from one that is gone. */
async function missingKey(
  root: RootOfTrust,
  { rootKey }: RootReference,
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof RootOfTrustError && error.failure === "gone")) return error;
  const keys = await root.rootKeys().catch(() => undefined);
  if (keys === undefined || rootKey === undefined) return error;
  if (keys.some(({ id, name, aliases }) => [id, name, ...aliases].includes(rootKey))) return error;
  const usable = keys.filter((key) => key.usable).length;
  const detail = `root key ${rootKey} not found; the credentials see ${usable} usable root keys (retrieve lists them)`;
  return new ManagementError("rootKeyMissing", detail);
}
