import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Contract,
  contract,
  type Reply,
  type Role,
  type Route,
  type RouteRequest,
  roles,
} from "@holdfast/admin";
import { mayCall } from "@holdfast/console/may-call";
import { pages } from "@holdfast/console/pages";
import { until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  browserMissing,
  browserNote,
  enter,
  type Opened,
  openPage,
  sendForm,
  startBrowser,
  unfitParts,
} from "../support/browser.ts";
import { showAnew } from "../support/console.ts";
import { Approvers } from "../support/console-approvers.ts";
import { ConsoleCluster } from "../support/console-cluster.ts";
import { answered, createKey } from "../support/keys.ts";

type Operation = keyof Contract;
/** What changes something, or makes the service work. */
type Action = {
  [Name in Operation]: Contract[Name]["method"] extends "GET" ? never : Name;
}[Operation];

/** What a person does to carry an action out, and what is true after it. */
interface Walk {
  /** The page in the table of pages. */
  readonly at: string;
  readonly params?: Readonly<Record<string, string>>;
  /** A text of the row whose button it is. */
  readonly row?: string;
  /** What is typed again to confirm. */
  readonly confirm?: string;
  readonly fill?: (form: Locator) => Promise<void>;
  /** Looks at what the dialog shows after the action. */
  readonly shown?: (form: Locator) => Promise<void>;
  /** What REST says. */
  readonly done: () => Promise<boolean>;
  /** Whether that is true before, too: the action changes nothing here. */
  readonly isSo?: true;
}

/** Actions that another test carries out, with a text of it that only this action has. */
const elsewhere: Partial<Record<Action, readonly [file: string, text: string]>> = {
  addCertificate: ["console-work", 'sent("Add certificate")'],
  adoptCertificate: ["console-pages", 'sent("Admit a refused client")'],
  planRestore: ["console-work", 'sent("Restore plan")'],
  retrieveRootKeys: ["console-work", '{ name: "List root keys" }'],
  runBackup: ["console-work", 'sent("Run a backup")'],
  signRequest: ["console-pages", 'clicked("Sign a request"'],
  startAuditCheck: ["console-work", '{ name: "Verify the trail" }'],
  verifyBackup: ["console-work", 'sent("Verify")'],
};
/** Nobody types keys into a browser: docs/console.md says so. */
const commandOnly: readonly Action[] = ["importKeys"];
/** These only look, each time that their page is opened. */
const looks: readonly Action[] = ["runChecks"];

const instance = "acts";
const ofInstance = "/instances/{instance}";
const since = { notBeforeMs: Date.now() - 3_600_000, days: 30 };

let folder: string;
let cluster: ConsoleCluster;
let approvers: Approvers;
let pair: Issued;

/** What REST answers. */
function call<Name extends Operation>(
  name: Name,
  request: RouteRequest<Contract[Name]>,
): Promise<Reply<Contract[Name]>> {
  const answer = cluster.admin.call(name as Operation, request as object);
  return answer as Promise<Reply<Contract[Name]>>;
}

const key = (params: { readonly instance: string; readonly key: string }) =>
  call("readKey", { params, query: {} });
const named = <Thing extends { readonly name: string }>(items: readonly Thing[], name: string) =>
  items.filter((one) => one.name === name);

/** A key of the instance, Pre-Active. */
async function madeKey(): Promise<{ readonly instance: string; readonly key: string }> {
  await using client = await cluster.client(instance, pair);
  return { instance, key: await answered(() => createKey(client)) };
}

/** A certificate that is added to the instance. */
async function addedCertificate(commonName: string): Promise<string> {
  const { certificate } = await selfSigned({ commonName, ...since });
  const body = { name: commonName, pem: certificate };
  return (await call("addCertificate", { params: { instance }, body })).id;
}

const certificates = async () =>
  (await call("listCertificates", { params: { instance }, query: {} })).items;
const tokens = async () => (await call("listTokens", { query: { limit: 1000 } })).items;
const denials = async () => (await call("listDenials", { query: {} })).items;
const users = async () => (await call("listUsers", { params: { instance: "people" } })).items;
const rootStates = async (name: string) => {
  const { regions } = await call("readRoot", { params: { instance: name } });
  return Object.values(regions).map(({ state }) => state);
};
const statusOf = async (name: string) => {
  const { items } = await call("listInstances", { query: { name } });
  return named(items, name)[0]?.status;
};
const newestKek = async () => (await call("readInstance", { params: { instance } })).keks?.[0]?.id;
async function chooseLocal(form: Locator): Promise<void> {
  for (const region of ["a", "b"]) {
    const group = form.getByRole("group", { name: `Region ${region}` });
    await group.getByLabel("Kind").selectOption("local");
  }
}

