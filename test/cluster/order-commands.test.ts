import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { firstToken } from "../support/admin-api.ts";
import {
  commandLine,
  type Said,
  type Surroundings,
  settled as untilSettled,
} from "../support/command-line.ts";
import { type Region, startRegion } from "../support/region.ts";

let region: Region;
let folder: string;
let token: string;
let vcenter: Issued;
/** The options that name the user's site. */
let site: readonly string[];

beforeAll(async () => {
  region = await startRegion({ instances: ["declared"], nodes: 1, replicas: 0, admin: true });
  folder = await mkdtemp(join(tmpdir(), "holdfast-commands-"));
  token = await firstToken({ node: region.node(0), ca: region.ca });
  vcenter = await selfSigned({ commonName: "vCenter", notBeforeMs: Date.now() - 60_000, days: 2 });
  await write("ca.pem", region.ca);
  await write("token", `${token}\n`);
  await write("vcenter.pem", vcenter.certificate);
  await write("password", "a long enough password\n");
  site = ["--url", url(), "--ca", file("ca.pem"), "--token-file", file("token")];
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

function url(): string {
  return `https://${region.node(0).host}:${region.node(0).admin}`;
}

function file(name: string): string {
  return join(folder, name);
}

async function write(name: string, content: string): Promise<string> {
  await writeFile(file(name), content, { mode: 0o600 });
  return file(name);
}

/** Runs a command that must end with another code than 3, which means to try again, as on a busy machine. */
function settled(...args: readonly string[]): Promise<Said> {
  return untilSettled(() => run(args));
}

/** Runs a command as a user whose profiles are in the folder. */
function run(args: readonly string[], { env, ...more }: Surroundings = {}): Promise<Said> {
  return commandLine(args, { env: { XDG_CONFIG_HOME: folder, ...env }, ...more });
}

/** Runs a command that must succeed; returns what it printed. */
async function out(...args: readonly string[]): Promise<string> {
  const said = await settled(...args);
  if (said.code !== 0) throw new Error(`${args.join(" ")}: exit ${said.code}: ${said.err}`);
  return said.out;
}

describe("profiles", () => {
  test("name sites; commands ask the site of the profile in use", async () => {
    const elsewhere = ["elsewhere", "--url", "https://127.0.0.1:9", ...site.slice(2)];
    await out("profile", "add", ...elsewhere, "--no-test");
    expect(await out("profile", "add", "here", ...site)).toMatch(
      /: node \S+ of region a; the token is .+, manager\nprofile here is stored\n$/,
    );
    const first = await run(["whoami"]);
    expect(first.code).toBe(3);
    await out("profile", "use", "here");
    expect(JSON.parse(await out("whoami", "--json"))).toMatchObject({
      roles: ["security-officer", "manager"],
    });
    const other = await run(["whoami", "--profile", "elsewhere"]);
    expect(other).toMatchObject({ code: 3, out: "" });
    expect(await out("profile", "list")).toMatch(/^ {2}elsewhere {2}.*\n\* here {2}https:/);
    const kept = join(folder, "holdfast", "profiles.json");
    expect((await stat(kept)).mode & 0o777).toBe(0o600);
    expect(await readFile(kept, "utf8")).not.toContain(token);
    expect(await run(["whoami", "--profile", "nowhere"])).toMatchObject({ code: 2 });
    await out("profile", "remove", "elsewhere");
  });
});

describe("profile add", () => {
  const add = ["profile", "add", "new"];
  const wrong = (...args: readonly string[]) => run([...add, ...args]);

  test("first asks the nodes with the authority and the token, and stores no profile that fails", async () => {
    const [, address = "", , , , tokenFile = ""] = site;
    const [ca, badToken] = [file("ca.pem"), await write("no-token", "hf_nothing\n")];
    const cases: readonly (readonly [code: number, words: string, args: readonly string[]])[] = [
      [3, "nothing listens there", ["--url", "https://127.0.0.1:9", ...site.slice(2)]],
      [
        3,
        "does not come from a certificate authority that is trusted here: give the one that issued it",
        ["--url", address, "--token-file", tokenFile],
      ],
      [2, "holds no certificate", ["--url", address, "--ca", tokenFile, "--token-file", tokenFile]],
      [4, "token", ["--url", address, "--ca", ca, "--token-file", badToken]],
      [2, "is not an address", ["--url", "kms", "--ca", ca, "--token-file", tokenFile]],
    ];
    for (const [code, words, args] of cases) {
      const said = code === 3 ? await wrong(...args) : await settled(...add, ...args);
      expect([args, said.code]).toEqual([args, code]);
      expect(said.err).toMatch(/^holdfast: [^\n]+\n$/);
      expect(said.err).toContain(words);
    }
    expect(await out("profile", "list")).not.toContain("new");
  });

  test("stores absolute paths, replaces only with --force, and names a node that does not answer", async () => {
    const relative = ["--ca", "ca.pem", "--token-file", "token"];
    const args = ["profile", "add", "moved", "--url", url(), ...relative];
    expect(await run(args, { cwd: folder })).toMatchObject({ code: 0 });
    // From another folder.
    expect(await out("whoami", "--profile", "moved")).toContain("manager");
    const again = await run([...args, "--url", "https://127.0.0.1:9"], { cwd: folder });
    expect(again).toMatchObject({ code: 2, out: "" });
    expect(again.err).toContain("--force");
    const forced = [...args, "--url", "https://127.0.0.1:9", "--force"];
    const said = await run(forced, { cwd: folder });
    expect(said.code).toBe(0);
    expect(said.err).toContain("https://127.0.0.1:9 does not answer");
    await out("profile", "remove", "moved");
  });
});

describe("exit codes", () => {
  test("tell the kind of failure, with a message of one line", async () => {
    const wrong = await write("wrong-token", "hf_nothing\n");
    const cases: readonly (readonly [code: number, args: readonly string[]])[] = [
      [2, ["instance", "list", "--status", "Nonsense"]],
      [2, ["instance", "list", "--limit", "many"]],
      [2, ["certificate", "add", "declared", "--name", "x", "--file", file("missing.pem")]],
      [3, ["whoami", ...site.slice(2), "--url", "https://127.0.0.1:9"]],
      [4, ["whoami", "--token-file", wrong]],
      [5, ["instance", "show", "nowhere"]],
      [6, ["instance", "order", "--name", "declared"]],
      [6, ["instance", "delete", "declared"]],
    ];
    const said = await Promise.all(
      cases.map(([code, args]) => (code === 3 ? run(args) : settled(...args))),
    );
    for (const [at, [code, args]] of cases.entries()) {
      expect([args, said[at]?.code]).toEqual([args, code]);
      expect(said[at]?.out).toBe("");
      expect(said[at]?.err).toMatch(/^holdfast: [^\n]+\n$/);
      expect(said[at]?.err).not.toMatch(/\bat .+:\d+|node_modules|\.ts\b/);
    }
  });

  test("are 2 for a secret as an argument", async () => {
    const root = "a:key-protect,instanceId=i,rootKey=k,apiKey=very-secret";
    const said = await run(["instance", "order", "--root", root]);
    expect(said.code).toBe(2);
    expect(said.err).toContain("apiKey=@FILE");
    expect(said.err).not.toContain("very-secret");
    const password = await run(["user", "set", "declared", "esx", "--password", "very-secret"]);
    expect(password.code).toBe(2);
  });
});

const declaration = () => ({
  instances: [
    {
      name: "applied",
      description: "from a file",
      labels: { group: "finance" },
      rootOfTrust: { a: { type: "local" } },
      certificates: [{ name: "vcenter", file: "vcenter.pem" }],
      users: [{ name: "esx", passwordFile: "password" }],
    },
  ],
});

describe("apply", () => {
  test("prints the plan, carries it out, and has nothing to do the second time", async () => {
    const path = await write("instances.yaml", stringify(declaration()));
    const plan = await out("apply", "-f", path, "--dry-run");
    expect(plan).toBe(
      [
        "+ instance applied with roots of trust in a",
        "+ certificate vcenter of applied",
        "+ user esx of applied",
        "",
      ].join("\n"),
    );
    const { items } = JSON.parse(await out("instance", "list", "--json")) as { items: unknown[] };
    expect(items).toHaveLength(1);
    const done = await out("apply", "-f", path);
    expect(done).toContain("done: + instance applied");
    expect(done).toContain("3 of 3 changes were made");
    expect(await out("apply", "-f", path)).toBe("nothing to do: the service is as declared\n");
    const shown = await out("instance", "show", "applied", "--json");
    expect(JSON.parse(shown)).toMatchObject({ status: "Installed", certificates: 1, users: 1 });
  });

  test("deletes what is not declared only with --prune and a confirmation", async () => {
    const empty = await write("empty.yaml", stringify({ instances: [] }));
    expect(await out("apply", "-f", empty)).toBe(
      "  instance applied is not declared, and stays as it is\nnothing to do: the service is as declared\n",
    );
    const unsure = await run(["apply", "-f", empty, "--prune"]);
    expect(unsure.code).toBe(2);
    expect(unsure.err).toContain("--yes");
    expect(JSON.parse(await out("instance", "show", "applied", "--json"))).toMatchObject({
      status: "Installed",
    });
    await out("apply", "-f", empty, "--prune", "--yes");
    expect((await settled("instance", "show", "applied")).code).toBe(5);
    expect(JSON.parse(await out("instance", "show", "declared", "--json"))).toMatchObject({
      origin: "configuration",
    });
  });
});

describe("what people read", () => {
  test("events are followed as they come", async () => {
    const end = new AbortController();
    let heard = "";
    const following = run(["events", "--follow"], {
      signal: end.signal,
      heard: (text) => {
        heard += text;
      },
      withinMs: 600_000,
    });
    // Another event may come first: of a deletion, for example, that goes on.
    const shown =
      /^TIME +OUTCOME .*\n(?:.*\n)*2\d{3}-\d\d-\d\dT[\d:]+Z +success +kmip-token.create .*\n/;
    let tokens = 0;
    await until("an event", async () => {
      tokens += 1;
      const made = file(`made-${tokens}`);
      const name = `token-${tokens}`;
      await out("token", "create", "--name", name, "--roles", "viewer", "--secret-out", made);
      return shown.test(heard) || heard;
    });
    end.abort();
    expect(await following).toMatchObject({ code: 0, err: "" });
    const secret = (await readFile(file("made-1"), "utf8")).trim();
    expect((await stat(file("made-1"))).mode & 0o777).toBe(0o600);
    const listed = await out("events", "--limit", "50");
    expect(listed).toMatch(/^TIME +OUTCOME +ACTION +WHO +TARGET +INSTANCE +SEVERITY .*\n/);
    // The start of an action and its result are one line.
    expect(listed.match(/^.* token-1 .*$/gm)).toHaveLength(1);
    expect(listed).not.toContain("pending");
    expect(heard + listed).not.toContain(secret);
  });

  test("doctor reports what is healthy and what to fix", async () => {
    const said = await settled("doctor");
    expect([0, 1]).toContain(said.code);
    expect(said.out).toMatch(/^STATE +CHECK +DETAIL +MEND\n/);
    for (const check of ["configuration", "certificates", "store", "peers", "root of trust"])
      expect(said.out.toLowerCase()).toContain(check);
    const { items } = JSON.parse((await settled("doctor", "--json")).out) as {
      items: readonly { readonly state: string; readonly mend: string }[];
    };
    expect(items.length).toBeGreaterThan(4);
    for (const { state, mend } of items) if (state !== "ok") expect(mend).not.toBe("");
  });

  test("certificate server shows the same fingerprints of the node as vCenter and OpenSSL", async () => {
    const served = new X509Certificate(await readFile(join(region.folder, "server.pem")));
    const listed = await out("certificate", "server");
    expect(listed).toContain(` ${served.fingerprint} `);
    expect(listed).toContain(served.fingerprint256.replaceAll(":", "").toLowerCase());
    const dead = await run(["certificate", "server", ...site, "--url", "https://127.0.0.1:9"]);
    expect(dead).toMatchObject({ code: 0, out: listed });
    expect(dead.err).toMatch(
      /^holdfast: a node cannot be asked: https:\/\/127\.0\.0\.1:9: [^\n]+\n$/,
    );
  });

  test("an issued pair is written to files that only their owner reads, and never printed with it", async () => {
    await out("instance", "order", "--name", "pair", "--root", "a:local", "--wait");
    const [pem, key] = [file("pair.pem"), file("pair.key")];
    const args = [
      "authority",
      "issue",
      "pair",
      "--name",
      "esx",
      "--pem-out",
      pem,
      "--key-out",
      key,
    ];
    const printed = await out(...args);
    const secret = await readFile(key, "utf8");
    expect(secret).toContain("PRIVATE KEY");
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    expect(printed).not.toContain("PRIVATE KEY");
    // The authority's certificate was not asked for.
    expect(printed).not.toContain("BEGIN CERTIFICATE");
    expect(await out("certificate", "list", "pair")).toMatch(
      /^NAME +EXPIRY.*\nesx +valid .* client /,
    );
  });

  test("completion knows the commands, in each shell", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      expect((await out("complete", shell)).length).toBeGreaterThan(200);
    }
    expect(await out("complete", "--", "instance", "")).toContain("order");
  });

  test("completion knows the instances of the site, and does not wait for a site that is down", async () => {
    expect(await out("complete", "--", "instance", "show", "")).toMatch(/^declared\b/m);
    expect(await out("complete", "--", "key", "list", "decl")).toMatch(/^declared\b/m);
    const env = { HOLDFAST_URL: "https://127.0.0.1:9", HOLDFAST_TOKEN: "hf_none" };
    const none = await run(["complete", "--", "instance", "show", ""], { env });
    expect(none).toMatchObject({ code: 0, err: "" });
    expect(none.out).not.toContain("declared");
  });
});
