import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import type { Event, RootOfTrust } from "@holdfast/engine";
import { rootOfTrustConformance } from "@holdfast/engine/testing";
import {
  createPkcs11Root,
  listRootKeys,
  openPkcs11,
  openRootOfTrust,
  Pkcs11Hosts,
  type Pkcs11Settings,
  type RootContext,
  rotatePkcs11Root,
} from "@holdfast/root-of-trust";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { holdfast } from "../support/command-line.ts";
import { systemClock, systemIds } from "../support/redis-store.ts";
import { hasSoftHsm, SoftHsm, tokenHosts } from "../support/softhsm.ts";

const there = hasSoftHsm();

/** One for the whole file, as in a node: it remembers refused PINs. */
const context = {
  clock: systemClock,
  ids: systemIds,
  observe: () => undefined,
  pkcs11: new Pkcs11Hosts(),
};
const data = Buffer.from("instance");
const secret = Buffer.alloc(32, 7);
const [deviceRemoved, keyFunctionNotPermitted, userPinNotInitialized] = [0x32, 0x68, 0x102];

let hsm: SoftHsm;
/** Whether the slow module is loaded in front of the HSM's module; it needs a compiler. */
let slow: boolean;
let keys = 0;
/** Keeps the token's process running, so that tests need not start their own. */
let held: RootOfTrust;

beforeAll(async () => {
  if (!there) return;
  hsm = await SoftHsm.open();
  slow = hsm.slowDown();
  held = await openPkcs11(hsm.settings(), context);
});
afterAll(async () => {
  await held?.close();
  await hsm?.[Symbol.asyncDispose]();
  expect(tokenHosts()).toEqual([]);
});

/** Makes a new root key in the token, and opens it. */
async function openKey(
  given: Partial<Pkcs11Settings> = {},
  within: RootContext = context,
): Promise<{ readonly root: RootOfTrust; readonly settings: Pkcs11Settings }> {
  keys += 1;
  const settings = hsm.settings({ rootKey: `crk-${keys}`, ...given });
  await createPkcs11Root(settings, within);
  return { root: await openPkcs11(settings, within), settings };
}

/** Kills the processes that use tokens, as a crash of the vendor's module would. */
function crash(): void {
  for (const pid of tokenHosts()) process.kill(pid, "SIGKILL");
}

if (there) {
  rootOfTrustConformance(
    "pkcs11",
    async () => {
      let pin = hsm.pin;
      const { root, settings } = await openKey({ pin: async () => pin });
      return {
        subject: root,
        rotate: async () => void (await rotatePkcs11Root(settings, context)),
        fail: {
          unavailable: async () => {
            crash();
            await hsm.takeOut();
          },
          denied: async () => {
            pin = "another";
          },
          disabled: async () => hsm.faults({ code: keyFunctionNotPermitted }),
          gone: async () => hsm.wipe(),
        },
        mend: async (failure) => {
          pin = hsm.pin;
          if (failure === "unavailable") await hsm.putBack();
          await hsm.faults({});
        },
        close: async () => {
          await root.close();
          await hsm.restore();
          await until("the HSM is as it was", works);
        },
      };
    },
    {
      rotates: true,
      failures: ["unavailable", "denied", "disabled", "gone"],
      mends: ["unavailable", "denied", "disabled"],
    },
  );
}