const policies = async () => (await call("readApprovalPolicy", {})).items;

const requestPage = "/access/approvals/{approval}";
const policyPage = "/access/approval-policy";

/** Each makes what its action is done to. The last ones begin a policy, after which some others would need approvals. */
const walks: Partial<Record<Action, () => Promise<Walk>>> = {
  createInstance: async () => ({
    at: "/instances",
    fill: async (form) => {
      await form.getByRole("textbox", { name: /^Name/ }).fill("ordered-here");
      await chooseLocal(form);
    },
    done: async () => (await statusOf("ordered-here")) === "Installed",
  }),
  updateInstance: async () => ({
    at: ofInstance,
    params: { instance },
    fill: (form) => form.getByLabel(/^Description/).fill("changed here"),
    done: async () =>
      (await call("readInstance", { params: { instance } })).description === "changed here",
  }),
  rekeyInstance: async () => {
    const before = await newestKek();
    const done = async () => (await newestKek()) !== before;
    return { at: ofInstance, params: { instance }, done };
  },
  configureRoot: async () => {
    await call("createInstance", { body: { name: "rootless" } });
    return {
      at: `${ofInstance}/root-of-trust`,
      params: { instance: "rootless" },
      fill: chooseLocal,
      done: async () => (await statusOf("rootless")) === "Installed",
    };
  },
  rewrapRoot: async () => ({
    at: `${ofInstance}/root-of-trust`,
    params: { instance },
    shown: (form) => form.getByRole("cell", { name: "b", exact: true }).waitFor(),
    isSo: true,
    done: async () => {
      const { items } = await call("reportRoots", {});
      return items.every(({ name, stale }) => name !== instance || stale === 0);
    },
  }),
  shredInstance: async () => {
    await cluster.order("shredded-here");
    return {
      at: ofInstance,
      params: { instance: "shredded-here" },
      confirm: "shredded-here",
      done: async () => (await rootStates("shredded-here")).every((state) => state === "shredded"),
    };
  },
  revalidateRoot: async () => ({
    at: `${ofInstance}/root-of-trust`,
    params: { instance: "shredded-here" },
    done: async () => (await rootStates("shredded-here")).every((state) => state === "usable"),
  }),
  deleteInstance: async () => {
    await cluster.order("deleted-here");
    return {
      at: ofInstance,
      params: { instance: "deleted-here" },
      confirm: "deleted-here",
      done: async () => ["Deleted", undefined].includes(await statusOf("deleted-here")),
    };
  },
  activateKey: async () => {
    const params = await madeKey();
    const done = async () => (await key(params)).state === "Active";
    return { at: `${ofInstance}/keys/{key}`, params, done };
  },
  revokeKey: async () => {
    const params = await madeKey();
    await call("activateKey", { params });
    return {
      at: `${ofInstance}/keys/{key}`,
      params,
      confirm: params.key,
      fill: async (form) => {
        await form.getByLabel(/^Reason/).selectOption("CessationOfOperation");
      },
      done: async () => (await key(params)).state === "Deactivated",
    };
  },
  destroyKey: async () => {
    const params = await madeKey();
    const done = async () => (await key(params)).state === "Destroyed";
    return { at: `${ofInstance}/keys/{key}`, params, confirm: params.key, done };
  },
  restoreKey: async () => {
    const params = await madeKey();
    await call("destroyKey", { params, query: {} });
    const done = async () => (await key(params)).state === "PreActive";
    return { at: `${ofInstance}/keys/{key}`, params, done };
  },
  reportOrphans: async () => {
    const [used, unused] = [await madeKey(), await madeKey()];
    return {
      at: `${ofInstance}/keys`,
      params: { instance },
      fill: (form) => form.getByRole("textbox", { name: /^Identifiers in use/ }).fill(used.key),
      shown: async (form) => {
        await form.getByRole("cell", { name: unused.key }).waitFor();
        expect(await form.getByRole("cell", { name: used.key }).count()).toBe(0);
      },
      isSo: true,
      done: async () => (await key(unused)).state === "PreActive",
    };
  },
  issuePair: async () => ({
    at: `${ofInstance}/certificates`,
    params: { instance },
    fill: (form) => form.getByRole("textbox", { name: /^Name/ }).fill("issued-here"),
    shown: async (form) => {
      await form.getByText("PRIVATE KEY-----").first().waitFor();
    },
    done: async () => {
      const made = named(await certificates(), "issued-here");
      return made.length === 1 && made[0]?.origin === "issued";
    },
  }),
  updateCertificate: async () => {
    const certificate = await addedCertificate("limited-here");
    return {
      at: `${ofInstance}/certificates/{certificate}`,
      params: { instance, certificate },
      fill: (form) => form.getByLabel("read-only", { exact: true }).check(),
      done: async () => {
        const [one] = named(await certificates(), "limited-here");
        return one?.operations?.includes("Create") === false;
      },
    };
  },
  deleteCertificate: async () => {
    const certificate = await addedCertificate("removed-here");
    return {
      at: `${ofInstance}/certificates/{certificate}`,
      params: { instance, certificate },
      done: async () => named(await certificates(), "removed-here").length === 0,
    };
  },
  setUser: async () => {
    await cluster.order("people");
    return {
      at: `${ofInstance}/users`,
      params: { instance: "people" },
      fill: async (form) => {
        await form.getByLabel("User (required)").fill("esx");
        await form.getByLabel("Password").fill("a good long password");
      },
      done: async () => named(await users(), "esx").length === 1,
    };
  },
  deleteUser: async () => ({
    at: `${ofInstance}/users`,
    params: { instance: "people" },
    row: "esx",
    done: async () => (await users()).length === 0,
  }),
  addDenial: async () => ({
    at: "/deny-list",
    fill: async (form) => {
      await form.getByRole("textbox", { name: /^Subject/ }).fill("CN=denied-here");
      await form.getByRole("textbox", { name: /^Reason/ }).fill("denied by hand");
    },
    done: async () => (await denials()).length === 1,
  }),
  removeDenial: async () => ({
    at: "/deny-list",
    row: "denied by hand",
    done: async () => (await denials()).length === 0,
  }),
  rotateStorageKey: async () => {
    const { number } = await call("readStorageKey", {});
    return {
      at: "/storage-key",
      done: async () => (await call("readStorageKey", {})).number > number,
    };
  },
  createToken: async () => ({
    at: "/access/tokens",
    fill: async (form) => {
      await form.getByRole("textbox", { name: /^Name/ }).fill("made-here");
      await form.getByLabel("viewer", { exact: true }).check();
    },
    shown: (form) => form.getByText("it is shown only once").waitFor(),
    done: async () => named(await tokens(), "made-here").length === 1,
  }),
  revokeToken: async () => ({
    at: "/access/tokens",
    row: "made-here",
    done: async () => named(await tokens(), "made-here").every(({ state }) => state === "revoked"),
  }),
  signApproval: async () => {
    await approvers.begin();
    const id = await approvers.request("signed-here");
    const line = await approvers.signed("alice", approvers.file(id));
    return {
      at: requestPage,
      params: { approval: id },
      fill: (form) => form.getByRole("textbox", { name: /^Signatures/ }).fill(line),
      done: async () => {
        const { signedBy: all } = await call("readApproval", { params: { approval: id } });
        return named(all, "alice").length === 1;
      },
    };
  },
  cancelApproval: async () => {
    const id = await approvers.request("cancelled-here");
    return {
      at: requestPage,
      params: { approval: id },
      done: async () => {
        const { items } = await call("listApprovals", { query: { limit: 1000 } });
        return items.every((one) => one.id !== id || one.state === "cancelled");
      },
    };
  },
  changeApprovalPolicy: async () => {
    const { text, signatures } = await approvers.policy("second", "first", ["alice", "bob"]);
    return {
      at: policyPage,
      fill: async (form) => {
        await form.getByRole("textbox", { name: /^Text/ }).fill(text);
        await form.getByRole("textbox", { name: /^Signatures/ }).fill(signatures);
      },
      done: async () =>
        (await policies()).some(({ version, state }) => version === 2 && state === "in-force"),
    };
  },
  stopApprovalPolicy: async () => {
    // Signed by the break-glass key, it waits.
    const body = await approvers.policy("third", "second", ["safe"]);
    await call("changeApprovalPolicy", { body });
    const waiting = (await policies()).find(({ state }) => state === "waiting");
    const { id = "", digest = "" } = waiting ?? {};
    const line = await approvers.signed("alice", "--cancel", digest, "--change", id);
    return {
      at: policyPage,
      fill: async (form) => {
        const which = form.getByLabel("Policy (required)");
        // Begun in a row, the form knows it.
        if ((await which.count()) > 0) await which.fill(id);
        await form.getByRole("textbox", { name: /^Signatures/ }).fill(line);
      },
      done: async () => (await policies()).every(({ state }) => state !== "waiting"),
    };
  },
};

