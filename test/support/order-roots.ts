import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPkcs11Root, type RootContext, rotatePkcs11Root } from "@holdfast/root-of-trust";
import { patiently } from "./admin-api.ts";
import type { Said } from "./command-line.ts";
import { commandLine, type Surroundings, settled } from "./command-line.ts";
import type { KeyManager } from "./key-protect/index.ts";
import { systemClock, systemIds } from "./redis-store.ts";
import { type RootRegions, startRootRegions } from "./root-regions.ts";
import { hasSoftHsm, SoftHsm } from "./softhsm.ts";

/** The kinds of root of trust that can be ordered here. */
export const orderedKinds = ["local", "key-protect", "hpcs", "pkcs11"] as const;
export type OrderedKind = (typeof orderedKinds)[number];

/** A root key for each region, in the form of REST and of the command line. */
export interface OrderedRoot {
  readonly regions: Readonly<Record<"a" | "b", Readonly<Record<string, unknown>>>>;
  readonly options: readonly string[];
  /** Its identifier or label by region; empty if it has none. */
  readonly keys: { readonly a: string; readonly b: string };
}

const context: RootContext = { clock: systemClock, ids: systemIds, observe: () => undefined };

/** Two regions that reach every kind of root of trust, and a user of their command line. */
export class OrderRegions implements AsyncDisposable {
  readonly roots: RootRegions;
  readonly folder: string;
  readonly hsm: SoftHsm | undefined;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    roots: RootRegions,
    folder: string,
    hsm: SoftHsm | undefined,
    resources: AsyncDisposableStack,
  ) {
    this.roots = roots;
    this.folder = folder;
    this.hsm = hsm;
    this.#resources = resources;
  }

  /** Starts everything; the user has a profile `site` with a manager's token. */
  static async start(
    times: Parameters<typeof startRootRegions>[1],
    nodes: number,
    /** Further settings of `rootOfTrust`, in both regions. */
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<OrderRegions> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "holdfast-order-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const hsm = hasSoftHsm() ? stack.use(await SoftHsm.open()) : undefined;
    const { deadlineMs } = times;
    const pkcs11 = hsm === undefined ? {} : { pkcs11: { module: hsm.module, deadlineMs } };
    // The module finds its tokens through the environment, as on any machine.
    const before = process.env["SOFTHSM2_CONF"];
    if (hsm !== undefined) process.env["SOFTHSM2_CONF"] = hsm.environment["SOFTHSM2_CONF"] ?? "";
    stack.defer(() => {
      if (before === undefined) delete process.env["SOFTHSM2_CONF"];
      else process.env["SOFTHSM2_CONF"] = before;
    });
    const roots = stack.use(
      await startRootRegions(["declared"], times, nodes, { ...pkcs11, ...more }),
    );
    const body = { name: "user", roles: ["manager" as const, "security-officer" as const] };
    const { secret } = await patiently(roots.admin("a1")).call<"createToken">("createToken", {
      body,
    });
    const { a, b } = roots.managers;
    await writeFile(join(folder, "ca.pem"), roots.both.a.ca);
    await writeFile(join(folder, "token"), `${secret}\n`, { mode: 0o600 });
    await writeFile(join(folder, "a.key"), `${a.apiKey}\n`, { mode: 0o600 });
    await writeFile(join(folder, "b.key"), `${b.apiKey}\n`, { mode: 0o600 });
    if (hsm !== undefined) await writeFile(join(folder, "pin"), `${hsm.pin}\n`, { mode: 0o600 });
    await new OrderRegions(roots, folder, hsm, stack).#addProfile();
    return new OrderRegions(roots, folder, hsm, stack.move());
  }

  /** Adds the profile by which the user's commands reach these regions. */
  async #addProfile(): Promise<void> {
    const urls = this.roots.both.nodes.flatMap(({ name }) => ["--url", this.url(name)]);
    const files = ["--ca", this.file("ca.pem"), "--token-file", this.file("token")];
    const { code, err } = await this.settled("profile", "add", "site", ...urls, ...files);
    if (code !== 0) throw new Error(err);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }

  /** A file of the user's. */
  file(name: string): string {
    return join(this.folder, name);
  }

  async write(name: string, content: string): Promise<string> {
    await writeFile(this.file(name), content, { mode: 0o600 });
    return this.file(name);
  }

  /** `https://HOST:PORT` of a node's management API. */
  url(name: string): string {
    const { host, admin } = this.roots.both.node(name);
    return `https://${host}:${admin}`;
  }

  /** Runs a command as the user, whose profiles are in the folder. */
  run(args: readonly string[], { env, ...more }: Surroundings = {}): Promise<Said> {
    return commandLine(args, { env: { XDG_CONFIG_HOME: this.folder, ...env }, ...more });
  }

  /**
   * Runs a command, and repeats it while it ends with code 3, which means to try again: on a busy machine the regions may
   * lose each other for a moment.
   */
  settled(...args: readonly string[]): Promise<Said> {
    return settled(() => this.run(args));
  }

  /** Runs a command that must succeed; returns its output as JSON. */
  async done(...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    const said = await this.settled(...args, "--json");
    if (said.code !== 0) {
      throw new Error(`holdfast ${args.join(" ")}: exit ${said.code}: ${said.err}`);
    }
    return JSON.parse(said.out) as Readonly<Record<string, unknown>>;
  }

  /** Makes a root key for each region. */
  async rootFor(kind: OrderedKind): Promise<OrderedRoot> {
    const { a, b } = this.roots.managers;
    if (kind === "local") {
      const regions = { a: { type: kind }, b: { type: kind } };
      return { regions, options: rootOptions("a:local", "b:local"), keys: { a: "", b: "" } };
    }
    if (kind === "pkcs11") return await this.#token();
    const manager = kind === "key-protect" ? a : b;
    const keyFile = this.file(kind === "key-protect" ? "a.key" : "b.key");
    const keys = {
      a: await manager.createRootKey("root key of a"),
      b: await manager.createRootKey("root key of b"),
    };
    const { instanceId, apiKey } = manager;
    const of = (rootKey: string) => ({
      type: kind,
      instanceId,
      rootKey,
      apiKey: { value: apiKey },
    });
    const option = (region: "a" | "b") =>
      `${region}:${kind},instanceId=${instanceId},rootKey=${keys[region]},apiKey=@${keyFile}`;
    const regions = { a: of(keys.a), b: of(keys.b) };
    return { regions, options: rootOptions(option("a"), option("b")), keys };
  }

  /** Adds a version to a root key in the token. */
  async rotateToken(rootKey: string): Promise<void> {
    if (this.hsm !== undefined) await rotatePkcs11Root(this.hsm.settings({ rootKey }), context);
  }

  async #token(): Promise<OrderedRoot> {
    const { hsm } = this;
    if (hsm === undefined) throw new Error("no token");
    const keys = { a: `a-${randomUUID()}`, b: `b-${randomUUID()}` };
    for (const rootKey of Object.values(keys)) {
      await createPkcs11Root(hsm.settings({ rootKey }), context);
    }
    const { token, pin } = hsm;
    const of = (rootKey: string) => ({ type: "pkcs11", token, rootKey, pin: { value: pin } });
    const option = (region: "a" | "b") =>
      `${region}:pkcs11,token=${token},rootKey=${keys[region]},pin=@${this.file("pin")}`;
    return {
      regions: { a: of(keys.a), b: of(keys.b) },
      options: rootOptions(option("a"), option("b")),
      keys,
    };
  }
}

/** Makes a root key for each region in a further key manager, whose API key is in the file. */
export async function rootsIn(
  manager: KeyManager,
  keyFile: string,
): Promise<Pick<OrderedRoot, "options" | "keys">> {
  const keys = {
    a: await manager.createRootKey("region-a"),
    b: await manager.createRootKey("region-b"),
  };
  const { kind, instanceId } = manager;
  const option = (region: "a" | "b") =>
    `${region}:${kind},instanceId=${instanceId},rootKey=${keys[region]},apiKey=@${keyFile}`;
  return { options: rootOptions(option("a"), option("b")), keys };
}

function rootOptions(...roots: readonly string[]): readonly string[] {
  return roots.flatMap((root) => ["--root", root]);
}
