import { describe, expect, test } from "vitest";
import { planLines } from "./apply.ts";
import type { WantedInstance } from "./apply-file.ts";
import { type ActualInstance, planOf } from "./apply-plan.ts";

const wanted = (over: Partial<WantedInstance> = {}): WantedInstance => ({
  name: "kmip-prod",
  description: "production",
  labels: { group: "finance" },
  roots: { a: { type: "key-protect", rootKey: "k", apiKey: { env: "KEY" } } },
  certificates: [],
  users: [],
  ...over,
});
const actual = (over: Partial<ActualInstance> = {}): ActualInstance => ({
  id: "1",
  name: "kmip-prod",
  description: "production",
  labels: { group: "finance" },
  origin: "order",
  // As the service shows it.
  roots: { a: { rootKey: "k", type: "key-protect", secret: "environment variable KEY" } },
  certificates: [],
  users: [],
  ...over,
});
const certificate = {
  id: "c1",
  name: "vcenter",
  kind: "client",
  fingerprint: "ab",
  origin: "added",
};
const texts = (...args: Parameters<typeof planOf>) => planOf(...args).map(({ text }) => text);

describe("the plan of an apply", () => {
  test("is empty if the service is as declared", () => {
    expect(planOf([wanted()], [actual()])).toEqual([]);
    const silent = wanted({ description: undefined, labels: undefined, roots: {} });
    expect(planOf([silent], [actual({ description: "other" })])).toEqual([]);
  });

  test("limits certificates and users to operations, and says whether clients may destroy", () => {
    const pem = "";
    const declared = wanted({
      destroyOverKmip: "allowed",
      certificates: [
        { name: "vcenter", kind: "client", pem, operations: ["vsphere"] },
        { name: "old", kind: "client", pem, operations: ["all"] },
        { name: "same", kind: "client", pem, operations: ["Get", "Locate", "Get"] },
        { name: "silent", kind: "client", pem },
      ],
      users: [{ name: "reader", password: () => "p", operations: ["read-only"] }],
    });
    const there = (name: string, operations?: readonly string[]) => ({
      ...{ ...certificate, id: name, name, fingerprint: "", operations },
    });
    const steps = planOf(
      [declared],
      [
        actual({
          destroyOverKmip: "refused",
          certificates: [
            there("vcenter"),
            there("old", ["vsphere"]),
            there("same", ["Get", "Locate"]),
            there("silent", ["vsphere"]),
          ],
          users: [{ name: "reader", origin: "added" }],
        }),
      ],
    );
    expect(steps.map(({ text, body }) => [text, body?.()])).toEqual([
      ["~ instance kmip-prod: destroyOverKmip", { destroyOverKmip: "allowed" }],
      ["~ certificate vcenter of kmip-prod: operations", { operations: ["vsphere"] }],
      ["~ certificate old of kmip-prod: operations", { operations: ["all"] }],
      ["~ user reader of kmip-prod: operations", { password: "p", operations: ["read-only"] }],
    ]);
    expect(steps.every(({ destructive }) => !destructive)).toBe(true);
  });

  const places = [
    [{ value: "the key" }, "sealed"],
    [{ env: "KEY" }, "environment variable KEY"],
    [{ file: "key" }, "file key"],
  ] as const;
  test.each(places)("compares where a secret is: %j", (given, shown) => {
    for (const [type, name] of [
      ["key-protect", "apiKey"],
      ["pkcs11", "pin"],
    ] as const) {
      const roots = { a: { type, rootKey: "k", [name]: given } };
      const there = (secret: string) => actual({ roots: { a: { type, rootKey: "k", secret } } });
      expect(texts([wanted({ roots })], [there(shown)])).toEqual([]);
      expect(texts([wanted({ roots })], [there("file elsewhere")])).toEqual([
        "~ instance kmip-prod: root of trust in a",
      ]);
    }
  });

  test("sends secrets again only if asked to, because they cannot be compared", () => {
    const apiKey = { value: "another" };
    const roots = { a: { type: "hpcs", apiKey }, b: { type: "local" } };
    const shown = { a: { type: "hpcs", secret: "sealed" }, b: { type: "local" } };
    const users = [{ name: "esx", password: () => "a long password" }];
    const there = actual({ roots: shown, users: [{ name: "esx", origin: "added" }] });
    const one = wanted({ roots, users });
    expect(texts([one], [there])).toEqual([]);
    const steps = planOf([one], [there], { updateSecrets: true });
    expect(steps.map(({ text }) => text)).toEqual([
      "~ instance kmip-prod: API key or PIN of the root of trust in a",
      "~ user esx of kmip-prod: password",
    ]);
    expect(steps[0]?.body?.()).toEqual({ regions: { a: { type: "hpcs", apiKey } } });
  });

  test("creates what is missing, an instance before its contents", () => {
    const users = [{ name: "esx", password: () => "a long password" }];
    const certificates = [{ name: "vcenter", kind: "client" as const, pem: "no PEM" }];
    const steps = planOf([wanted({ users, certificates })], []);
    expect(steps.map(({ operation }) => operation)).toEqual([
      "createInstance",
      "addCertificate",
      "setUser",
    ]);
    expect(steps[0]?.body?.()).toMatchObject({
      rootOfTrust: { regions: { a: { apiKey: { env: "KEY" } } } },
    });
    expect(steps.every(({ destructive }) => !destructive)).toBe(true);
  });

  test("changes what differs, and nothing else", () => {
    const moved = { a: { type: "local" } };
    expect(texts([wanted({ description: "new", roots: moved })], [actual()])).toEqual([
      "~ instance kmip-prod: description",
      "~ instance kmip-prod: root of trust in a",
    ]);
  });

  test("deletes only in destructive steps, never what the configuration file declares", () => {
    const spare = actual({ id: "2", name: "old" });
    const declared = actual({ id: "3", name: "demo", origin: "configuration" });
    const steps = planOf([wanted()], [actual({ certificates: [certificate] }), spare, declared]);
    expect(steps.map(({ text, destructive }) => [text, destructive])).toEqual([
      ["- certificate vcenter of kmip-prod", true],
      ["- instance old, with all of its keys", true],
    ]);
    expect(steps.map(({ otherwise }) => otherwise)).toEqual([
      "  certificate vcenter of kmip-prod is not declared so, and stays as it is",
      "  instance old is not declared, and stays as it is",
    ]);
    expect(steps[1]?.query).toEqual({ force: "true", name: "old" });
  });

  test("goes back where an order that is not complete moves the instance away from the declared root", () => {
    const there = actual().roots;
    const elsewhere = { a: { type: "local" } };
    const back = ["~ instance kmip-prod: root of trust in a"];
    expect(texts([wanted()], [actual({ nextRoots: elsewhere })])).toEqual(back);
    // Its secret is being replaced, or nothing is ordered.
    expect(texts([wanted()], [actual({ nextRoots: there })])).toEqual([]);
    expect(texts([wanted()], [actual({ nextRoots: { a: undefined } })])).toEqual([]);
    expect(texts([wanted()], [actual({ roots: elsewhere, nextRoots: there })])).toEqual(back);
  });
});

