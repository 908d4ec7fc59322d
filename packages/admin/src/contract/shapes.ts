import { implementedOperations, operationSets } from "@holdfast/engine/operation-sets";
import { z } from "zod";

/** A UUID in lower case. */
export const uuid = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "a lower-case UUID")
  .meta({ examples: ["6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00"] });

/** The name of an instance, certificate, user or token. */
export const name = z
  .string()
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?$/,
    "1 to 64 letters, digits, spaces, dots, underscores or hyphens",
  )
  .meta({ examples: ["kmip-prod"] });

/** A path names an instance by its identifier or its name. */
export const instanceParam = z.object({
  instance: z.string().min(1).max(64).describe("The instance's identifier, or its name."),
});

/** A point in time (RFC 3339). */
export const time = z.iso
  .datetime({ offset: true })
  .meta({ examples: ["2026-11-25T20:12:09.000Z"] });

/** A region's name. */
export const region = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, "the name of a region")
  .meta({ examples: ["a"] });

/** SHA-256 in lower-case hex. */
export const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits, without colons")
  .meta({ examples: ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"] });

/** Where the next page begins. */
const cursor = z.string().max(1_024);

/** The query of every list. */
export const page = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: cursor.optional().describe("`next` of the previous page."),
});

/** A page of a list. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({
    items: z.array(item),
    next: cursor
      .optional()
      .describe("Absent on the last page; a short or empty page may still have a next one."),
  });
}

/** Which regions have a change; it takes effect within a second of `applied`. */
export const applied = z.record(region, z.enum(["applied", "pending"])).meta({
  description: "By region: `pending` until the region has the change.",
  examples: [{ a: "applied", b: "pending" }],
});

/** The version of a resource: its ETag. */
export const version = z.string().max(64);

/** Free text for people. */
export const description = z.string().max(1024);

/** Labels by which instances are grouped. */
export const labels = z
  .record(
    z
      .string()
      .regex(
        /^[A-Za-z0-9._/-]{1,64}$/,
        "1 to 64 letters, digits, dots, underscores, slashes or hyphens",
      ),
    z.string().max(256),
  )
  .refine((all) => Object.keys(all).length <= 32, "at most 32 labels");

/** The KMIP operations that a client is limited to, as an answer shows them: those of another release too. */
export const operationLimit = z
  .array(z.string())
  .optional()
  .describe("The KMIP operations that it is limited to; absent = all.");

/** The same in a request: sets by name, and single operations. */
export const givenLimit = z
  .array(z.enum([...operationSets, ...implementedOperations]))
  .min(1)
  .max(64)
  .describe(
    "The KMIP operations that it may use. all: no limit. vsphere: what vCenter and hosts send. read-only: what changes nothing. Query and Discover Versions are always allowed.",
  )
  .meta({ examples: [["vsphere"], ["read-only"], ["Get", "Locate"]] });

/** Whether KMIP clients may destroy objects of an instance, and revoke Active ones. */
export const destroyOverKmip = z.enum(["refused", "allowed"]);

/** How long destroyed objects of an instance can be restored, seconds. */
export const destroyDelay = z.number().int().min(0).max(31_536_000);

/** A switch in a query. */
export const flag = z.enum(["true", "false"]).transform((text) => text === "true");

/** PEM text of bounded length. */
export const pem = z
  .string()
  .max(65_536)
  .meta({ examples: ["-----BEGIN CERTIFICATE-----\nMIIB…\n-----END CERTIFICATE-----\n"] });
