import { randomBytes } from "node:crypto";
import { ManagementError } from "@holdfast/admin";
import { StoreUnavailable } from "@holdfast/engine";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock, systemIds } from "../../base/system.ts";
import { authenticator, type Bearer } from "../../management/tokens/bearer.ts";
import { newToken } from "../../management/tokens/token-text.ts";
import { MemoryRegions } from "../../testing/memory-regions.ts";
import { ConsoleSessions } from "./console-sessions.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const token = newToken(systemIds.randomBytes);
const bearer: Bearer = {
  ...{ id: "t", name: "ci", roles: ["viewer"], instances: undefined, expiresMs: undefined },
};

let regions: MemoryRegions;
let nowMs: number;
/** How far the monotonic clock is ahead. */
let aheadMs: number;
/** Whether the stores take writes. */
let writes: boolean;
let bearers: Record<string, Bearer | "revoked">;

beforeEach(async () => {
  regions = new MemoryRegions();
  nowMs = Date.now();
  aheadMs = 0;
  writes = true;
  bearers = { [token]: bearer };
  for (const { view } of regions.both) await view.refresh();
});
afterEach(() => regions[Symbol.asyncDispose]());

/** The sessions of one process in a region. */
function process(name: "a" | "b" = "a"): ConsoleSessions {
  const { view, records } = regions[name];
  const guarded = <Work extends (...given: never[]) => Promise<unknown>>(work: Work) =>
    ((...given) => {
      if (writes) return work(...given);
      return Promise.reject(new ManagementError("storeUnavailable", "no store"));
    }) as Work;
  return new ConsoleSessions({
    view,
    records: {
      create: guarded(records.create.bind(records)),
      change: guarded(records.change.bind(records)),
      destroy: guarded(records.destroy.bind(records)),
    },
    tokens: { verify: (text) => bearers[text] ?? "unknown" },
    lookAgain: () => view.refresh().catch(() => undefined),
    clock: { wallMs: () => nowMs, monotonicMs: () => systemClock.monotonicMs() + aheadMs },
    ids: systemIds,
  });
}

const keysOf = (name: "a" | "b" = "a") => regions[name].view.all("ConsoleKey");
const liveKeys = () => keysOf().filter(({ destroyed }) => destroyed === undefined);

describe("a session", () => {
  test("is opened in both regions, and its text does not show the token", async () => {
    const text = await process().begin(token);
    const endsMs = nowMs + 8 * hourMs;
    for (const name of ["a", "b"] as const) {
      expect(process(name).open(text)).toEqual({ token, endsMs });
      expect(process(name).verify(text)).toEqual({ ...bearer, expiresMs: endsMs });
    }
    expect(text).toMatch(/^hfs_[\w-]{152}$/);
    const bytes = Buffer.from(text.slice(4), "base64url");
    for (const secret of [token, token.slice(3), Buffer.from(token.slice(3), "base64url")]) {
      expect(bytes.includes(secret)).toBe(false);
      expect(text).not.toContain(secret.toString("base64url"));
    }
    expect(await process().begin(token)).not.toBe(text);
    expect(keysOf()).toHaveLength(1);
  });

  test("counts for eight hours, and not before it began", async () => {
    const sessions = process();
    const text = await sessions.begin(token);
    const beganMs = nowMs;
    nowMs = beganMs + 8 * hourMs - 1;
    expect(sessions.open(text)).toMatchObject({ token });
    nowMs += 1;
    expect(sessions.open(text)).toBe("sessionOver");
    // Another node's clock may be a minute ahead.
    nowMs = beganMs - 60_000;
    expect(sessions.open(text)).toMatchObject({ token });
    nowMs -= 1;
    expect(sessions.open(text)).toBe("sessionOver");
  });

  test("is found by one more look where its key was made at another node a moment ago", async () => {
    regions.linked = false;
    const [text, copy] = [await process("a").begin(token), await process("a").begin(token)];
    const there = process("b");
    expect(there.open(text)).toBe("unknown");
    const asked = authenticator(there, undefined, async () => {
      regions.linked = true;
      await regions.level();
      await regions.b.view.refresh();
    });
    expect(await asked(`Bearer ${text}`, "192.0.2.1")).toMatchObject({ id: "t" });
    await there.end(copy);
    expect(process("a").open(copy)).toBe("sessionEnded");
  });

  test("is worth what its token is worth, and ends with it", async () => {
    const sessions = process();
    const text = await sessions.begin(token);
    bearers[token] = { ...bearer, expiresMs: nowMs + hourMs };
    expect(sessions.verify(text)).toMatchObject({ expiresMs: nowMs + hourMs });
    bearers[token] = "revoked";
    expect(sessions.verify(text)).toBe("revoked");
    expect(sessions.verify(token)).toBe("revoked");
  });

  test("is not opened if one character of its text differs, or with another key", async () => {
    const sessions = process();
    const text = await sessions.begin(token);
    for (let at = 0; at < text.length; at++) {
      const other = `${text.slice(0, at)}${text[at] === "A" ? "B" : "A"}${text.slice(at + 1)}`;
      expect(sessions.open(other), String(at)).toBe("unknown");
    }
    nowMs += 7 * dayMs;
    const later = await sessions.begin(token);
    expect(keysOf()).toHaveLength(2);
    // The identifier of a key is bound to what the key seals.
    expect(sessions.open(`${later.slice(0, 25)}${text.slice(25)}`)).toBe("unknown");
  });

  test("is unknown for every text that is not valid", async () => {
    const sessions = process();
    const text = await sessions.begin(token);
    const id = Buffer.from(text.slice(4), "base64url").subarray(0, 16);
    const sealed = fc
      .uint8Array({ minLength: 98, maxLength: 98 })
      .map((rest) => `hfs_${Buffer.concat([id, rest]).toString("base64url")}`);
    const texts = fc.oneof(
      fc.string({ unit: "binary", maxLength: 400 }),
      fc.string({ maxLength: 400 }).map((rest) => `hfs_${rest}`),
      fc.uint8Array({ maxLength: 300 }).map((b) => `hfs_${Buffer.from(b).toString("base64url")}`),
      sealed,
      fc.nat({ max: text.length - 1 }).map((length) => text.slice(0, length)),
      fc.string({ minLength: 1, maxLength: 40 }).map((more) => text + more),
    );
    await fc.assert(
      fc.asyncProperty(texts, async (given) => {
        expect(sessions.open(given)).toBe("unknown");
        await sessions.end(given);
      }),
      { numRuns: 500 },
    );
    expect(sessions.open(text)).toMatchObject({ token });
  });
});

