import { randomBytes, randomUUID } from "node:crypto";
import type { KmipClient } from "@holdfast/client";
import { createAuthority } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { keyBytes, stateOf } from "../support/keys.ts";
import { clientOf } from "../support/load.ts";
import { hasPykmip, PykmipError, PykmipProcess, pykmipMissing } from "../support/pykmip.ts";
import { type Region, startRegion } from "../support/region.ts";

const there = hasPykmip();
if (!there) test.skip(pykmipMissing, () => {});

const versions = ["1.0", "1.1", "1.2", "1.3", "1.4", "2.0"] as const;
const oldest = ["1.0"];
/** The attributes of a new key that PyKMIP can decode; it fails on unknown attributes. */
const known = [
  "Cryptographic Algorithm",
  "Cryptographic Length",
  "Cryptographic Usage Mask",
  "Object Type",
  "State",
  "Unique Identifier",
];

let region: Region;
let own: KmipClient;
let python: PykmipProcess;

beforeAll(async () => {
  if (!there) return;
  region = await startRegion({
    instances: ["plain", "named"],
    users: { named: { ada: "lovelace" } },
  });
  own = await clientOf(region, "plain", 1);
  python = await PykmipProcess.start();
});

afterAll(async () => {
  await python?.[Symbol.asyncDispose]();
  await own?.close();
  await region?.[Symbol.asyncDispose]();
});

/** The error with which an operation failed. */
async function failureOf(work: Promise<unknown>): Promise<PykmipError> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof PykmipError)) throw new Error(`no failure of PyKMIP's: ${error}`);
  return error;
}

