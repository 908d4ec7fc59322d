import { useEffect } from "preact/hooks";
import {
  asked,
  call,
  findSession,
  findWho,
  hasSwitches,
  hostOf,
  mustSignIn,
  notice,
  signIn,
  signOut,
  who,
} from "./base/api.ts";
import { operations, type Who } from "./base/contract.ts";
import { findRegions, knowsRegions, regions } from "./base/known-regions.ts";
import { may } from "./base/may.ts";
import { mayCall } from "./base/may-call.ts";
import { link, linkPath, place, replace, unusedLinks } from "./base/router.ts";
import { toggleTheme } from "./base/theme.ts";
import { ReadBy } from "./pages/commands.tsx";
import { Connect } from "./pages/connect.tsx";
import { Order, orderPath } from "./pages/order/order.tsx";
import { Overview } from "./pages/overview.tsx";
import { connectPage, pages } from "./pages/pages.ts";
import { pageAt, ResourcePage } from "./pages/resource.tsx";
import { SignIn, SignInLayer, signInError } from "./pages/sign-in.tsx";
import { failureSentence } from "./pages/sign-in-failures.ts";
import { Watch, watchPath } from "./pages/watch.tsx";
import { Loading, messageOf, Notice } from "./parts/notices.tsx";

/** How often an open console asks whether its session still counts. */
const sessionEveryMs = 10_000;

const linkUnused =
  "The link was not used, since a secret is open here: sign in with a token, or open the link in another tab.";

/** The whole console. */
export function App() {
  const { path } = place.value;
  useEffect(() => {
    if (who.peek() === undefined || path !== linkPath) return;
    takeFailure();
    const code = takeCode();
    if (code !== undefined && (who.peek() === null || mustSignIn.peek())) void enter(code);
  }, [path]);
  useEffect(() => {
    if (unusedLinks.value > 0 && mustSignIn.peek()) signInError.value = linkUnused;
  }, [unusedLinks.value]);
  useEffect(() => {
    void start();
    const timer = setInterval(() => {
      if (who.peek() && !mustSignIn.peek()) void findWho().catch(() => undefined);
    }, sessionEveryMs);
    return () => clearInterval(timer);
  }, []);
  if (who.value === undefined) {
    return (
      <main id="content">
        {notice.value === "" ? <Loading /> : <Notice tone="warning">{notice.value}</Notice>}
      </main>
    );
  }
  if (who.value === null) return <SignIn />;
  // Another person who signs in finds nothing of what this one had open.
  return (
    <>
      <Inside key={who.value.name} person={who.value} />
      {mustSignIn.value ? <SignInLayer name={who.value.name} /> : null}
    </>
  );
}

const againMs = 2000;

/** Takes why a sign-in at the identity provider failed out of the address, and goes back to where the person was. */
function takeFailure(): void {
  const { path, query } = place.peek();
  const { failure, place: before = "/" } = query;
  if (path !== linkPath || failure === undefined) return;
  signInError.value = new Error(failureSentence(failure));
  replace(`#${before}`);
}

/** Takes the code of a link out of the address: it must not stay in the history. */
function takeCode(): string | undefined {
  const { path, query } = place.peek();
  if (path !== linkPath) return undefined;
  replace("#/");
  return query["code"] ?? "";
}

async function start(): Promise<void> {
  takeFailure();
  const code = takeCode();
  for (;;) {
    try {
      await findSession();
      notice.value = "";
      // A person who is signed in stays signed in: the link could be another person's.
      if (code !== undefined && who.value === null) await enter(code);
      return;
    } catch (error) {
      notice.value = messageOf(error);
      await new Promise((resolve) => setTimeout(resolve, againMs));
    }
  }
}

async function enter(code: string): Promise<void> {
  try {
    await signIn({ code });
  } catch (error) {
    signInError.value = error;
    who.value ??= null;
  }
}

function Inside({ person }: { person: Who }) {
  useEffect(() => {
    regions.value = [person.region];
    knowsRegions.value = false;
    if (!mayCall(operations.readStatus, person)) return;
    return findRegions(async () => {
      const { region, peers } = await call("readStatus", {});
      return [region, ...peers.map((peer) => peer.region)];
    });
  }, [person.name]);
  return (
    <div class="main-container">
      <button
        type="button"
        class="skip"
        onClick={() => document.getElementById("content")?.focus()}
      >
        Skip to the content
      </button>
      <Header person={person} />
      {notice.value === "" ? null : (
        <Notice tone="warning">
          {notice.value}{" "}
          <button
            type="button"
            class="btn btn-sm btn-primary"
            onClick={() => {
              notice.value = "";
            }}
          >
            OK
          </button>
        </Notice>
      )}
      <div class="content-container">
        <Menu person={person} />
        <main class="content-area" id="content" tabIndex={-1}>
          <Content />
        </main>
      </div>
    </div>
  );
}

function Header({ person }: { person: Who }) {
  return (
    <header class="header header-6">
      <div class="branding">
        <a href="#/" class="nav-link">
          <span class="title">Holdfast</span>
        </a>
      </div>
      <div class="header-actions">
        <span class="nav-text">
          {person.name} ({person.roles.join(", ")}) at {hostOf(asked.value)}
        </span>
        <button type="button" class="btn btn-sm btn-inverse" onClick={toggleTheme}>
          Light or dark
        </button>
        <button type="button" class="btn btn-sm btn-inverse" onClick={() => void signOut()}>
          Sign out
        </button>
      </div>
    </header>
  );
}

/** Whether the person may break the parts of a development cluster. */
function mayBreak({ roles, instances }: Who): boolean {
  return hasSwitches.value && roles.includes("manager") && instances === undefined;
}

/** The pages that this person may read. */
function Menu({ person }: { person: Who }) {
  const shown = pages.filter(({ menu, reads }) => menu && mayCall(operations[reads], person));
  const watch = mayBreak(person) ? [{ path: watchPath, title: "Watch it survive" }] : [];
  const rows = [{ path: "/", title: "Overview" }, ...watch, ...shown];
  const { path: here } = place.value;
  const isAt = (path: string) => here === path || (path !== "/" && here.startsWith(`${path}/`));
  return (
    <nav class="clr-vertical-nav" aria-label="Pages">
      <div class="nav-content">
        {rows.map(({ path, title }) => (
          <a
            key={path}
            class={`nav-link ${isAt(path) ? "active" : ""}`}
            aria-current={here === path ? "page" : undefined}
            href={link(path)}
          >
            {title}
          </a>
        ))}
      </div>
    </nav>
  );
}

function Content() {
  const { path } = place.value;
  if (path === "/") {
    return (
      <>
        <Overview />
        <ReadBy names={["readStatus", "runChecks"]} />
      </>
    );
  }
  if (path === watchPath && mayBreak(who.value as Who)) return <Watch />;
  if (path === orderPath && may("createInstance")) return <Order />;
  const connect = pageAt([connectPage], path);
  // Nothing of one instance or key stays on the page of another one.
  if (connect !== undefined) {
    return (
      <>
        <Connect key={path} params={connect[1]} />
        <ReadBy
          names={["readInstance", "listServerCertificates", "listCertificates", "listRefused"]}
          params={connect[1]}
        />
      </>
    );
  }
  const found = pageAt(pages, path);
  if (found !== undefined) {
    const [page, params] = found;
    return <ResourcePage key={path} page={page} params={params} />;
  }
  return (
    <>
      <h1>Not found</h1>
      <p>
        The console has no page {path}. <a href={link("/")}>Go to the overview</a>.
      </p>
    </>
  );
}
