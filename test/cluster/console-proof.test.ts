import {
  type AdminClient,
  type Contract,
  contract,
  type Role,
  type Route,
  roles,
} from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import { mayCall } from "@holdfast/console/may-call";
import { allowedIn, pages } from "@holdfast/console/pages";
import { until } from "@holdfast/testing";
import fc from "fast-check";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { firstToken, patientClient } from "../support/admin-api.ts";
import {
  browserMissing,
  browserNote,
  enter,
  holdRequests,
  openPage,
  startBrowser,
  unfitParts,
} from "../support/browser.ts";
import { type Consoles, layConsoles, show } from "../support/console.ts";
import { explorer, type Step } from "../support/console-explorer.ts";
import { answered, createKey } from "../support/keys.ts";
import { RawHttps } from "../support/raw-https.ts";

type Operation = keyof Contract;
type Bounds = Parameters<typeof mayCall>[1];

const own = { "x-holdfast-console": "1" };
const routes = Object.entries(contract) as [Operation, Route][];
/** No route knows this parameter: a caller with access gets a 400, and nothing is carried out. */
const unknownQuery = "proof=1";
const nobody = "00000000-0000-0000-0000-000000000000";
/** A random walk finds the same each time; another one with another seed. fast-check prints the seed if it fails. */
const seed = Number(process.env["CONSOLE_WALK_SEED"] ?? 20_261_130);

/** An expression for the counters that the page of an instance shows. */
const countersShown = `(() => {
  const rows = [...document.querySelectorAll("main .table-vertical > tbody > tr")];
  const cell = (name) => rows.find((row) => row.firstElementChild.textContent === name)?.lastElementChild;
  const states = [...(cell("Keys")?.querySelectorAll("tr") ?? [])];
  return {
    keys: Object.fromEntries(
      states.map((row) => [row.firstElementChild.textContent, Number(row.lastElementChild.textContent)]),
    ),
    certificates: Number(cell("Certificates")?.textContent),
    users: Number(cell("Users")?.textContent),
  };
})()`;

let consoles: Consoles;
let manager: string;
let client: AdminClient;
let https: RawHttps;
/** Who is signed in. */
const people: {
  readonly kind: string;
  readonly secret: string;
  readonly bounds: Bounds;
  /** Of a session. */
  readonly cookie: string;
}[] = [];
/** What the parameters of places stand for. */
const named = { instance: "own", key: "", certificate: "", approval: nobody };

beforeAll(async () => {
  consoles = await layConsoles();
  const { region } = consoles;
  await Promise.all(region.nodes.map((node) => node.start()));
  const { ca } = region;
  manager = await firstToken({ node: region.node(0), ca });
  // The second node stays while the first one is killed.
  client = patientClient({ node: region.node(1), ca }, manager);
  https = new RawHttps(consoles.origins[0], ca);
  // Another node knows a token a moment later.
  await using first = patientClient({ node: region.node(0), ca }, manager);
  for (const role of roles) await makePerson(first, role, role);
  await makePerson(first, "manager bound", "manager", ["own"]);
  const { host, port, ...tls } = region.target("own");
  const endpoints = [`${host}:${port}`];
  const kmip = await answered(() => KmipClient.connect({ endpoints, tls }));
  named.key = await answered(() => createKey(kmip));
  await kmip.close();
  const { items } = await client.call("listCertificates", {
    params: { instance: "own" },
    query: {},
  });
  named.certificate = items[0]?.id ?? "";
});

afterAll(async () => {
  https?.[Symbol.dispose]();
  await client?.[Symbol.asyncDispose]();
  await consoles?.region[Symbol.asyncDispose]();
});

async function makePerson(
  at: AdminClient,
  kind: string,
  role: Role,
  instances?: readonly string[],
): Promise<void> {
  const body = { name: kind, roles: [role], ...(instances && { instances: [...instances] }) };
  const { secret } = await at.call<"createToken">("createToken", { body });
  const session = { method: "POST", path: "/console/session", headers: own };
  const answer = await https.insist({ ...session, body: JSON.stringify({ token: secret }) });
  expect(answer.status).toBe(204);
  const [cookie = ""] = [answer.headers["set-cookie"] ?? []].flat();
  const bounds = { roles: [role], instances };
  people.push({ kind, secret, bounds, cookie: cookie.split(";")[0] ?? "" });
}

