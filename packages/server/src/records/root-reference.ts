import { secretPlace } from "@holdfast/admin";
import type { FieldChanges, SystemRecord } from "@holdfast/engine";
import {
  type KnownKind,
  kindNames,
  type ReferenceField,
  rootKinds,
} from "@holdfast/root-of-trust/kinds";
import { z } from "zod";

/** A secret as a record holds it: sealed under the region's sealing key, or where a node of the region finds it. */
const storedSecret = z.union([
  z.object({ sealed: z.base64() }),
  z.object({ env: z.string() }),
  z.object({ file: z.string() }),
]);

type FieldsOf<Reference> = {
  [Name in keyof Reference]: Reference[Name] extends { secret: string } ? never : Name;
}[keyof Reference];
type NamingField = KnownKind extends infer Kind
  ? Kind extends KnownKind
    ? FieldsOf<Kind["reference"]>
    : never
  : never;

/** What references of any kind name, beside their secret. */
const namingFields = rootKinds.flatMap(({ reference }) =>
  Object.entries<ReferenceField>(reference).flatMap(([name, { secret }]) =>
    secret === undefined ? [[name, z.string().optional()] as const] : [],
  ),
);

/** A reference as regions send it to each other: its secret is sealed by the region that owns it. */
export const storedReferenceSchema = z.object({
  type: z.enum(kindNames),
  ...(Object.fromEntries(namingFields) as Record<NamingField, z.ZodOptional<z.ZodString>>),
  secret: storedSecret.optional(),
  /** The name that this root of trust writes beside what it wraps, once it is known. */
  name: z.string().optional(),
});

/** Which root key of which root of trust an instance's record names for one region. */
export type RootReference = z.output<typeof storedReferenceSchema>;

/** A root of trust that an instance has left, and when: it stays openable until nothing is wrapped by it. */
const left = z.object({ reference: storedReferenceSchema, atMs: z.number() });
/** See `left`. */
type LeftRoot = z.output<typeof left>;

/** The roots of trust that an instance's record names for a region. */
export interface NamedRoots {
  /** Undefined: the configuration's. */
  readonly current: RootReference | undefined;
  /** The root of trust that the instance is being moved to. */
  readonly next: RootReference | undefined;
  readonly left: readonly LeftRoot[];
}

/** The fields of an instance's record that name its roots of trust. */
export type RootFields = Pick<SystemRecord<"Instance">, "root" | "rootNext" | "rootLeft">;

/** What an instance's record names for a region; an invalid reference counts as absent. */
export function namedRoots({ root, rootNext, rootLeft }: RootFields, region: string): NamedRoots {
  return {
    current: storedReferenceSchema.safeParse(root[region]).data,
    next: storedReferenceSchema.safeParse(rootNext[region]).data,
    left: z.array(left).safeParse(rootLeft[region]).data ?? [],
  };
}

/** The changes by which an instance's record names these for a region; fields that are absent stay unchanged. */
export function rootChanges(
  region: string,
  { current, next, left: roots }: Partial<NamedRoots>,
  drop: { readonly next?: boolean } = {},
): FieldChanges<"Instance"> {
  return {
    ...(current && { root: { [region]: storedReferenceSchema.parse(current) } }),
    ...((next ?? drop.next) && {
      rootNext: { [region]: next && storedReferenceSchema.parse(next) },
    }),
    ...(roots && { rootLeft: { [region]: roots.length === 0 ? undefined : roots } }),
  };
}

/** Whether two references say the same. */
export function sameReference(one: RootReference | undefined, other: RootReference): boolean {
  return one !== undefined && referenceText(one) === referenceText(other);
}

/** A reference as text, the same for the same reference. */
export function referenceText(of: RootReference): string {
  return JSON.stringify(storedReferenceSchema.parse(of));
}

/** The parts of a reference that may be shown. */
export function shownReference({
  name: _,
  secret,
  ...shown
}: RootReference): Record<string, string> {
  const place = secret === undefined ? undefined : secretPlace(secret);
  return Object.fromEntries(
    Object.entries({ ...shown, secret: place }).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    ),
  );
}
