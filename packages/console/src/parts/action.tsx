import { useEffect, useMemo, useRef } from "preact/hooks";
import { commandLine } from "../base/command-line.ts";
import { link } from "../base/router.ts";
import { words } from "../base/text.ts";
import { type Action, ActionModel, actionText, type Given } from "./action-model.ts";
import { Copied, save } from "./copy.tsx";
import { ObjectFields } from "./fields.tsx";
import { Failure, Notice } from "./notices.tsx";
import { Fields } from "./value.tsx";

/** Asks for what an operation needs, carries it out, and shows what happened. */
export function ActionDialog({
  action,
  close,
  done,
}: {
  action: Action;
  close: () => void;
  done: (answer: Given) => void;
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
    dialog.current?.showModal();
  }, []);
  const isOver = model.answer.value !== undefined;
  return (
    <dialog ref={dialog} class="action" aria-labelledby="action-title" onClose={close}>
      <form
        method="dialog"
        class="clr-form clr-form-vertical"
        onSubmit={(event) => {
          event.preventDefault();
          void model.carryOut(false);
        }}
      >
        <h2 id="action-title">{actionText(action.name)}</h2>
        {isOver ? <Outcome model={model} /> : <Form model={model} />}
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
    </dialog>
  );
}

/** The fields of an operation, and what the service said to them. */
function Form({ model }: { model: ActionModel }) {
  const { operation, error, confirms, approval, checked } = model;
  const { query, body, command } = operation;
  return (
    <>
      <p>{operation.summary}</p>
      {error.value === undefined ? null : <Failure error={error.value} />}
      {confirms.value ? (
        <Notice tone="warning">To confirm, type {command.confirm?.of} again.</Notice>
      ) : null}
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
      {approval.value === "" ? null : (
        <Notice tone="info">
          This needs approvals.{" "}
          <a href={link("/access/approvals/{approval}", { approval: approval.value })}>
            Show the request
          </a>
          . Once it is approved, carry it out here.
        </Notice>
      )}
      {checked.value ? (
        <Notice tone="success">Checked: the service would do this. Nothing was changed.</Notice>
      ) : null}
      <details>
        <summary>The same on the command line</summary>
        <Copied text={commandLine(operation, model.request)} what="the command" block />
      </details>
    </>
  );
}

function Buttons({ model, close }: { model: ActionModel; close: () => void }) {
  const { action, operation, busy } = model;
  const isRisky = operation.command.confirm !== undefined || operation.method === "DELETE";
  return (
    <>
      <button type="button" class="btn btn-outline" onClick={close}>
        Cancel
      </button>
      {operation.dryRun === true ? (
        <button
          type="button"
          class="btn btn-outline"
          disabled={busy.value}
          onClick={() => void model.carryOut(true)}
        >
          Check first
        </button>
      ) : null}
      <button
        type="submit"
        class={isRisky ? "btn btn-danger" : "btn btn-primary"}
        disabled={busy.value}
      >
        {busy.value ? "Working…" : actionText(action.name)}
      </button>
    </>
  );
}

/** What an operation has made: secrets and certificates, each with buttons to copy and save it. */
function Outcome({ model }: { model: ActionModel }) {
  const { command, shownOnce } = model.operation;
  const answer = model.answer.value ?? {};
  const outputs = (command.output ?? []).flatMap(({ field, option }) => {
    const text = answer[field];
    return typeof text === "string" ? [{ field, option, text }] : [];
  });
  const fields = new Set(outputs.map(({ field }) => field));
  const rest = Object.entries(answer).filter(([field]) => !fields.has(field));
  const { warning } = answer;
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
            onClick={() => save(text, option.replace(/-out$/, ".txt"))}
          >
            Save as a file
          </button>
        </section>
      ))}
      <Fields of={Object.fromEntries(rest)} />
    </>
  );
}
