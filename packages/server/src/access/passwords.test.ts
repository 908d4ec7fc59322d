import { getFips } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  isPasswordHash,
  type PasswordHash,
  parsePasswordHash,
  printPasswordHash,
} from "../base/password-hash.ts";
import { hashPassword, Passwords, PasswordsBusy, RememberedPassword } from "./passwords.ts";

/** The scrypt hash of `opensesame`. */
const oldHash =
  "scrypt$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg$GMSBqM3_fyjOoNWvvqmFZvBuXAx3qW6DzI1tBE0gv7M";

function usersWith(entries: Record<string, string>): Map<string, PasswordHash> {
  return new Map(
    Object.entries(entries).map(([name, hash]) => [name, parsePasswordHash(hash) as PasswordHash]),
  );
}

describe("passwords", () => {
  test("a new hash accepts only its own password", async () => {
    const hash = await hashPassword("correct horse");
    const kind = getFips() === 1 ? /^pbkdf2-sha256\$600000\$/ : /^scrypt\$32768\$8\$1\$/;
    expect(hash).toMatch(kind);
    expect(hash).toMatch(/\$[\w-]{22}\$[\w-]{43}$/);
    expect(hash).not.toBe(await hashPassword("correct horse"));
    const passwords = new Passwords();
    const users = usersWith({ vc: hash });
    expect(await passwords.verify(users, "vc", "correct horse")).toBe(true);
    expect(await passwords.verify(users, "vc", "correct horse ")).toBe(false);
    expect(await passwords.verify(users, "nobody", "correct horse")).toBe(false);
  });

  test("a hash for FIPS mode is PBKDF2's, and both kinds are checked where the process has both", async () => {
    const hash = await hashPassword("pässword", true);
    // RFC 8018, from separate code.
    const [kind, iterations, salt = "", sealed] = hash.split("$");
    expect([kind, iterations]).toEqual(["pbkdf2-sha256", "600000"]);
    const bits = await crypto.subtle.deriveBits(
      {
        name: "PBKDF2",
        hash: "SHA-256",
        salt: Buffer.from(salt, "base64url"),
        iterations: 600_000,
      },
      await crypto.subtle.importKey("raw", Buffer.from("pässword"), "PBKDF2", false, [
        "deriveBits",
      ]),
      256,
    );
    expect(Buffer.from(bits).toString("base64url")).toBe(sealed);
    const passwords = new Passwords();
    const users = usersWith({ new: hash, old: oldHash });
    expect(await passwords.verify(users, "new", "pässword")).toBe(true);
    expect(await passwords.verify(users, "new", "passwort")).toBe(false);
    const old = passwords.verify(users, "old", "opensesame");
    if (getFips() === 0) expect(await old).toBe(true);
    else await expect(old).rejects.toThrow(/scrypt hash.*FIPS mode: set the password again/);
    expect(printPasswordHash(parsePasswordHash(oldHash) as PasswordHash)).toBe(oldHash);
  });

  test("the password of an unknown user costs what a known user's costs", async () => {
    const asked: string[] = [];
    const users = new (class extends Map<string, PasswordHash> {
      override get(name: string) {
        asked.push(name);
        return super.get(name);
      }
    })(usersWith({ vc: await hashPassword("right", true) }));
    expect(await new Passwords().verify(users, "nobody", "right")).toBe(false);
    expect(asked).toEqual(["nobody", "vc"]);
  });

  test("an unknown user's password is wrong, even if another user's hash cannot be unsealed", async () => {
    const users = {
      size: 1,
      keys: () => ["sealed"],
      has: (name: string) => name === "sealed",
      get: async (name: string) => {
        if (name === "sealed") throw new Error("the root of trust is out of reach");
        return undefined;
      },
    };
    expect(await new Passwords().verify(users, "nobody", "right")).toBe(false);
    await expect(new Passwords().verify(users, "sealed", "right")).rejects.toThrow(/out of reach/);
  });

  test("a verified password is remembered by its connection, a wrong one is not", async () => {
    const users = usersWith({ vc: await hashPassword("right") });
    let hashed = 0;
    const passwords = new (class extends Passwords {
      override verify(...args: Parameters<Passwords["verify"]>): Promise<boolean> {
        hashed++;
        return super.verify(...args);
      }
    })();
    const connection = new RememberedPassword(passwords, () => users);
    expect(await connection.verify("vc", "right")).toBe(true);
    expect(await connection.verify("vc", "right")).toBe(true);
    expect(hashed).toBe(1);
    expect(await connection.verify("vc", "wrong")).toBe(false);
    expect(await connection.verify("vcr", "ight")).toBe(false);
    expect(await connection.verify("vc", "right")).toBe(true);
    expect(hashed).toBe(3);
    expect(await new RememberedPassword(passwords, () => users).verify("vc", "right")).toBe(true);
    expect(hashed).toBe(4);
  });

  test("checks wait for their turn, and too many are refused as busy, not as a wrong password", async () => {
    const users = usersWith({ vc: await hashPassword("right") });
    const passwords = new Passwords(2);
    const all = Array.from({ length: 6 }, () => passwords.verify(users, "vc", "right"));
    const settled = await Promise.allSettled(all);
    expect(settled.map(({ status }) => status === "fulfilled")).toEqual([
      ...[true, true, true, true],
      ...[false, false],
    ]);
    await expect(all[5]).rejects.toThrow(PasswordsBusy);
    expect(await passwords.verify(users, "vc", "right")).toBe(true);
  });

  test("guesses at one instance do not keep another's users waiting", async () => {
    const guessed = usersWith({ vc: await hashPassword("right") });
    const others = usersWith({ vc: await hashPassword("other") });
    const passwords = new Passwords();
    let wrong = 0;
    const guesses = Array.from({ length: 12 }, async () => {
      if (!(await passwords.verify(guessed, "vc", "guess"))) wrong++;
    });
    expect(await passwords.verify(others, "vc", "other")).toBe(true);
    expect(wrong).toBeLessThan(6);
    await Promise.all(guesses);
    expect(wrong).toBe(12);
  });

  test.each([
    ["clear text", "hunter2"],
    ["a cost that is too low", `scrypt$1024$8$1$${"s".repeat(22)}$${"h".repeat(43)}`],
    ["a cost that is too high", `scrypt$1048576$8$1$${"s".repeat(22)}$${"h".repeat(43)}`],
    ["a cost that is not a power of two", `scrypt$32769$8$1$${"s".repeat(22)}$${"h".repeat(43)}`],
    ["a parallelization of 0", `scrypt$32768$8$0$${"s".repeat(22)}$${"h".repeat(43)}`],
    ["too few iterations", `pbkdf2-sha256$599999$${"s".repeat(22)}$${"h".repeat(43)}`],
    ["too many iterations", `pbkdf2-sha256$10000001$${"s".repeat(22)}$${"h".repeat(43)}`],
    ["another hash function", `pbkdf2-md5$600000$${"s".repeat(22)}$${"h".repeat(43)}`],
    ["a salt that is too short", `scrypt$32768$8$1$ss$${"h".repeat(43)}`],
  ])("%s makes a hash invalid", (_name, text) => {
    expect(isPasswordHash(text)).toBe(false);
  });
});