describe.runIf(there)("a root key in a PKCS#11 token (needs SoftHSM)", () => {
  test("is listed, and made only once", async () => {
    const { root, settings } = await openKey();
    const { rootKey: _, ...unnamed } = settings;
    const listed = await listRootKeys(unnamed, context);
    expect(listed.find(({ id }) => id === settings.rootKey)).toMatchObject({
      state: "Active",
      usable: true,
      currentVersion: "1",
    });
    await expect(createPkcs11Root(settings, context)).rejects.toMatchObject({ failure: "denied" });
    await root.close();
  });

  test("keeps its scheme and version in the blob", async () => {
    const { root, settings } = await openKey();
    await rotatePkcs11Root(settings, context);
    const { blob } = await root.wrap(secret, data);
    expect(Buffer.from(blob.subarray(0, 8)).toString("latin1")).toBe("HFP1\0\0\0\x02");
    expect(blob.length).toBe(8 + 16 + 48 + 32);
    await root.close();
  });

  test("that is rotated several times at once gets no version twice", async () => {
    const { root, settings } = await openKey();
    const old = await root.wrap(secret, data);
    const { pkcs11: _, ...own } = context;
    const rotations = [1, 2, 3].map(() => rotatePkcs11Root(settings, own));
    const made = (await Promise.allSettled(rotations)).flatMap((result) =>
      result.status === "fulfilled" ? [result.value] : [],
    );
    expect(new Set(made).size).toBe(made.length);
    await rotatePkcs11Root(settings, context);
    const now = await root.wrap(secret, data);
    expect(Buffer.from((await root.unwrap(now.blob, data)).plaintext)).toEqual(secret);
    const opened = await root.unwrap(old.blob, data);
    expect(Buffer.from(opened.plaintext)).toEqual(secret);
    expect(opened.rewrapped?.version).toBe(now.version);
    await root.close();
  });

  test("reports its calls as key managers do", async () => {
    const told: string[] = [];
    const observe = (event: Event) => {
      if (event.type === "rootCall") told.push(`${event.root} ${event.action} ${event.status}`);
    };
    const { settings, root: made } = await openKey();
    const root = await openPkcs11(settings, { ...context, observe });
    const { blob } = await root.wrap(secret, data);
    await root.unwrap(blob, Buffer.from("other")).catch(() => undefined);
    await Promise.all([root.close(), made.close()]);
    await root.describe().catch(() => undefined);
    expect(told).toEqual(["pkcs11 wrap 200", "pkcs11 unwrap 422", "pkcs11 describe 0"]);
  });

  test("reports another root key's blob as a broken seal", async () => {
    const [{ root }, { root: other }] = [await openKey(), await openKey()];
    const { blob } = await other.wrap(secret, data);
    await expect(root.unwrap(blob, data)).rejects.toMatchObject({ name: "SealBroken" });
    expect((await root.describe()).name).not.toBe((await other.describe()).name);
    await Promise.all([root.close(), other.close()]);
  });

  test("shares one process with other root keys, which ends with the last of them", async () => {
    const before = tokenHosts();
    const own = { ...context, pkcs11: new Pkcs11Hosts() };
    const [{ root }, { root: other }] = [await openKey({}, own), await openKey({}, own)];
    await Promise.all([root.probe(), other.probe()]);
    expect(tokenHosts()).toHaveLength(before.length + 1);
    await root.close();
    await other.probe();
    await other.close();
    expect(tokenHosts()).toEqual(before);
  });

  test("repeats a call after a crash of the vendor's module, without a failure", async () => {
    const { root } = await openKey();
    const { blob } = await root.wrap(secret, data);
    for (let round = 0; round < 3; round++) {
      const calls = Array.from({ length: 8 }, () => root.unwrap(blob, data));
      crash();
      for (const { plaintext } of await Promise.all(calls)) {
        expect(Buffer.from(plaintext)).toEqual(secret);
      }
    }
    await root.close();
  });
});

describe.runIf(there)("the operator's commands (needs SoftHSM)", () => {
  const before = { ...process.env };
  afterAll(() => {
    process.env = before;
  });

  test("make the keys in the token once, and rotate them, with the PIN in a file", async () => {
    Object.assign(process.env, hsm.environment);
    const config = join(hsm.directory, "node.json");
    await writeFile(join(hsm.directory, "pin"), `${hsm.pin}\n`);
    const pkcs11 = { module: hsm.module, token: hsm.token, rootKey: "ordered", pinFile: "pin" };
    const settings = {
      region: "a",
      node: "a1",
      tls: { certificate: "c", key: "k" },
      store: { address: "127.0.0.1:1" },
      rootOfTrust: { type: "pkcs11", pkcs11 },
    };
    await writeFile(config, JSON.stringify(settings));
    const said = (version: number) =>
      expect.stringContaining(
        `root key ordered in token ${hsm.token}: version ${version} wraps from now on`,
      );
    const made = await holdfast("root", "pkcs11-init", "-c", config);
    expect(made).toEqual({ code: 0, err: "", out: said(1) });
    const rotated = await holdfast("root", "rotate", "-c", config);
    expect(rotated).toEqual({ code: 0, err: "", out: said(2) });
    expect(await holdfast("root", "pkcs11-init", "-c", config)).toEqual({
      code: 2,
      err: `holdfast: rootOfTrust.pkcs11: token ${hsm.token} has a root key ordered already; it is kept\n`,
      out: "",
    });
  });
});