describe.skipIf(!there).each(versions)("PyKMIP in KMIP %s (needs PyKMIP)", (version) => {
  const v2 = version.startsWith("2");

  test("makes, uses and destroys a key; our own client sees the same at the other node", async () => {
    await using pykmip = await python.open(region.target("plain", 0), { version });
    const name = `key ${randomUUID()}`;
    const uid = (await pykmip.call("create", { bits: 256, name })) as string;
    const bytes = await pykmip.call("get", { uid });
    expect(bytes).toMatch(/^[0-9a-f]{64}$/);
    expect(await keyBytes(own, uid)).toBe(bytes);
    expect(await stateOf(own, uid)).toBe("PreActive");
    expect(await pykmip.call("locate", { name })).toEqual([uid]);

    await pykmip.call("activate", { uid });
    expect(await stateOf(own, uid)).toBe("Active");
    const active = await failureOf(pykmip.call("destroy", { uid }));
    expect(active.reason).toBe(v2 ? "WRONG_KEY_LIFECYCLE_STATE" : "PERMISSION_DENIED");
    await pykmip.call("revoke", { uid, reason: "KEY_COMPROMISE" });
    expect(await stateOf(own, uid)).toBe("Compromised");
    await pykmip.call("destroy", { uid });
    expect(await stateOf(own, uid)).toBe("DestroyedCompromised");
    const gone = await failureOf(pykmip.call("get", { uid }));
    expect(gone.reason).toBe(v2 ? "OBJECT_DESTROYED" : "ITEM_NOT_FOUND");
  });

  test("reads attributes one by one and as a list", async () => {
    await using pykmip = await python.open(region.target("plain", 1), { version });
    const name = `key ${randomUUID()}`;
    const uid = (await pykmip.call("create", { bits: 128, name })) as string;
    const values = await pykmip.call("get_attributes", { uid, names: known });
    expect(Object.fromEntries(values as [string, unknown][])).toEqual({
      "Cryptographic Algorithm": "AES",
      "Cryptographic Length": 128,
      "Cryptographic Usage Mask": 12,
      "Object Type": "SYMMETRIC_KEY",
      State: "PRE_ACTIVE",
      "Unique Identifier": uid,
    });
    const list = await pykmip.call("get_attribute_list", { uid });
    expect(list).toEqual(expect.arrayContaining([...known, "Name", "Digest", "Initial Date"]));
    expect((list as string[]).includes("Fresh")).toBe(!oldest.includes(version));
  });

  test.each(["symmetric_key", "secret_data", "opaque"])("registers a %s", async (kind) => {
    await using pykmip = await python.open(region.target("plain", 0), { version });
    const material = randomBytes(32).toString("hex");
    const uid = (await pykmip.call("register", {
      material,
      kind,
      name: `registered ${randomUUID()}`,
    })) as string;
    expect(await pykmip.call("get", { uid })).toBe(material);
    if (kind === "symmetric_key") expect(await keyBytes(own, uid)).toBe(material);
  });

  test("adds, modifies and deletes an attribute", async () => {
    await using pykmip = await python.open(region.target("plain", 0), { version });
    const uid = (await pykmip.call("create", { bits: 256 })) as string;
    // PyKMIP has no Vendor Attribute, the form of custom attributes in 2.x.
    const names = v2 ? ["Contact Information"] : ["Contact Information", "x-Place"];
    for (const name of names) {
      const read = async () => {
        const all = await pykmip.call("get_attributes", { uid, names: [name] });
        return (all as [string, string][]).map(([, value]) => value);
      };
      await pykmip.call("add_attribute", { uid, name, value: "rack 4" });
      expect(await read()).toEqual(["rack 4"]);
      await pykmip.call("modify_attribute", { uid, name, value: "rack 5" });
      expect(await read()).toEqual(["rack 5"]);
      await pykmip.call("delete_attribute", { uid, name, ...(v2 && { value: "rack 5" }) });
      expect(await read()).toEqual([]);
    }
  });

  test("asks what the server can do", async () => {
    await using pykmip = await python.open(region.target("plain", 0), { version });
    const functions = ["QUERY_OPERATIONS", "QUERY_OBJECTS", "QUERY_SERVER_INFORMATION"];
    const answer = (await pykmip.call("query", { functions })) as {
      readonly operations: readonly string[];
      readonly object_types: readonly string[];
      readonly vendor: string;
    };
    expect(answer.operations).toEqual(expect.arrayContaining(["CREATE", "GET", "LOCATE", "QUERY"]));
    expect(answer.operations.includes("DISCOVER_VERSIONS")).toBe(!oldest.includes(version));
    expect(answer.object_types).toEqual(expect.arrayContaining(["SYMMETRIC_KEY", "SECRET_DATA"]));
    expect(answer.vendor).toBe("Holdfast");
  });

  // Discover Versions does not exist in KMIP 1.0.
  const discovers = oldest.includes(version) ? [] : ["all versions, newest first"];
  test.each(discovers)("discovers %s", async () => {
    await using pykmip = await python.open(region.target("plain", 1), { version });
    expect(await pykmip.call("discover_versions")).toEqual(["2.1", ...versions.toReversed()]);
  });

  test.each([
    ["a user name and password", ["username=vcenter", "password=secret"]],
    ["an empty user name and password", ["username=", "password="]],
  ])("may send %s if the instance has no users", async (_, lines) => {
    await using pykmip = await python.open(region.target("plain", 0), { version, lines });
    const uid = (await pykmip.call("create", { bits: 256 })) as string;
    expect(await pykmip.call("get", { uid })).toBe(await keyBytes(own, uid));
  });

  test("is accepted only with the right user name and password if the instance has users", async () => {
    const open = (...lines: string[]) => python.open(region.target("named", 0), { version, lines });
    await using right = await open("username=ada", "password=lovelace");
    const uid = (await right.call("create", { bits: 256 })) as string;
    await using wrong = await open("username=ada", "password=byron");
    await using empty = await open("username=", "password=");
    await using none = await open();
    for (const session of [wrong, empty, none]) {
      const refused = await failureOf(session.call("activate", { uid }));
      expect(refused.reason).toBe("AUTHENTICATION_NOT_SUCCESSFUL");
    }
    await right.call("activate", { uid });
  });
});

describe.skipIf(!there)("PyKMIP over TLS (needs PyKMIP)", () => {
  test.each([
    ["TLSv1_2", "TLSv1.2"],
    ["TLSv1_3", "TLSv1.3"],
  ] as const)("uses %s", async (tls, agreed) => {
    await using pykmip = await python.open(region.target("plain", 0), { version: "1.1", tls });
    expect(pykmip.tls).toBe(agreed);
    const uid = (await pykmip.call("create", { bits: 256 })) as string;
    expect(await pykmip.call("get", { uid })).toBe(await keyBytes(own, uid));
  });

  test("refuses a server of another authority", async () => {
    const notBeforeMs = Date.now() - 3_600_000;
    const other = await createAuthority({ commonName: "Another CA", notBeforeMs, days: 2 });
    const target = { ...region.target("plain", 0), ca: other.certificate };
    const refused = await failureOf(python.open(target, { version: "1.1" }));
    expect(refused.kind).toBe("SSLCertVerificationError");
  });
});