test("every operation that changes something is carried out in a browser by some test", () => {
  const all = (Object.entries(contract) as [Operation, Route][]).flatMap(([name, route]) =>
    route.method === "GET" ? [] : [name],
  );
  const has = [...Object.keys(walks), ...Object.keys(elsewhere), ...commandOnly, ...looks];
  expect(has.toSorted()).toEqual(all.toSorted());
  expect(pages.map(({ reads }) => reads)).toEqual(expect.arrayContaining([...looks]));
  for (const [name, [test, text]] of Object.entries(elsewhere)) {
    const source = readFileSync(join(import.meta.dirname, `${test}.test.ts`), "utf8");
    expect(source, name).toContain(text);
  }
});

describe.skipIf(browserMissing.length > 0)(`the actions of the console (${browserNote})`, () => {
  let chrome: Browser;
  let manager: Opened;
  /** Pages of people with one role, once they are needed. */
  const others = new Map<Role, Opened>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-console-actions-"));
    cluster = await ConsoleCluster.start([51, 52, 53, 54]);
    approvers = new Approvers(cluster, folder);
    pair = await cluster.withClient(instance, "vcenter-acts");
    chrome = await startBrowser();
    manager = await openPage(chrome, { reducedMotion: "reduce" });
    await enter(manager.page, cluster.origin, "/", cluster.token);
  });

  afterAll(async () => {
    await chrome?.close();
    await cluster?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  /** The page of somebody with this role only. */
  async function pageOf(role: Role): Promise<Page> {
    const known = others.get(role) ?? (await openPage(chrome, { reducedMotion: "reduce" }));
    if (!others.has(role)) {
      others.set(role, known);
      const { secret } = await call("createToken", {
        body: { name: `only ${role}`, roles: [role] },
      });
      await enter(known.page, cluster.origin, "/", secret);
    }
    return known.page;
  }

  const placeOf = ({ at, params = {} }: Walk) =>
    at.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));

  test.each(Object.entries(walks) as [Action, () => Promise<Walk>][])(
    "%s is done through its dialog, and offered to nobody who may not do it",
    async (operation, prepare) => {
      const walk = await prepare();
      const described = pages.find(({ path }) => path === walk.at);
      if (described === undefined) throw new Error(`no page ${walk.at}`);
      const { title, reads } = described;
      const may = (name: Operation, role: Role) => mayCall(contract[name], { roles: [role] });
      const other = roles.find((role) => may(reads, role) && !may(operation, role));
      const offered = `main [data-operation="${operation}"]`;
      if (other !== undefined) {
        const page = await pageOf(other);
        await showAnew(page, placeOf(walk), title);
        await page.getByRole("button", { name: "Refresh" }).waitFor();
        expect(await page.locator(offered).count(), `offered to ${other}`).toBe(0);
      }

      const { page, told } = manager;
      await showAnew(page, placeOf(walk), title);
      const row = page.getByRole("row").filter({ hasText: walk.row ?? "" });
      const button = walk.row === undefined ? page.locator(offered) : row.locator(offered.slice(5));
      await until(`${operation} is offered`, async () => {
        if ((await button.count()) > 0) return true;
        await page.getByRole("button", { name: "Refresh" }).click();
        return false;
      });
      expect(await walk.done(), "done before").toBe(walk.isSo === true);
      await button.first().click();
      const form = page.getByRole("dialog");
      await form.getByText("The same on the command line").waitFor();
      expect(await unfitParts(page), operation).toEqual([]);
      await walk.fill?.(form);
      const confirms = form.getByLabel("To confirm");
      if ((await confirms.count()) > 0) await confirms.fill(walk.confirm ?? "");
      await sendForm(page, walk.shown);
      await until(`REST says that ${operation} is done`, walk.done);
      // Chromium would like a user name beside each secret.
      expect(told.filter((text) => !text.includes("Password forms"))).toEqual([]);
    },
  );
});