describe.runIf(there)("an operator's mistake is reported in one line (needs SoftHSM)", () => {
  test("a module that does not exist", async () => {
    await using root = await openRootOfTrust(
      hsm.settings({ module: "/nowhere/libvendor.so" }),
      context,
    );
    await expect(root.describe()).rejects.toThrow(/PKCS#11: module \/nowhere\/libvendor\.so /);
  });

  test("a pkcs11js that was not built", async () => {
    const hook = `import { registerHooks } from "node:module"; registerHooks({ resolve(name, context, next) { if (name === "pkcs11js") throw new Error("no build"); return next(name, context); } });`;
    const environment = {
      ...hsm.environment,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}`,
    };
    await using root = await openRootOfTrust(hsm.settings({ environment }), context);
    await expect(root.describe()).rejects.toMatchObject({
      failure: "unavailable",
      message: expect.stringMatching(/^PKCS#11: the optional package pkcs11js .* --for=pkcs11$/),
    });
  });

  test("a token that does not exist, and two tokens with one label", async () => {
    await using absent = await openRootOfTrust(hsm.settings({ token: "nobody" }), context);
    await expect(absent.describe()).rejects.toMatchObject({
      failure: "unavailable",
      message: "token nobody: no slot has a token labelled nobody",
    });
    for (let at = 0; at < 2; at++) hsm.addToken("twin");
    await using twin = await openRootOfTrust(hsm.settings({ token: "twin" }), context);
    await expect(twin.describe()).rejects.toThrow("2 tokens are labelled twin");
  });

  test("a root key that is not in the token", async () => {
    await using root = await openRootOfTrust(hsm.settings({ rootKey: "lost" }), context);
    await expect(root.validate()).rejects.toMatchObject({
      failure: "gone",
      message: "root key lost is not in the token",
    });
  });
});

describe.runIf(there)("with an HSM that is slow, hangs or loses its token (needs SoftHSM)", () => {
  test("a wrong PIN is tried only once for all callers, and a corrected one at once (needs a C compiler)", async ({
    skip,
  }) => {
    skip(!slow, "needs a C compiler");
    // No PIN was refused there yet.
    const own = { ...context, pkcs11: new Pkcs11Hosts() };
    const { root: good, settings } = await openKey({}, own);
    await good.close();
    let pin = "wrong-1";
    const wrong = { ...settings, pin: async () => pin };
    const before = hsm.logins();
    const roots = await Promise.all([1, 2, 3].map(() => openPkcs11(wrong, own)));
    for (const root of [...roots, ...roots]) {
      const failures = await Promise.allSettled([root.probe(), root.validate(), root.describe()]);
      for (const failure of failures) {
        expect(failure).toMatchObject({ reason: { failure: "denied" } });
        expect(JSON.stringify(failure)).not.toContain(pin);
      }
    }
    crash();
    for (const root of roots)
      await expect(root.probe()).rejects.toMatchObject({ failure: "denied" });
    expect(hsm.logins() - before).toBe(1);
    // Nor is another guess tried; the right PIN, with which this process has logged in before, is.
    pin = "wrong-2";
    for (const root of roots)
      await expect(root.probe()).rejects.toMatchObject({
        failure: "unavailable",
        message: expect.stringMatching(
          /refused another PIN, and a new PIN is not tried for \d+ min/,
        ),
      });
    expect(hsm.logins() - before).toBe(1);
    pin = hsm.pin;
    for (const root of roots) await root.probe();
    expect(hsm.logins() - before).toBe(2);
    await Promise.all(roots.map((root) => root.close()));
  });

  test("a login that the token has ended is made again: the root key is not gone (needs a C compiler)", async ({
    skip,
  }) => {
    skip(!slow, "needs a C compiler");
    const { root } = await openKey();
    const { blob } = await root.wrap(secret, data);
    const before = hsm.logins();
    for (let count = 1; count <= 3; count += 1) {
      await hsm.endLogin();
      // Each call that looks for keys meets it.
      await root.validate();
      expect(secret.equals((await root.unwrap(blob, data)).plaintext)).toBe(true);
      expect(hsm.logins() - before).toBe(count);
    }
    await root.close();
  });

  test("a PIN that a token without one did not check is tried again (needs a C compiler)", async ({
    skip,
  }) => {
    skip(!slow, "needs a C compiler");
    const { root: made, settings } = await openKey();
    const { blob } = await made.wrap(secret, data);
    await made.close();
    const root = await openPkcs11(settings, context);
    await hsm.faults({ code: userPinNotInitialized });
    // The next process logs in anew.
    crash();
    await expect(root.unwrap(blob, data)).rejects.toMatchObject({ failure: "unavailable" });
    await hsm.faults({});
    await comesBack(root, blob);
    await root.close();
  });

  test("calls of 20 ms delay neither the node's event loop nor its file access (needs a C compiler)", async ({
    skip,
  }) => {
    skip(!slow, "needs a C compiler");
    const { root } = await openKey({ inFlightMax: 16 });
    const { blob } = await root.wrap(secret, data);
    await root.unwrap(blob, data);
    await hsm.faults({ delayMs: 20 });
    const loop = monitorEventLoopDelay({ resolution: 1 });
    const files: number[] = [];
    let done = false;
    const watch = (async () => {
      while (!done) {
        const startMs = performance.now();
        await stat(hsm.directory);
        files.push(performance.now() - startMs);
        await delay(2);
      }
    })();
    loop.enable();
    const startMs = performance.now();
    const calls = 64;
    const opened = await Promise.all(Array.from({ length: calls }, () => root.unwrap(blob, data)));
    const tookMs = performance.now() - startMs;
    loop.disable();
    done = true;
    await watch;
    await hsm.faults({});
    for (const { plaintext } of opened) expect(Buffer.from(plaintext)).toEqual(secret);
    const fileMs = files.toSorted((a, b) => a - b)[files.length >> 1] ?? 0;
    const loopMs = loop.percentile(50) / 1e6;
    process.stdout.write(
      `slow HSM: ${calls} unwraps of 2 x 20 ms in ${tookMs.toFixed(0)} ms, event loop p50 ${loopMs.toFixed(1)} ms, p99 ${(loop.percentile(99) / 1e6).toFixed(1)} ms, stat p50 ${fileMs.toFixed(1)} ms\n`,
    );
    // Calls on this thread would block everything else until all of them are done.
    expect(files.length).toBeGreaterThan(10);
    await root.close();
  });

  test("a call that never ends fails in time, and its process is replaced (needs a C compiler)", async ({
    skip,
  }) => {
    skip(!slow, "needs a C compiler");
    const { root: made, settings } = await openKey();
    await made.close();
    const root = await openPkcs11({ ...settings, deadlineMs: 3000 }, context);
    const { blob } = await root.wrap(secret, data);
    await hsm.faults({ hang: true });
    await expect(root.wrap(secret, data)).rejects.toMatchObject({ failure: "unavailable" });
    await hsm.faults({});
    await comesBack(root, blob);
    await root.close();
  });

  test("a removed device is unavailable, and is used again when it is back (needs a C compiler)", async ({
    skip,
  }) => {
    skip(!slow, "needs a C compiler");
    const { root } = await openKey();
    const { blob } = await root.wrap(secret, data);
    await hsm.faults({ code: deviceRemoved });
    for (let at = 0; at < 3; at++) {
      await expect(root.unwrap(blob, data)).rejects.toMatchObject({ failure: "unavailable" });
    }
    await hsm.faults({});
    await comesBack(root, blob);
    await root.close();
  });
});

async function works(): Promise<boolean> {
  return held.rootKeys().then(
    () => true,
    () => false,
  );
}

async function comesBack(root: RootOfTrust, blob: Uint8Array): Promise<void> {
  await until("the token is used again", async () => {
    const opened = await root.unwrap(blob, data).catch(() => undefined);
    return opened !== undefined && Buffer.from(opened.plaintext).equals(secret);
  });
}
