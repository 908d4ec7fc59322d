import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { mustSignIn } from "../base/api.ts";
import { commandLine } from "../base/command-line.ts";
import { type OperationName, operations } from "../base/contract.ts";
import { regions } from "../base/known-regions.ts";
import { may } from "../base/may.ts";
import { go, link, match, place } from "../base/router.ts";
import { timeText, valueAt } from "../base/text.ts";
import { ActionDialog } from "../parts/action.tsx";
import { type Action, actionText, confirmedBy } from "../parts/action-model.ts";
import { Copied } from "../parts/copy.tsx";
import { Failure, Loading, Notice } from "../parts/notices.tsx";
import { columnOf, Rows } from "../parts/rows.tsx";
import { Fields } from "../parts/value.tsx";
import { useNamed } from "./extras/event-names.ts";
import { extrasAbove, extrasBelow } from "./extras/extras.tsx";
import { KeyUse } from "./extras/key-events.tsx";
import { Loss } from "./extras/loss.tsx";
import { useSuggestions } from "./extras/suggestions.ts";
import { Filters, isFiltered } from "./filters.tsx";
import { allowedIn, connectPage, instancePages, type Page } from "./pages.ts";
import { type Item, type Params, ResourceModel, said } from "./resource-model.ts";

/** A page of the table: what its operation reads, and buttons for what a person may do. */
export function ResourcePage({ page, params }: { page: Page; params: Params }) {
  const { query, path } = place.value;
  const at = JSON.stringify([params, query]);
  const model = useMemo(() => new ResourceModel(page, params, query), [at]);
  const operation = operations[page.reads];
  const tries = useSignal(0);
  const again = () => {
    tries.value += 1;
  };
  useEffect(() => {
    if (mustSignIn.peek()) return;
    document.title = `${page.title} – Holdfast`;
    void model.load();
    const ending = new AbortController();
    if (page.live === true) void model.follow(ending.signal);
    return () => ending.abort();
  }, [
    model,
    tries.value,
    mustSignIn.value,
    // Where every node is asked, a region that becomes known may be missing.
    page.ofNodes === undefined ? 0 : regions.value.length,
  ]);
  useEffect(
    () => () => {
      if (said.peek().path === path) said.value = { text: "", path: "" };
    },
    [model],
  );
  const { action, error } = model;
  const Above = extrasAbove[page.path];
  const Below = extrasBelow[page.path];
  const suggestions = useSuggestions(page, params, model.items.value);
  return (
    <>
      <Heading page={page} params={params} />
      {error.value === undefined ||
      model.items.value !== undefined ||
      model.thing.value !== undefined ? (
        <Toolbar page={page} model={model} />
      ) : null}
      {model.missing.value === "" ? null : <Notice tone="warning">{model.missing.value}</Notice>}
      {said.value.path === path ? <Notice tone="success">{said.value.text}</Notice> : null}
      {Above === undefined ? null : <Above model={model} params={params} query={query} />}
      <Filters schema={operation.query} query={query} path={path} suggestions={suggestions} />
      {error.value === undefined ? null : <Failure error={error.value} again={again} />}
      <LiveState model={model} again={again} />
      <Content page={page} params={params} model={model} />
      {Below === undefined ? null : <Below model={model} params={params} query={query} />}
      <details>
        <summary>The same on the command line</summary>
        <Copied text={commandLine(operation, { params, query })} what="the command" block />
      </details>
      {action.value === undefined ? null : <Begun model={model} action={action.value} />}
    </>
  );
}

/** Says whether new events are added, on a page that adds them. */
function LiveState({ model, again }: { model: ResourceModel; again: () => void }) {
  const live = model.live.value;
  if (live === undefined) return null;
  if (live.isLive) return <p role="status">Live: events are added as they happen.</p>;
  return (
    <Notice tone="warning">
      Not live since {timeText(live.since)}: events that happen now are missing.{" "}
      <button type="button" class="btn btn-sm btn-primary" onClick={again}>
        Follow again
      </button>
    </Notice>
  );
}

/** The dialog of what a person has begun, with what they should know first. */
function Begun({ model, action }: { model: ResourceModel; action: Action }) {
  const { name, params, thing } = action;
  return (
    <ActionDialog
      action={action}
      close={() => {
        model.action.value = undefined;
      }}
      done={(answer) => model.done(action, answer)}
    >
      {loses.includes(name) ? (
        <Loss instance={params["instance"] ?? ""} isDeletion={name === "deleteInstance"} />
      ) : null}
      {losesKey.includes(name) ? (
        <KeyUse params={params} item={thing ?? {}} isRevocation={name === "revokeKey"} />
      ) : null}
    </ActionDialog>
  );
}

/** Operations after which keys of an instance cannot be read. */
const loses: readonly OperationName[] = ["deleteInstance", "shredInstance"];
/** Operations after which vSphere refuses a key, or nobody can read it. */
const losesKey: readonly OperationName[] = ["revokeKey", "destroyKey"];
const none: readonly Item[] = [];

function isRisky(name: OperationName): boolean {
  return operations[name].method === "DELETE" || confirmedBy(name) !== undefined;
}

/** Whether a key's state allows an operation; the service decides in any case. */
function fits(name: OperationName, thing: Item | undefined): boolean {
  const states = allowedIn[name];
  if (name === "restoreKey") return thing?.["restorableUntil"] !== undefined;
  return states === undefined || states.includes(String(thing?.["state"]));
}

