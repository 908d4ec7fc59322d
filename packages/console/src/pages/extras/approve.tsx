import { callIn, readDocument } from "@holdfast/admin/approval-request";
import {
  approverName,
  cancelText,
  decoded,
  isReason,
  printableJson,
} from "@holdfast/admin/approval-text";
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { call } from "../../base/api.ts";
import type { AnswerOf, Schema } from "../../base/contract.ts";
import { may } from "../../base/may.ts";
import { place } from "../../base/router.ts";
import { useAttempt } from "../../base/work.ts";
import { createKey, isUsable, sha256, signText, unusable } from "../../parts/authenticator.ts";
import { Copied, save } from "../../parts/copy.tsx";
import { ObjectFields } from "../../parts/fields.tsx";
import { Failure, Notice } from "../../parts/notices.tsx";
import { said } from "../resource-model.ts";
import type { ExtraProps } from "./extra-props.ts";

type Policies = AnswerOf<"readApprovalPolicy">["items"];

/** A key that may sign here. */
interface Signer {
  readonly name: string;
  readonly key: string;
  readonly breakGlass: boolean;
}

/** Signs the request of the page with an approver's authenticator, and hands the signature in. */
export function SignRequest({ model, params }: ExtraProps) {
  const approval = params["approval"] ?? "";
  const request = model.thing.value as AnswerOf<"readApproval"> | undefined;
  const state = useLoaded(async () => {
    if (request?.state !== "open" && request?.state !== "approved") return undefined;
    const { document } = request;
    const read = readDocument(document, await sha256(callIn(document)));
    if (typeof read === "string") throw new Error(`The document of this request is ${read}.`);
    const { items } = await call("readApprovalPolicy", {});
    return { ...read, signers: signersIn(items) };
  }, request);
  if (state.value === undefined) return null;
  if (state.value instanceof Error) return <Failure error={state.value} />;
  const { text, call: asked, signers } = state.value;
  const handIn = async (line: string) => {
    await call("signApproval", { params: { approval }, body: { signatures: line } });
    done(model, "Signed.");
  };
  return (
    <Part title="Sign with an authenticator">
      <p>
        You sign exactly this text and this call. Read both. If you do not trust the node that
        serves this page, sign with <code>holdfast approval sign</code> on your own machine instead.
      </p>
      <pre class="block">{text}</pre>
      <pre class="block">{printableJson(asked)}</pre>
      <Signing text={text} signers={signers} handIn={handIn} mayHandIn={may("signApproval")} />
    </Part>
  );
}

/** The text of the version in effect: the next version is drafted after it. */
export function PolicyText({ model }: ExtraProps) {
  const { text } = model.beside.value;
  if (typeof text !== "string") return null;
  return (
    <details>
      <summary>The text in effect, for the draft of the next version</summary>
      <p>
        Save it as <code>before.txt</code>, and begin with{" "}
        <code>holdfast approval draft --after before.txt</code>.
      </p>
      <pre class="block">{text}</pre>
      <button type="button" class="btn btn-sm btn-outline" onClick={() => save(text, "before.txt")}>
        Save as a file
      </button>
    </details>
  );
}

/** Makes keys of approvers in authenticators, and signs policies with them. */
export function ApproverKeys({ model }: ExtraProps) {
  const policies = (model.items.value ?? []) as Policies;
  const signers = signersIn(policies);
  const waiting = policies.filter((one) => one.state === "waiting");
  const why = unusable();
  if (why !== undefined) {
    return (
      <Part title="Keys in authenticators">
        <Notice tone="info">{why}</Notice>
      </Part>
    );
  }
  return (
    <>
      <Part title="Make a key in an authenticator">
        <p>
          A security key, or this device with Windows Hello, makes and keeps the key. A key that
          your account copies to other devices is as safe as that account. The line that appears is
          public: give it to the person who writes the policy.
        </p>
        <MakeKey />
      </Part>
      <Part title="Sign a policy">
        <SignPolicy signers={signers} />
      </Part>
      {waiting.map(({ id, version, digest }) => (
        <Part key={id} title={`Cancel the change to version ${version} that waits`}>
          <Signing
            text={cancelText(digest, id)}
            signers={signers}
            mayHandIn={may("stopApprovalPolicy")}
            handIn={async (line) => {
              const body = { signatures: line };
              await call("stopApprovalPolicy", { params: { policy: id }, body });
              done(model, "Cancelled.");
            }}
          />
        </Part>
      ))}
    </>
  );
}

function MakeKey() {
  const given = useSignal<Readonly<Record<string, unknown>>>({});
  const line = useSignal("");
  return (
    <>
      <Asking
        fields={{ name: { ...nameField, description: "As policies and events show it." } }}
        given={given.value}
        change={(next) => {
          given.value = next;
        }}
        button="Make a key"
        work={async () => {
          const name = String(given.value["name"]);
          if (!approverName.test(name)) {
            throw new Error("Give a name of letters, digits, dots, hyphens, underscores or @.");
          }
          line.value = await createKey(name);
        }}
      />
      {line.value === "" ? null : <Copied text={line.value} what="the key" block />}
    </>
  );
}

const nameField: Schema = { type: "string", minLength: 1, maxLength: 64 };

