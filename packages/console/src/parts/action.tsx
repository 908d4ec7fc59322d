import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { call } from "../base/api.ts";
import { commandLine } from "../base/command-line.ts";
import { findRegions, knowsRegions } from "../base/known-regions.ts";
import { may } from "../base/may.ts";
import { hold, link } from "../base/router.ts";
import { words } from "../base/text.ts";
import { type Action, ActionModel, actionText, confirmedBy, type Given } from "./action-model.ts";
import { Copied, save } from "./copy.tsx";
import { Row } from "./field-row.tsx";
import { ObjectFields } from "./fields.tsx";
import { Modal } from "./modal.tsx";
import { Failure, Notice } from "./notices.tsx";
import { columnOf, Rows } from "./rows.tsx";
import { Fields } from "./value.tsx";

/** Asks for what an operation needs, carries it out, and shows what happened. */
export function ActionDialog({
  action,
  close,
  done,
  children,
}: {
  action: Action;
  close: () => void;
  done: (answer: Given) => void;
  /** What a person should know before the fields. */
  children?: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const model = useMemo(
    () =>
      new ActionModel(action, (answer) => {
        done(answer);
        close();
      }),
    [action],
  );
  useEffect(() => {
    // What went wrong is at the top, and the buttons are at the bottom.
    if (model.error.value !== undefined) dialog.current?.scrollTo({ top: 0 });
  }, [model.error.value]);
  const isOver = model.answer.value !== undefined;
  // Neither an answer on its way nor a secret that is shown once may be lost.
  const stays = () => model.busy.peek() || model.answer.peek() !== undefined;
  // It ends before the address does that `done` goes to.
  useLayoutEffect(() => hold(stays), [model]);
  return (
    <Modal dialog={dialog} kind="action" labelledBy="action-title" stays={stays} close={close}>
      <form
        method="dialog"
        class="clr-form clr-form-vertical"
        onSubmit={(event) => {
          event.preventDefault();
          void model.carryOut(false);
        }}
      >
        <h2 id="action-title">{actionText(action.name)}</h2>
        {isOver ? <Outcome model={model} /> : <Form model={model}>{children}</Form>}
        <div class="buttons">
          {isOver ? (
            <button type="button" class="btn btn-primary" onClick={() => model.finish()}>
              Close
            </button>
          ) : (
            <Buttons model={model} close={close} />
          )}
        </div>
      </form>
    </Modal>
  );
}

/** The fields of an operation, and what the service said to them. */
function Form({ model, children }: { model: ActionModel; children: ComponentChildren }) {
  const { action, operation, error, checked } = model;
  const { query, body, command } = operation;
  useRegionsOf(command.roots === undefined ? undefined : action.params["instance"]);
  return (
    <>
      <p>{operation.summary}</p>
      {action.target === "" ? null : (
        <p>
          This concerns <b class="text">{action.target}</b>.
        </p>
      )}
      {error.value === undefined ? null : <Failure error={error.value} />}
      {children}
      {model.missing.map((name) => (
        <Labelled
          key={name}
          id={`param-${name}`}
          label={words(name)}
          value={model.params.value[name] ?? ""}
          change={(text) => {
            model.params.value = { ...model.params.value, [name]: text };
          }}
          required
          list={name === "instance" ? instanceList : undefined}
        />
      ))}
      {model.missing.includes("instance") ? <InstanceNames /> : null}
      {[query, body].map((schema, at) =>
        schema === undefined ? null : (
          <ObjectFields
            key={at}
            schema={schema}
            id={`field-${at}`}
            value={model.given.value}
            change={(given) => model.change(given)}
            hidden={model.hidden}
            secrets={command.secrets ?? []}
          />
        ),
      )}
      <Confirmation model={model} />
      <Approval model={model} />
      {checked.value ? (
        <Notice tone="success">Checked: the service would do this. Nothing was changed.</Notice>
      ) : null}
      <details>
        <summary>The same on the command line</summary>
        <Copied text={commandOf(model)} what="the command" block />
      </details>
    </>
  );
}

/** Makes all regions known: a token that may not read the status of the service may read those of its instance. */
function useRegionsOf(instance: string | undefined): void {
  useEffect(() => {
    if (instance === undefined || knowsRegions.peek()) return;
    return findRegions(async () => {
      return Object.keys((await call("readInstance", { params: { instance } })).regions);
    });
  }, [instance]);
}

/** Asks a person to type again what an operation is done to that nobody can take back. */
function Confirmation({ model }: { model: ActionModel }) {
  const of = confirmedBy(model.action.name);
  if (of === undefined) return null;
  return (
    <>
      {model.insists.value ? (
        <Notice tone="warning">
          The service has refused this. If you send it again, it is done all the same.
        </Notice>
      ) : null}
      <Labelled
        id="confirmation"
        label={`To confirm, type ${of} again: ${model.action.target}`}
        value={model.typed.value}
        change={(text) => {
          model.typed.value = text;
        }}
        required
      />
    </>
  );
}

/** The approved request, where the policy asks for one. */
function Approval({ model: { action, operation, approval } }: { model: ActionModel }) {
  if (operation.guarded === undefined) return null;
  const id = approval.value;
  return (
    <details open={id !== ""}>
      <summary>Approvals</summary>
      {id === "" || id === action.approval ? null : (
        <p>
          This needs approvals.{" "}
          <a
            href={link("/access/approvals/{approval}", { approval: id })}
            target="_blank"
            rel="noopener"
          >
            Show the request in a new tab
          </a>
          . Once it is approved, carry it out here or there: that page fills in this form again.
        </p>
      )}
      <Labelled
        id="approval"
        label="Approved request, if the approval policy asks for one"
        value={id}
        change={(text) => {
          approval.value = text;
        }}
      />
    </details>
  );
}

/** The same on the command line, with the approved request if there is one. */
function commandOf({ operation, request, approval }: ActionModel): string {
  const id = approval.value.trim();
  return `${commandLine(operation, request)}${/^[\da-f-]+$/.test(id) ? ` --approval ${id}` : ""}`;
}

function Labelled({
  id,
  label,
  value,
  change,
  required = false,
  list,
}: {
  id: string;
  label: string;
  value: string;
  change: (text: string) => void;
  required?: boolean;
  /** The identifier of the suggestions. */
  list?: string | undefined;
}) {
  return (
    <Row id={id} label={label} required={required}>
      <input
        id={id}
        list={list}
        class="clr-input"
        required={required}
        autocomplete="off"
        value={value}
        onInput={(event) => change(event.currentTarget.value)}
      />
    </Row>
  );
}

const instanceList = "instance-names";

/** Suggests the names of instances; any other one may be typed too. */
function InstanceNames() {
  const names = useSignal<readonly string[]>([]);
  useEffect(() => {
    if (!may("listInstances")) return;
    // Without suggestions the field works all the same.
    void call("listInstances", { query: { limit: 200 } }).then(
      ({ items }) => {
        names.value = items.map(({ name }) => name);
      },
      () => undefined,
    );
  }, []);
  return (
    <datalist id={instanceList}>
      {names.value.map((name) => (
        <option key={name} value={name} />
      ))}
    </datalist>
  );
}

function Buttons({ model, close }: { model: ActionModel; close: () => void }) {
  const { action, operation, busy } = model;
  const isRisky = model.confirms || operation.method === "DELETE";
  return (
    <>
      <button type="button" class="btn btn-outline" disabled={busy.value} onClick={close}>
        Cancel
      </button>
      {operation.dryRun === true ? (
        <button
          type="button"
          class="btn btn-outline"
          disabled={!model.mayGo}
          onClick={() => void model.carryOut(true)}
        >
          Check first
        </button>
      ) : null}
      <button
        type="submit"
        class={isRisky ? "btn btn-danger" : "btn btn-primary"}
        disabled={!model.mayGo}
      >
        {busy.value ? "Working…" : actionText(action.name)}
      </button>
    </>
  );
}

/** What an operation has found or made; secrets and certificates have buttons to copy and save them. */
function Outcome({ model }: { model: ActionModel }) {
  const { command, shownOnce } = model.operation;
  const answer = model.answer.value ?? {};
  const outputs = (command.output ?? []).flatMap(({ field, option }) => {
    const text = answer[field];
    return typeof text === "string" ? [{ field, option, text }] : [];
  });
  const { warning, items, ...others } = answer;
  const fields = new Set(outputs.map(({ field }) => field));
  const rest = Object.entries(others).filter(([field]) => !fields.has(field) && field !== "next");
  return (
    <>
      <Notice tone={warning === undefined ? "success" : "warning"}>
        {warning === undefined ? "Done." : String(warning)}
        {shownOnce === true ? " Save what follows now: it is shown only once." : ""}
      </Notice>
      {outputs.map(({ field, option, text }) => (
        <section key={field}>
          <h3>{words(field)}</h3>
          <Copied text={text} what={words(field)} block />
          <button
            type="button"
            class="btn btn-sm btn-outline"
            onClick={() =>
              save(text, `${model.action.target || "holdfast"}.${option.replace(/-out$/, "")}`)
            }
          >
            Save as a file
          </button>
        </section>
      ))}
      {Array.isArray(items) ? <Found items={items} model={model} /> : null}
      <div class="scrolled">
        <Fields of={Object.fromEntries(rest)} />
      </div>
    </>
  );
}

/** A list that an operation has found. */
function Found({ items, model }: { items: readonly Given[]; model: ActionModel }) {
  const { columns = [], of = "items" } = model.operation.command.list ?? {};
  const { error, busy } = model;
  const more = model.answer.value?.["next"] !== undefined;
  return (
    <>
      {items.length > 0 ? null : <p>{more ? `No ${of} so far.` : `No ${of}.`}</p>}
      {items.length === 0 ? null : (
        <Rows items={items} columns={columns.map(columnOf)} href={() => undefined} />
      )}
      {error.value === undefined ? null : <Failure error={error.value} />}
      {more ? (
        <button
          type="button"
          class="btn btn-sm"
          disabled={busy.value}
          onClick={() => void model.more()}
        >
          Show more
        </button>
      ) : null}
    </>
  );
}