function filled(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    return (named as Readonly<Record<string, string>>)[name] ?? nobody;
  });
}

describe("the console's way to the service: a cookie, and a header that other sites cannot send", () => {
  test.each(routes)(
    "%s is refused to each person who is not offered it, and to no other",
    async (operation, route) => {
      const found: Record<string, string> = {};
      const wanted: Record<string, string> = {};
      for (const { kind, bounds, cookie } of people) {
        const headers = { ...own, cookie };
        // The list of identifiers is read before the query is checked.
        const given = operation === "reportOrphans" ? '{"inUse":["a"]}' : "{}";
        const answer = await https.insist({
          method: route.method,
          path: `${filled(route.path)}?${unknownQuery}`,
          headers,
          body: route.body === undefined ? undefined : given,
        });
        found[kind] = answer.status === 400 ? "let in" : String(answer.status);
        wanted[kind] = mayCall(route, bounds) ? "let in" : "403";
      }
      expect(found).toEqual(wanted);
    },
  );
});

/** What a page may show to somebody: the operations of its buttons. */
async function buttonsOf(
  { reads, actions = [], rowActions = [] }: (typeof pages)[number],
  bounds: Bounds,
  page: Page,
): Promise<readonly string[]> {
  if (!mayCall(contract[reads], bounds)) return [];
  const { state } =
    reads === "readKey"
      ? await client.call("readKey", { params: { instance: "own", key: named.key }, query: {} })
      : { state: "" };
  const fits = (name: Operation) =>
    name !== "restoreKey" && (allowedIn[name]?.includes(state) ?? true);
  const hasThings = (await page.locator("main [role=alert]").count()) === 0;
  const hasRows = (await page.locator("main .rows tbody tr").count()) > 0;
  const all = [
    ...(hasThings ? actions.filter(fits) : []),
    ...(hasRows ? rowActions.map(({ name }) => name) : []),
  ];
  return [...new Set(all)].filter((name) => mayCall(contract[name], bounds)).toSorted();
}

/** The parts of an event that tell what was done to what. */
interface Done {
  readonly action: string;
  readonly outcome: string;
  readonly target: object;
}

const oddText = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constantFrom(
    '<img src=x onerror="alert(1)">',
    "{{7*7}}",
    "\u202eabc",
    "%",
    "../../etc/passwd",
    "__proto__",
    "-1",
    "x".repeat(2000),
  ),
);

/** So many steps, most of them clicks. */
function stepsOf(count: number): fc.Arbitrary<readonly Step[]> {
  const often = ["link", "link", "link", "button", "button", "button", "type", "type"] as const;
  const step = fc.record({
    kind: fc.constantFrom(...often, "place", "back", "reload", "escape"),
    pick: fc.nat(10_000),
    text: oddText,
  });
  return fc.array(step, { minLength: count, maxLength: count });
}

const browserless = describe.skipIf(browserMissing.length > 0);