describe("a certificate that was renewed", () => {
  // What is not PEM has no fingerprint.
  const declared = (...names: readonly string[]) =>
    wanted({
      certificates: names.map((name) => ({ name, kind: "client" as const, pem: "no PEM" })),
    });
  const there = (name: string, fingerprint: string, origin = "added") => ({
    ...{ ...certificate, id: `id of ${name}`, name, fingerprint, origin },
  });
  const plan = (names: readonly string[], ...certificates: readonly ReturnType<typeof there>[]) =>
    planOf([declared(...names)], [actual({ certificates })]);

  test("is added under a free name, and the old one is deleted after that", () => {
    const steps = plan(["vcenter"], there("vcenter", "ab", "adopted"));
    expect(steps.map(({ text, destructive }) => [text, destructive])).toEqual([
      ["+ certificate vcenter-new of kmip-prod, in place of vcenter", false],
      ["- certificate vcenter of kmip-prod", true],
    ]);
    expect(steps[0]?.body?.()).toMatchObject({ name: "vcenter-new" });
    const long = "v".repeat(64);
    const others = [there(long, "ab"), there(`${"v".repeat(60)}-new`, "cd")];
    expect(plan([long], ...others)[0]?.body?.()["name"]).toBe(`${"v".repeat(59)}-new2`);
    const both = plan(["vcenter", "vcenter-new"], there("vcenter", "ab"));
    expect(both.map(({ body }) => body?.()["name"])).toEqual([
      "vcenter-new2",
      "vcenter-new",
      undefined,
    ]);
  });

  test("is there under that name for the next apply, which deletes the old one if the first did not", () => {
    const added = there("vcenter-new", "");
    expect(plan(["vcenter"], added)).toEqual([]);
    const left = plan(["vcenter"], there("vcenter", "ab", "adopted"), added);
    expect(left.map(({ text, params }) => [text, params["certificate"]])).toEqual([
      ["- certificate vcenter of kmip-prod", "id of vcenter"],
    ]);
  });

  test("has its declared name again at the next renewal", () => {
    expect(plan(["vcenter"], there("vcenter-new", "ab")).map(({ text }) => text)).toEqual([
      "+ certificate vcenter of kmip-prod",
      "- certificate vcenter-new of kmip-prod",
    ]);
  });

  test("counts for one declared certificate only", () => {
    const steps = plan(["one", "two"], there("two", ""));
    expect(steps.map(({ text }) => text)).toEqual(["+ certificate one of kmip-prod"]);
  });
});

test("an undeclared object that is kept does not count as a change", () => {
  const steps = planOf([], [actual()]);
  expect(planLines(steps, [])).toEqual([
    "  instance kmip-prod is not declared, and stays as it is",
    "nothing to do: the service is as declared",
  ]);
  expect(planLines(steps, steps)).toEqual(["- instance kmip-prod, with all of its keys"]);
});