/** Buttons for what a person may do on the whole page. */
function Toolbar({ page, model }: { page: Page; model: ResourceModel }) {
  return (
    <div class="toolbar">
      {(page.actions ?? [])
        .filter((name) => may(name) && fits(name, model.thing.value))
        .map((name) => (
          <button
            key={name}
            data-operation={name}
            type="button"
            class={`btn btn-sm ${isRisky(name) ? "btn-danger-outline" : ""}`}
            onClick={() => model.begin(name)}
          >
            {actionText(name)}
          </button>
        ))}
      <button type="button" class="btn btn-sm btn-link" onClick={() => void model.load()}>
        Refresh
      </button>
    </div>
  );
}

function Content({ page, params, model }: { page: Page; params: Params; model: ResourceModel }) {
  const { items, thing, next, error } = model;
  const events = useNamed(page.live === true ? (items.value ?? none) : none);
  if (thing.value !== undefined) {
    return (
      <div class="scrolled">
        <Fields of={thing.value} />
      </div>
    );
  }
  if (items.value === undefined) return error.value === undefined ? <Loading /> : null;
  if (items.value.length === 0 && next.value === undefined) {
    return <Empty page={page} />;
  }
  const { columns = [], below = [] } = operations[page.reads].command.list ?? {};
  return (
    <>
      {items.value.length === 0 ? (
        <p>Nothing in this part of the list.</p>
      ) : (
        <Rows
          items={page.live === true ? events : items.value}
          columns={(page.columns ?? [...columns, ...below]).map(columnOf)}
          href={(item) => hrefOf(page, params, item)}
          actionsOf={rowActionsOf(page, params, model)}
        />
      )}
      <More model={model} />
    </>
  );
}

/** The way to the rows that follow. */
function More({ model }: { model: ResourceModel }) {
  const { next, busy, isCut } = model;
  return (
    <>
      {next.value === undefined ? null : (
        <button
          type="button"
          class="btn btn-sm"
          disabled={busy.value}
          onClick={() => void model.load(next.value)}
        >
          Show more
        </button>
      )}
      {isCut.value ? (
        <p>
          The list has only the newest of these events.{" "}
          <button type="button" class="btn btn-sm" onClick={() => void model.load()}>
            Read it again, with a way to older ones
          </button>
        </p>
      ) : null}
    </>
  );
}

/** A list without rows: what to do, or that its filters hide all of them. */
function Empty({ page }: { page: Page }) {
  const { query, path } = place.value;
  const { query: schema, command } = operations[page.reads];
  if (!isFiltered(schema, query)) return <p class="empty">{page.empty ?? "Nothing to show."}</p>;
  return (
    <p class="empty">
      No {command.list?.of ?? "rows"} fit these filters.{" "}
      <button type="button" class="btn btn-sm" onClick={() => go(link(path))}>
        Clear the filters
      </button>
    </p>
  );
}

/** Where a row leads. */
function hrefOf({ to, toIf }: Page, params: Params, item: Item): string | undefined {
  if (to === undefined || (toIf !== undefined && item[toIf] === "")) return undefined;
  return link(to[0], { ...params, ...picked(item, to[1]) });
}

/** Buttons for what a person may do with each row; undefined if there is nothing. */
function rowActionsOf({ rowActions = [] }: Page, params: Params, model: ResourceModel) {
  const allowed = rowActions.filter(({ name }) => may(name));
  if (allowed.length === 0) return undefined;
  return (item: Item) =>
    allowed
      .filter(({ when, is = true }) => when === undefined || item[when] === is)
      .map(({ name, params: fields = {}, given }) => (
        <button
          key={name}
          data-operation={name}
          type="button"
          class="btn btn-sm btn-link"
          onClick={() =>
            model.begin(name, {
              item,
              params: { ...params, ...picked(item, fields) },
              given: given?.(item),
            })
          }
        >
          {actionText(name)}
        </button>
      ));
}

/** Values of a row, by the names under which a path has them. */
function picked(item: Item, fields: Params): Params {
  return Object.fromEntries(
    Object.entries(fields).map(([name, path]) => [name, String(valueAt(item, path) ?? "")]),
  );
}

/** The title, and for an instance the tabs of its pages. */
export function Heading({ page, params }: { page: Pick<Page, "path" | "title">; params: Params }) {
  const { instance, ...own } = params;
  const [name] = Object.values(own);
  return (
    <>
      <h1>{name === undefined ? (instance ?? page.title) : `${page.title} ${name}`}</h1>
      {instance === undefined ? null : (
        <nav aria-label={`Pages of ${instance}`}>
          <ul class="nav">
            {[...instancePages, connectPage].map(({ path, title }) => (
              <li key={path} class="nav-item">
                <a
                  class={`nav-link ${page.path === path ? "active" : ""}`}
                  aria-current={page.path === path ? "page" : undefined}
                  href={link(path, params)}
                >
                  {title}
                </a>
              </li>
            ))}
          </ul>
        </nav>
      )}
    </>
  );
}

/** The page of a place, and the parameters in its path. */
export function pageAt<One extends { readonly path: string }>(
  all: readonly One[],
  path: string,
): readonly [One, Params] | undefined {
  for (const page of all) {
    const params = match(page.path, path);
    if (params !== undefined) return [page, params];
  }
  return undefined;
}