browserless(`the web console (${browserNote})`, () => {
  let chrome: Browser;

  beforeAll(async () => {
    chrome = await startBrowser();
  });
  afterAll(() => chrome?.close());
  afterEach(async () => {
    const node = consoles.region.node(0);
    if (node.running) node.signal("SIGCONT");
    else await node.start();
  });

  test("shows each role the pages and the buttons for what it may do, and no others", async () => {
    const found: Record<string, unknown> = {};
    const wanted: Record<string, unknown> = {};
    for (const { kind, secret, bounds } of people) {
      await using opened = await openPage(chrome);
      const { page, told } = opened;
      await enter(page, consoles.origins[0], "/", secret);
      const menu = page.getByRole("navigation", { name: "Pages", exact: true }).getByRole("link");
      found[kind] = await menu.allTextContents();
      const mayRead = (one: (typeof pages)[number]) => mayCall(contract[one.reads], bounds);
      const shown = pages.filter((one) => one.menu && mayRead(one));
      const refused = pages.find((one) => !mayRead(one));
      wanted[kind] = ["Overview", ...shown.map(({ title }) => title)];
      for (const one of pages.filter((each) => mayRead(each) || each === refused)) {
        const at = `${kind} at ${one.path}`;
        await show(page, filled(one.path), one.title);
        const buttons = (await page.evaluate(
          '[...document.querySelectorAll("main [data-operation]")].map((one) => one.dataset.operation)',
        )) as readonly string[];
        found[at] = [...new Set(buttons)].toSorted();
        wanted[at] = await buttonsOf(one, bounds, page);
      }
      expect(told, kind).toEqual([]);
    }
    expect(found).toEqual(wanted);
  });

  test.each(["before it reads the request", "after it carried the request out"])(
    "makes one instance, once, if its node is killed %s while the form is sent",
    async (when) => {
      const { region, origins } = consoles;
      const node = region.node(0);
      const name = when.startsWith("before") ? "killed-before" : "killed-after";
      await using opened = await openPage(chrome);
      const { page } = opened;
      await enter(page, origins[0], "/instances", manager);
      await page.getByRole("button", { name: "Order instance" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByRole("textbox", { name: /^Name/ }).fill(name);
      const sends = dialog.getByRole("button", { name: "Order instance" });
      if (name === "killed-before") {
        node.signal("SIGSTOP");
        const sent = page.waitForRequest((request) => request.method() === "POST");
        await sends.click();
        await sent;
        await node.kill();
      } else {
        await killAfterAnswer(page, `${origins[0]}/v1/instances`);
        await sends.click();
      }
      await page.getByText("does not answer: the console continues with").waitFor();
      await page.getByRole("link", { name, exact: true }).waitFor();
      await dialog.waitFor({ state: "detached" });
      const { items } = await client.call("listInstances", { query: {} });
      const made = items.filter((one) => one.name === name);
      expect(made).toHaveLength(1);
      expect(await successes("service.create", String(made[0]?.id))).toBe(1);
    },
  );

  test("makes one token, once, if its node is killed before the answer, and says that the secret is lost", async () => {
    const { origins } = consoles;
    await using opened = await openPage(chrome);
    const { page } = opened;
    await enter(page, origins[0], "/access/tokens", manager);
    await page.getByRole("button", { name: "Create token" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: /^Name/ }).fill("killed");
    await dialog.getByLabel("viewer").check();
    await killAfterAnswer(page, `${origins[0]}/v1/tokens`);
    await dialog.getByRole("button", { name: "Create token" }).click();
    await dialog.getByRole("alert").waitFor();
    expect(await dialog.getByRole("alert").textContent()).toContain("secret");
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("does not answer: the console continues with").waitFor();
    const { items } = await client.call("listTokens", { query: {} });
    const made = items.filter(({ name }) => name === "killed");
    expect(made).toHaveLength(1);
    expect(await successes("token.create", String(made[0]?.id))).toBe(1);
  });

  /** Lets the first node carry out a POST, and kills it before the browser has the answer. */
  async function killAfterAnswer(page: Page, url: string): Promise<void> {
    await page.route(url, async (route) => {
      if (route.request().method() !== "POST") return await route.continue();
      await until("the node carries it out", async () => {
        const answer = await route.fetch();
        return answer.ok() || (await answer.text());
      });
      await consoles.region.node(0).kill();
      await route.abort("connectionreset");
    });
  }

  /** How often the trail says that this was done to what has the identifier, once it says so. */
  async function successes(action: string, id: string): Promise<number> {
    const events = async (): Promise<readonly Done[]> => {
      const all: Done[] = [];
      for await (const event of client.items("listEvents", { query: { limit: 1000 } })) {
        all.push(event as Done);
      }
      return all.filter(({ action: what, outcome, target }) => {
        const isIt = what.endsWith(action) && JSON.stringify(target).includes(id);
        return isIt && outcome === "success";
      });
    };
    await until("the trail has it", async () => (await events()).length > 0);
    return (await events()).length;
  }

  test("asks for the identifier before it revokes a key, and says what that means and who fetched it", async () => {
    await using opened = await openPage(chrome);
    const { page, told } = opened;
    await enter(page, consoles.origins[0], filled("/instances/{instance}/keys/{key}"), manager);
    await page.getByRole("button", { name: "Revoke key" }).click();
    const dialog = page.getByRole("dialog");
    const sends = dialog.getByRole("button", { name: "Revoke key" });
    await dialog.getByText("cannot be undone").waitFor();
    await dialog.locator("[data-fetched]").getByText("The trails have no fetch of it").waitFor();
    await dialog.getByLabel(/^Reason/).selectOption("KeyCompromise");
    expect(await sends.isDisabled()).toBe(true);
    expect(await unfitParts(page)).toEqual([]);
    await dialog.getByLabel("To confirm").fill(named.key);
    expect(await sends.isDisabled()).toBe(false);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    expect(told).toEqual([]);
  });

  test("fits at a zoom of 200 %, and moves nothing for people who do not want that", async () => {
    await using opened = await openPage(chrome, {
      // What a browser of 1280 by 900 pixels has at 200 %.
      viewport: { width: 640, height: 450 },
      deviceScaleFactor: 2,
      reducedMotion: "reduce",
    });
    const { page, told } = opened;
    await enter(page, consoles.origins[0], "/", manager);
    for (const { path, title } of pages) {
      await show(page, filled(path), title);
      const wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      expect(wider, `${path}: pixels too wide`).toBeLessThanOrEqual(0);
      expect(await page.evaluate("document.getAnimations().length"), path).toBe(0);
    }
    await show(page, "/instances", "Instances");
    await page.getByRole("button", { name: "Order instance" }).click();
    const dialog = page.getByRole("dialog");
    const sends = dialog.getByRole("button", { name: "Order instance" });
    await sends.scrollIntoViewIfNeeded();
    expect(
      await page.evaluate("document.documentElement.scrollWidth - innerWidth"),
    ).toBeLessThanOrEqual(0);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    // While something loads, a spinner is there, and stands still.
    const release = await holdRequests(page, "**/v1/tokens**");
    await page.evaluate('location.hash = "/access/tokens"');
    await page.getByText("Loading…").first().waitFor();
    expect(await page.evaluate("document.getAnimations().length")).toBe(0);
    release();
    await page.getByText("Loading…").first().waitFor({ state: "detached" });
    expect(told).toEqual([]);
  });

  /** Compares the counters of the page with those of REST, where it shows some. */
  async function agrees(page: Page): Promise<void> {
    const isOwn = page.url().endsWith("/console/#/instances/own");
    if (!isOwn || (await page.locator("main .table-vertical").count()) === 0) return;
    const params = { instance: "own" };
    const { keys, certificates, users } = await client.call("readInstance", { params });
    const shown = () => page.evaluate(countersShown);
    await expect.poll(shown).toEqual({ keys, certificates, users });
  }

  test("survives a random walk: no error, no secret in the page, its counters are those of REST, and it still works", async () => {
    await fc.assert(
      fc.asyncProperty(stepsOf(60), async (steps) => {
        await using opened = await openPage(chrome);
        const { page, told } = opened;
        await enter(page, consoles.origins[0], "/", manager);
        const walk = explorer(page, consoles.origins[0]);
        for (const step of steps) {
          await walk(step);
          expect(told, JSON.stringify(step)).toEqual([]);
          expect(await page.content(), JSON.stringify(step)).not.toContain(manager);
          await agrees(page);
        }
        await page.keyboard.press("Escape");
        await page.goto(`${consoles.origins[0]}/console/#/instances`);
        await page.getByRole("link", { name: "own", exact: true }).waitFor();
        await page.getByRole("button", { name: "Sign out" }).waitFor();
        const { items } = await client.call("listInstances", { query: {} });
        expect(await page.locator("main .rows tbody tr").count()).toBe(items.length);
        await show(page, "/instances/own", "Instance");
        await page.locator("main .table-vertical").waitFor();
        await agrees(page);
        expect(told).toEqual([]);
      }),
      { seed, numRuns: 1, endOnFailure: true },
    );
  });
});