/** Signs the text of a policy: with keys that it adds, or with those of the version in force. */
function SignPolicy({ signers }: { signers: readonly Signer[] }) {
  const given = useSignal<Readonly<Record<string, unknown>>>({});
  const text = `${String(given.value["policy"] ?? "")
    .replaceAll("\r", "")
    .trimEnd()}\n`;
  const isPolicy = text.startsWith("holdfast-approval-policy-1\n");
  const own = [...text.matchAll(/^(?:instance \S+ )?(approver|break-glass) (\S+) (\S+)$/gm)];
  const added = own.map(
    ([, kind, name = "", key = ""]): Signer => ({
      ...{ key, breakGlass: kind !== "approver" },
      name: `${decoded(name) ?? name}${signers.some((one) => one.key === key) ? "" : " (new)"}`,
    }),
  );
  return (
    <>
      <form class="clr-form clr-form-vertical">
        <ObjectFields
          id="policy"
          schema={{
            type: "object",
            properties: {
              policy: {
                type: "string",
                maxLength: 65_536,
                description: "The text that `holdfast approval draft` wrote. Read it: you sign it.",
              },
            },
          }}
          value={given.value}
          change={(next) => {
            given.value = next;
          }}
        />
      </form>
      {isPolicy ? <Signing text={text} signers={eachOnce([...added, ...signers])} /> : null}
      {isPolicy || text === "\n" ? null : (
        <Notice tone="warning">This is not the text of a policy.</Notice>
      )}
    </>
  );
}

/** Lets a person choose their key and sign a text; hands the signature in, or shows its line. */
function Signing({
  text,
  signers,
  handIn,
  mayHandIn = false,
}: {
  text: string;
  signers: readonly Signer[];
  handIn?: (line: string) => Promise<void>;
  mayHandIn?: boolean;
}) {
  const given = useSignal<Readonly<Record<string, unknown>>>({});
  const line = useSignal("");
  useEffect(() => {
    line.value = "";
  }, [text]);
  const usable = signers.filter(({ key }) => isUsable(key));
  const signer = usable.find(({ name }) => name === given.value["approver"]);
  if (usable.length === 0) {
    return (
      <Notice tone="info">
        {unusable() ?? "No authenticator's key for this site may sign this."} Keys in files sign
        with <code>holdfast approval sign</code>.
      </Notice>
    );
  }
  const names = usable.map(({ name }) => name);
  const reasonField = { description: "Why the break-glass key is used.", maxLength: 256 };
  const sign = async () => {
    if (signer === undefined) return;
    const reason = signer.breakGlass ? String(given.value["reason"]).trim() : undefined;
    if (reason !== undefined && !isReason(reason)) throw new Error("Give the reason in one line.");
    const made = await signText(text, signer.key, reason);
    if (handIn !== undefined && mayHandIn) await handIn(made);
    else line.value = made;
  };
  return (
    <>
      <Asking
        fields={{
          approver: { type: "string", enum: names },
          ...(signer?.breakGlass === true ? { reason: { type: "string", ...reasonField } } : {}),
        }}
        given={given.value}
        change={(next) => {
          given.value = next;
        }}
        button="Sign"
        work={sign}
      />
      {line.value === "" ? null : <Signed line={line.value} name={signer?.name ?? "approver"} />}
    </>
  );
}

/** A signature that its signer hands to somebody. */
function Signed({ line, name }: { line: string; name: string }) {
  return (
    <>
      <Notice tone="success">Signed. Hand in this line with those of the others.</Notice>
      <Copied text={line} what="the signature" block />
      <button
        type="button"
        class="btn btn-sm btn-outline"
        onClick={() => save(`${line}\n`, `${name}.sig`)}
      >
        Save as a file
      </button>
    </>
  );
}

/** A form with one button, which says what went wrong. */
function Asking({
  fields,
  given,
  change,
  button,
  work,
}: {
  fields: Readonly<Record<string, Schema>>;
  given: Readonly<Record<string, unknown>>;
  change: (given: Readonly<Record<string, unknown>>) => void;
  button: string;
  work: () => Promise<void>;
}) {
  const { busy, error, run } = useAttempt(work);
  return (
    <form
      class="clr-form clr-form-vertical"
      onSubmit={(event) => {
        event.preventDefault();
        void run();
      }}
    >
      {error.value === undefined ? null : <Failure error={error.value} />}
      <ObjectFields
        id={button.toLowerCase().replaceAll(" ", "-")}
        schema={{ type: "object", properties: fields, required: Object.keys(fields) }}
        value={given}
        change={change}
      />
      <button type="submit" class="btn btn-primary" disabled={busy.value}>
        {busy.value ? "Waiting for the authenticator…" : button}
      </button>
    </form>
  );
}

function Part({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

/** Works something out when the page is opened, and again when what it depends on has changed. */
function useLoaded<Value>(read: () => Promise<Value>, of: unknown) {
  const state = useSignal<Value | Error | undefined>(undefined);
  useEffect(() => {
    let isOld = false;
    void read().then(
      (value) => {
        if (!isOld) state.value = value;
      },
      (error: unknown) => {
        if (!isOld) state.value = error instanceof Error ? error : new Error(String(error));
      },
    );
    return () => {
      isOld = true;
    };
  }, [of]);
  return state;
}

/** The keys of the policy in force, each once. */
function signersIn(policies: Policies): readonly Signer[] {
  const inForce = policies.filter(({ state }) => state === "in-force");
  const parts = inForce.flatMap((policy) => [policy, ...policy.instances]);
  return eachOnce(
    parts.flatMap(({ approvers, breakGlass }) => [
      ...approvers.map(({ name, key }) => ({ name, key, breakGlass: false })),
      ...breakGlass.map(({ name, key }) => ({ name, key, breakGlass: true })),
    ]),
  );
}

function eachOnce(signers: readonly Signer[]): readonly Signer[] {
  return [...new Map(signers.map((one) => [one.key, one])).values()];
}

/** Says what was done, and shows the page as it is now. */
function done(model: ExtraProps["model"], text: string): void {
  said.value = { text, path: place.peek().path };
  void model.load();
}
