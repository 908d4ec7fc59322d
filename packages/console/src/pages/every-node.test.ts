import { contract, type Layout, type Reply } from "@holdfast/admin";
import { expect, test } from "vitest";
import { formatted } from "../base/text.ts";
import { checks, serverCertificates, storageKeys } from "./every-node.ts";
import { pages } from "./pages.ts";

type Certificate = Reply<(typeof contract)["listServerCertificates"]>["items"][number];

const nowMs = Date.parse("2026-11-30T12:00:00Z");

test("shows the storage key of each region, and the node at which it can be rotated", () => {
  const key = (region: string, more: object = {}) => ({
    region,
    number: 1,
    rotation: "none",
    ...more,
  });
  const rows = storageKeys([
    { at: "https://b1.test/", answer: key("b") },
    { at: "https://a1.test/", answer: key("a") },
    { at: "https://a2.test/", answer: key("a", { left: 7 }) },
    { at: "https://b2.test/", answer: key("b", { number: 2 }) },
  ]);
  expect(rows).toEqual([
    // The node that replaces the records counts them.
    { ...key("a", { left: 7 }), at: "https://a2.test/" },
    // The other node of the region has not seen the new key yet.
    { ...key("b", { number: 2 }), at: "https://b2.test/" },
  ]);
});

test("marks what a node reported before, with its age, and prefers its own answer", () => {
  const certificate = (node: string, asked: boolean, toldAt: string): Certificate => ({
    ...{ region: node.charAt(0), node, asked, toldAt, keyType: "RSA 2048", subject: "", names: [] },
    ...{ notBefore: "", notAfter: "", sha1: `sha1 ${asked}`, sha256: `${node} ${asked}` },
  });
  const old = "2026-11-27T12:00:00Z";
  const now = "2026-11-30T12:00:00Z";
  const answers = [
    [certificate("a1", true, now), certificate("a2", false, old), certificate("b1", false, old)],
    [certificate("a1", false, old), certificate("a2", true, now)],
  ].map((items, at) => ({ at: `https://a${at}.test/`, answer: { items } }));
  expect(
    serverCertificates(answers, nowMs).map(({ node, asked, told }) => [node, asked, told]),
  ).toEqual([
    ["a1", true, "now, by the node itself"],
    ["a2", true, "now, by the node itself"],
    ["b1", false, "3 days ago: the node itself was not asked"],
  ]);
});

test("shows a fingerprint as the contract says: in capitals, with colons", () => {
  expect(formatted("0aff10", "colons")).toBe("0A:FF:10");
  expect(formatted("0aff10", undefined)).toBe("0aff10");
  expect(formatted(undefined, "colons")).toBeUndefined();
});

test("the report of the roots of trust has every column of the command line", () => {
  const page = pages.find(({ reads }) => reads === "reportRoots");
  const { columns }: Layout = contract.reportRoots.command.list;
  const shown = (page?.columns ?? columns).map((column) => column.split("=")[1]);
  for (const field of ["versions", "ends", "next"]) expect(shown).toContain(field);
});

test("lists the checks of all nodes, the worst first", () => {
  const check = (name: string, state: string) => ({ name, state, detail: "", mend: "" });
  const rows = checks([
    { at: "https://a1.test:8443/", answer: { items: [check("x", "ok"), check("y", "warning")] } },
    { at: "https://b1.test:8443/", answer: { items: [check("x", "failed"), check("y", "ok")] } },
  ]);
  expect(rows.map(({ node, name, state }) => [node, name, state])).toEqual([
    ["b1.test:8443", "x", "failed"],
    ["a1.test:8443", "y", "warning"],
    ["a1.test:8443", "x", "ok"],
    ["b1.test:8443", "y", "ok"],
  ]);
});