describe("the end of a session", () => {
  test("counts in both regions, once and for ever, and leaves others", async () => {
    const [one, other] = [process("a"), process("b")];
    const [text, stays] = [await one.begin(token), await one.begin(token)];
    await other.end(text);
    await other.end(text);
    await one.end(text);
    for (const sessions of [one, other, process("a"), process("b")]) {
      expect(sessions.open(text)).toBe("sessionEnded");
      expect(sessions.open(stays)).toMatchObject({ token });
    }
    expect(Object.keys(keysOf()[0]?.ended ?? {})).toHaveLength(1);
  });

  test("is not lost where several processes end sessions at once, cut off from each other", async () => {
    const all = [process("a"), process("a"), process("b"), process("b")];
    const texts = await Promise.all(all.map(() => (all[0] as ConsoleSessions).begin(token)));
    regions.linked = false;
    await Promise.all(all.map((sessions, at) => sessions.end(texts[at] ?? "")));
    regions.linked = true;
    await regions.level();
    for (const { view } of regions.both) await view.refresh();
    for (const name of ["a", "b"] as const) {
      expect(texts.map((text) => process(name).open(text))).toEqual(all.map(() => "sessionEnded"));
    }
  });

  test("counts here at once if no store takes it, says until when a copy may count, and is written later", async () => {
    const [sessions, other] = [process(), process()];
    const [text, next] = [await sessions.begin(token), await sessions.begin(token)];
    writes = false;
    const until = new Date(nowMs + 8 * hourMs).toISOString();
    await expect(sessions.end(text)).rejects.toMatchObject({
      code: "storeUnavailable",
      message: expect.stringContaining(`may count until ${until}`),
    });
    expect(sessions.open(text)).toBe("sessionEnded");
    expect(other.open(text)).toMatchObject({ token });
    writes = true;
    await sessions.end(next);
    expect(other.open(text)).toBe("sessionEnded");
  });

  test("is refused where the key cannot be looked for: it may have been made since", async () => {
    const text = await process().begin(token);
    const blind = new ConsoleSessions({
      view: { all: () => [], get: () => undefined, freshAtMs: undefined },
      records: regions.a.records,
      tokens: { verify: () => "unknown" },
      lookAgain: async () => undefined,
      clock: systemClock,
      ids: systemIds,
    });
    expect(blind.open(text)).toBe("unavailable");
    await expect(blind.end(text)).rejects.toMatchObject({ code: "storeUnavailable" });
  });
});

