import { randomBytes } from "node:crypto";
import { Agent } from "node:https";
import KeyProtect from "@ibm-cloud/ibm-key-protect/ibm-key-protect-api/v2.js";
import { IamAuthenticator } from "ibm-cloud-sdk-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type KeyManager, startKeyManager } from "../support/key-protect/index.ts";

type Sdk = InstanceType<typeof KeyProtect>;

/**
 * IBM's own client against the stand-in. If it works with it, the stand-in follows IBM's API, to which the product's
 * client is written too.
 */
describe.each(["key-protect", "dedicated-key-protect", "hpcs"] as const)(
  "IBM's Node SDK with the stand-in of %s",
  (kind) => {
    let manager: KeyManager;
    let sdk: Sdk;
    let bluemixInstance: string;

    beforeAll(async () => {
      manager = await startKeyManager({ kind });
      bluemixInstance = manager.instanceId;
      sdk = client(manager.apiKey);
    });
    afterAll(async () => {
      await manager.close();
    });

    function client(apikey: string): Sdk {
      const httpsAgent = new Agent({ ca: manager.ca });
      const iam = { apikey, url: manager.iamUrl, httpsAgent };
      return new KeyProtect({
        authenticator: new IamAuthenticator(iam),
        serviceUrl: manager.url,
        httpsAgent,
      } as ConstructorParameters<typeof KeyProtect>[0]);
    }

    async function create(fields: Record<string, unknown>, xKmsKeyRing?: string): Promise<string> {
      const metadata = { collectionType: "application/vnd.ibm.kms.key+json", collectionTotal: 1 };
      const resource = { type: metadata.collectionType, name: "SDK key", extractable: false };
      const body = bytes({ metadata, resources: [{ ...resource, ...fields }] });
      const ring = xKmsKeyRing === undefined ? {} : { xKmsKeyRing };
      const { result, status } = await sdk.createKey({ bluemixInstance, body, ...ring });
      expect(status).toBe(201);
      return result.resources?.[0]?.id ?? "";
    }

    async function wrap(id: string, fields: Record<string, unknown> = {}) {
      const keyActionWrapBody = bytes(fields);
      return (await sdk.wrapKey({ id, bluemixInstance, keyActionWrapBody })).result;
    }

    async function unwrap(id: string, fields: Record<string, unknown>) {
      const keyActionUnwrapBody = bytes(fields);
      return (await sdk.unwrapKey({ id, bluemixInstance, keyActionUnwrapBody })).result as {
        readonly plaintext: string;
        readonly ciphertext?: string;
        readonly keyVersion: { readonly id: string };
        readonly rewrappedKeyVersion?: { readonly id: string };
      };
    }

    async function metadataOf(id: string) {
      const { result } = await sdk.getKeyMetadata({ id, bluemixInstance });
      return result.resources?.[0];
    }

    test("creates a root key and a standard key, and reads both", async () => {
      const root = await metadataOf(await create({ description: "made by the SDK" }));
      expect(root).toMatchObject({ extractable: false, state: 1, imported: false });
      expect(root?.crn).toContain(kind === "hpcs" ? ":hs-crypto:" : ":kms:");
      expect(root?.algorithmMode).toBe(kind === "hpcs" ? "CBC_PAD" : "Deprecated");
      const payload = randomBytes(32).toString("base64");
      const standard = await create({ extractable: true, payload });
      const { result } = await sdk.getKey({ id: standard, bluemixInstance });
      expect(result.resources?.[0]).toMatchObject({ extractable: true, payload });
      await expect(wrap(standard)).rejects.toSatisfy(refusedWith(400, "KEY_ROOT_REQ_ERR"));
    });

    test("wraps a given key, and makes one if none is given", async () => {
      const id = await create({});
      const plaintext = randomBytes(32).toString("base64");
      const given = await wrap(id, { plaintext });
      expect(given).not.toHaveProperty("plaintext");
      expect((await unwrap(id, { ciphertext: given.ciphertext })).plaintext).toBe(plaintext);
      const made = await wrap(id);
      expect(Buffer.from(made.plaintext ?? "", "base64")).toHaveLength(32);
      const opened = await unwrap(id, { ciphertext: made.ciphertext });
      expect(opened).toEqual({ plaintext: made.plaintext, keyVersion: expect.anything() });
    });

    test("refuses ciphertexts of another key, and texts that are not base64", async () => {
      const [one, other] = [await create({}), await create({})];
      const { ciphertext } = await wrap(one);
      await expect(unwrap(other, { ciphertext })).rejects.toSatisfy(
        refusedWith(422, "UNPROCESSABLE_CIPHERTEXT_ERR"),
      );
      await expect(unwrap(one, { ciphertext: "no base64!" })).rejects.toSatisfy(
        refusedWith(400, "INVALID_FIELD_ERR"),
      );
      await expect(wrap(one, { plaintext: "***" })).rejects.toSatisfy(
        refusedWith(400, "INVALID_FIELD_ERR"),
      );
    });

    test("checks additional data, which HPCS refuses", async () => {
      const id = await create({});
      const aad = ["instance", "key"];
      if (kind === "hpcs") {
        await expect(wrap(id, { aad })).rejects.toSatisfy(refusedWith(400, "BAD_BODY_ERR"));
        return;
      }
      const { ciphertext, plaintext } = await wrap(id, { aad });
      expect((await unwrap(id, { ciphertext, aad })).plaintext).toBe(plaintext);
      await expect(unwrap(id, { ciphertext })).rejects.toSatisfy(
        refusedWith(422, "UNPROCESSABLE_CIPHERTEXT_ERR"),
      );
    });

    test("rotates; an old ciphertext opens, and comes back wrapped under the new version", async () => {
      const id = await create({});
      const old = await wrap(id);
      await expect(sdk.rotateKey({ id, bluemixInstance })).rejects.toSatisfy(
        refusedWith(409, "KEY_ROTATION_NOT_PERMITTED"),
      );
      await manager.settings({ rotationMs: 0 });
      expect((await sdk.rotateKey({ id, bluemixInstance })).status).toBe(204);
      const opened = await unwrap(id, { ciphertext: old.ciphertext });
      expect(opened.plaintext).toBe(old.plaintext);
      expect(opened.rewrappedKeyVersion?.id).toBe((await metadataOf(id))?.keyVersion?.id);
      expect(opened.keyVersion.id).not.toBe(opened.rewrappedKeyVersion?.id);
      const keyActionRewrapBody = bytes({ ciphertext: old.ciphertext });
      const { result } = await sdk.rewrapKey({ id, bluemixInstance, keyActionRewrapBody });
      expect(result.rewrappedKeyVersion?.id).toBe(opened.rewrappedKeyVersion?.id);
      const again = await unwrap(id, { ciphertext: result.ciphertext });
      expect(again).toEqual({ plaintext: old.plaintext, keyVersion: opened.rewrappedKeyVersion });
      const versions = await sdk.getKeyVersions({ id, bluemixInstance });
      expect(versions.result.metadata).toMatchObject({ collectionTotal: 2 });
    });

    test("rotates an imported key with material; another key with the same material opens its ciphertext", async () => {
      const payload = randomBytes(32).toString("base64");
      const [id, rebuilt] = [await create({ payload }), await create({ payload })];
      await manager.settings({ rotationMs: 0 });
      await expect(sdk.rotateKey({ id, bluemixInstance })).rejects.toSatisfy(
        refusedWith(400, "KEY_PAYLOAD_REQ_ERR"),
      );
      const { ciphertext, plaintext } = await wrap(id);
      expect((await unwrap(rebuilt, { ciphertext })).plaintext).toBe(plaintext);
      const keyActionRotateBody = bytes({ payload: randomBytes(32).toString("base64") });
      await sdk.rotateKey({ id, bluemixInstance, keyActionRotateBody });
      expect((await unwrap(id, { ciphertext })).plaintext).toBe(plaintext);
    });

    test("disables and enables", async () => {
      const id = await create({});
      const { ciphertext } = await wrap(id);
      await sdk.disableKey({ id, bluemixInstance });
      expect((await metadataOf(id))?.state).toBe(2);
      for (const use of [wrap(id), unwrap(id, { ciphertext })]) {
        await expect(use).rejects.toSatisfy(refusedWith(409, "KEY_ACTION_INVALID_STATE_ERR"));
      }
      await expect(sdk.enableKey({ id, bluemixInstance })).rejects.toSatisfy(
        refusedWith(409, "REQ_TOO_EARLY_ERR"),
      );
      await manager.advance(31_000);
      await sdk.enableKey({ id, bluemixInstance });
      await unwrap(id, { ciphertext });
    });

    test("deletes, restores, and purges", async () => {
      const id = await create({});
      const { ciphertext } = await wrap(id);
      const prefer = "return=representation";
      const { result } = await sdk.deleteKey({ id, bluemixInstance, prefer });
      expect(result.resources?.[0]).toMatchObject({ state: 5, deleted: true });
      await expect(unwrap(id, { ciphertext })).rejects.toSatisfy(
        refusedWith(410, "KEY_DELETED_ERR"),
      );
      await expect(sdk.deleteKey({ id, bluemixInstance })).rejects.toSatisfy(
        refusedWith(410, "KEY_DELETED_ERR"),
      );
      expect((await metadataOf(id))?.state).toBe(5);
      await manager.advance(31_000);
      await sdk.restoreKey({ id, bluemixInstance });
      await unwrap(id, { ciphertext });
      await sdk.deleteKey({ id, bluemixInstance });
      await manager.change(id, "purge");
      await expect(metadataOf(id)).rejects.toSatisfy(refusedWith(404, "KEY_NOT_FOUND_ERR"));
    });

    test("deletes a key only with two people's agreement, if its policy says so", async () => {
      const id = await create({});
      await expect(sdk.setKeyForDeletion({ id, bluemixInstance })).rejects.toSatisfy(
        refusedWith(409, "NOT_DUAL_AUTH_ERR"),
      );
      const type = "application/vnd.ibm.kms.policy+json";
      await sdk.putPolicy({
        id,
        bluemixInstance,
        policy: "dualAuthDelete",
        setKeyPoliciesOneOf: {
          metadata: { collectionType: type, collectionTotal: 1 },
          resources: [{ type, dualAuthDelete: { enabled: true } }],
        },
      });
      await sdk.setKeyForDeletion({ id, bluemixInstance });
      await expect(sdk.deleteKey({ id, bluemixInstance })).rejects.toSatisfy(
        refusedWith(409, "AUTHORIZATIONS_NOT_MET"),
      );
    });

    test("lists in pages, and counts", async () => {
      const names = Array.from({ length: 5 }, (_, at) => `listed ${at}`);
      const made = [...(await manager.createKeys(names))].sort();
      const total = Number(
        (await sdk.getKeyCollectionMetadata({ bluemixInstance })).headers["key-total"],
      );
      const seen: string[] = [];
      for (let offset = 0; offset < total; offset += 2) {
        const { result } = await sdk.getKeys({ bluemixInstance, limit: 2, offset });
        seen.push(...(result.resources ?? []).map(({ id }) => id ?? ""));
      }
      expect(seen).toHaveLength(total);
      expect(seen).toEqual([...seen].sort());
      expect(seen).toEqual(expect.arrayContaining(made));
    });

    test("supports aliases and key rings", async () => {
      const alias = `alias-${randomBytes(4).toString("hex")}`;
      const keyRingId = `ring-${randomBytes(4).toString("hex")}`;
      await sdk.createKeyRing({ bluemixInstance, keyRingId });
      const rings = await sdk.listKeyRings({ bluemixInstance });
      expect(rings.result.resources?.map(({ id }) => id)).toEqual(
        expect.arrayContaining(["default", keyRingId]),
      );
      const id = await create({}, keyRingId);
      await sdk.createKeyAlias({ id, alias, bluemixInstance });
      expect(await metadataOf(alias)).toMatchObject({ id, aliases: [alias], keyRingID: keyRingId });
      const other = await create({});
      await expect(sdk.createKeyAlias({ id: other, alias, bluemixInstance })).rejects.toSatisfy(
        refusedWith(409, "KEY_ALIAS_NOT_UNIQUE_ERR"),
      );
      const elsewhere = { id, bluemixInstance, xKmsKeyRing: "default" };
      await expect(sdk.getKeyMetadata(elsewhere)).rejects.toSatisfy(
        refusedWith(404, "KEY_NOT_FOUND_ERR"),
      );
      await expect(create({}, "no-such-ring")).rejects.toSatisfy(
        refusedWith(404, "KEY_RING_NOT_FOUND_ERR"),
      );
      await sdk.deleteKeyAlias({ id, alias, bluemixInstance });
      await expect(metadataOf(alias)).rejects.toSatisfy(refusedWith(404, "KEY_NOT_FOUND_ERR"));
      await sdk.deleteKey({ id, bluemixInstance });
      await sdk.deleteKeyRing({ bluemixInstance, keyRingId });
    });

    test("refuses an unknown API key, an old token, and another instance", async () => {
      await expect(client("unknown").getKeys({ bluemixInstance })).rejects.toThrow(
        /BXNIM0415E|found/,
      );
      await expect(
        sdk.getKeys({ bluemixInstance: "00000000-0000-4000-8000-000000000000" }),
      ).rejects.toSatisfy(refusedWith(401, undefined));
      await manager.revokeTokens();
      await expect(sdk.getKeys({ bluemixInstance })).rejects.toSatisfy(refusedWith(401, undefined));
      sdk = client(manager.apiKey);
      expect((await sdk.getKeys({ bluemixInstance })).status).toBe(200);
    });

    test.each(kind === "hpcs" ? [kind] : [])(
      "(%s) refuses every key call of an instance that is not initialised",
      async () => {
        await manager.settings({ initialised: false });
        await expect(sdk.getKeys({ bluemixInstance })).rejects.toSatisfy(
          refusedWith(503, undefined),
        );
        await manager.settings({ initialised: true });
        await sdk.getKeys({ bluemixInstance });
      },
    );

    test("keeps everything that it answered if the process is killed", async () => {
      const id = await create({});
      const { ciphertext, plaintext } = await wrap(id);
      await manager.restart();
      expect((await unwrap(id, { ciphertext })).plaintext).toBe(plaintext);
    });
  },
);

/** The SDK itself reads only the status; the code is in the body. */
function refusedWith(status: number, code: string | undefined) {
  return (error: unknown): boolean => {
    const { status: said, body } = error as { readonly status?: number; readonly body?: unknown };
    const content = (typeof body === "string" ? JSON.parse(body) : body) as {
      readonly resources?: readonly { readonly reasons?: readonly { readonly code?: string }[] }[];
    };
    return said === status && content?.resources?.[0]?.reasons?.[0]?.code === code;
  };
}

function bytes(content: unknown): Buffer {
  return Buffer.from(JSON.stringify(content));
}