describe("the keys of sessions", () => {
  test("are replaced after a week, and deleted with what they are a day later", async () => {
    const sessions = process();
    const old = await sessions.begin(token);
    nowMs += 7 * dayMs - 1;
    await sessions.begin(token);
    expect(keysOf()).toHaveLength(1);
    nowMs += 1;
    const text = await sessions.begin(token);
    expect(liveKeys()).toHaveLength(2);
    nowMs += 7 * dayMs;
    await sessions.begin(token);
    const gone = keysOf().filter(({ destroyed }) => destroyed !== undefined);
    expect(gone).toHaveLength(1);
    expect(gone[0]).toMatchObject({ key: undefined, ended: {} });
    expect(sessions.open(old)).toBe("sessionEnded");
    await sessions.end(old);
    expect(sessions.open(text)).toBe("sessionOver");
  });

  test("are made once by many sign-ins at once, and again where none is left", async () => {
    const sessions = process();
    await Promise.all(Array.from({ length: 20 }, () => sessions.begin(token)));
    expect(keysOf()).toHaveLength(1);
    for (const { id } of keysOf()) await regions.b.records.destroy("ConsoleKey", id, []);
    const text = await sessions.begin(token);
    expect(sessions.open(text)).toMatchObject({ token });
  });

  test("are old ones where no store takes a new one; without any, nobody signs in", async () => {
    const sessions = process();
    writes = false;
    await expect(sessions.begin(token)).rejects.toMatchObject({ code: "storeUnavailable" });
    writes = true;
    await sessions.begin(token);
    nowMs += 30 * dayMs;
    writes = false;
    expect(sessions.open(await sessions.begin(token))).toMatchObject({ token });
    expect(keysOf()).toHaveLength(1);
  });

  test("are not made for more sign-ins than a person needs", async () => {
    const sessions = process();
    for (let at = 0; at < 60; at++) await sessions.begin(token);
    await expect(sessions.begin(token)).rejects.toMatchObject({ problem: { code: "tooMany" } });
    aheadMs = 2_000;
    expect(sessions.open(await sessions.begin(token))).toMatchObject({ token });
  });

  test("are at most thirty-two, and none counts that says to be of another time", async () => {
    const { records } = regions.b;
    const made = (createdMs: number) =>
      records.create("ConsoleKey", { createdMs, key: randomBytes(32).toString("base64") }, []);
    await made(nowMs + 300 * dayMs);
    for (let at = 0; at < 40; at++) await made(nowMs + hourMs + at);
    const sessions = process();
    const text = await sessions.begin(token);
    expect(sessions.open(text)).toMatchObject({ token });
    expect(liveKeys()).toHaveLength(32);
    expect(liveKeys().every(({ createdMs }) => createdMs < nowMs + dayMs)).toBe(true);
  });

  test("seal no more once many of their sessions have ended, and stay small", async () => {
    const sessions = process();
    const stays = await sessions.begin(token);
    const first = keysOf()[0]?.id ?? "";
    const list = (count: number, endsMs: number) =>
      Object.fromEntries(
        Array.from({ length: count }, () => [randomBytes(16).toString("hex"), endsMs]),
      );
    const write = (ended: Record<string, Record<string, number>>) =>
      regions.b.records.change("ConsoleKey", first, () => ({ ended }), []);
    // What is over takes no place.
    await write({ one: { ...list(499, nowMs + 1), ...list(2_000, nowMs - 1) } });
    await sessions.begin(token);
    expect(keysOf()).toHaveLength(1);
    await write({ other: list(1, nowMs + 1) });
    const next = await sessions.begin(token);
    expect(keysOf()).toHaveLength(2);
    expect(sessions.open(stays)).toMatchObject({ token });
    // A record that would grow further is deleted, which ends all that it sealed.
    await write({ other: list(1_600, nowMs + hourMs) });
    await sessions.end(stays);
    expect(liveKeys().map(({ id }) => id)).not.toContain(first);
    expect(sessions.open(stays)).toBe("sessionEnded");
    expect(sessions.open(next)).toMatchObject({ token });
  });

  test("forget ends that are over when another session ends", async () => {
    const sessions = process();
    const count = () =>
      Object.values(keysOf()[0]?.ended ?? {}).flatMap((list) => Object.keys(list ?? {})).length;
    await sessions.end(await sessions.begin(token));
    const late = await sessions.begin(token);
    // At a node whose clock is a minute behind, it still counts.
    nowMs += 8 * hourMs + 59_999;
    await sessions.end(late);
    expect(count()).toBe(2);
    nowMs += 1;
    await sessions.end(await sessions.begin(token));
    expect(count()).toBe(1);
  });
});

test("an unexpected fault of the store is not hidden", async () => {
  const sessions = process();
  const text = await sessions.begin(token);
  const fault = new StoreUnavailable("corrupt", "unexpected");
  regions.a.records.change = () => Promise.reject(fault);
  await expect(process().end(text)).rejects.toBe(fault);
});
