import { useEffect, useMemo, useRef } from "preact/hooks";
import { commandLine } from "../../base/command-line.ts";
import { operations } from "../../base/contract.ts";
import { knowsRegions, regions } from "../../base/known-regions.ts";
import { may } from "../../base/may.ts";
import { go, link, place, replace } from "../../base/router.ts";
import type { Given } from "../../parts/action-model.ts";
import { Copied } from "../../parts/copy.tsx";
import { ObjectFields } from "../../parts/fields.tsx";
import { Failure, Notice } from "../../parts/notices.tsx";
import { Fields } from "../../parts/value.tsx";
import { OrderModel, type Step, steps } from "./order-model.ts";
import { Ordered } from "./ordered.tsx";
import { RootStep } from "./root-step.tsx";

/** The path of this page. */
export const orderPath = "/order";

const titles: Readonly<Record<Step, string>> = {
  name: "Name",
  roots: "Roots of trust",
  certificate: "Certificate",
  review: "Look and order",
  ordered: "Endpoints",
};

const order = operations.createInstance;
const add = operations.addCertificate;

/** Orders an instance in steps; the address has the step, so that Back and a reload work. */
export function Order() {
  const model = useMemo(begun, []);
  const heading = useRef<HTMLHeadingElement>(null);
  const { draft, busy } = model;
  const { sent, made } = draft.value;
  const asked = steps.find((one) => one === place.value.query["step"]) ?? "name";
  // What was ordered cannot be ordered again, and what was not has no endpoints.
  const step = made !== undefined ? "ordered" : asked === "ordered" ? "review" : asked;
  useEffect(() => {
    document.title = "Order an instance – Holdfast";
    heading.current?.focus();
  }, [step]);
  useEffect(() => {
    // Back does not lead to what cannot be ordered again. A person who is at another page by now stays there.
    if (made !== undefined) replace(link(orderPath, {}, { step: "ordered" }));
  }, [made]);
  const show = (next: Step) => go(link(orderPath, {}, { step: next }));
  const next = () => {
    if (step === "review") void model.send();
    else if (step !== "roots" || isWhole(model)) show(steps[steps.indexOf(step) + 1] ?? "review");
  };
  return (
    <>
      <h1>Order an instance</h1>
      <Progress step={step} done={made !== undefined} />
      <h2 ref={heading} tabIndex={-1}>
        {steps.indexOf(step) + 1}. {titles[step]}
      </h2>
      {sent && !busy.value ? (
        <Notice tone="warning">
          This order was sent, and no answer came. Send it again as it is: nothing is made twice.
        </Notice>
      ) : null}
      {model.error.value === undefined ? null : <Failure error={model.error.value} />}
      {step === "ordered" ? (
        <>
          <Ordered model={model} />
          <button
            type="button"
            class="btn btn-sm btn-link"
            onClick={() => {
              model.restart();
              show("name");
            }}
          >
            Order another one
          </button>
        </>
      ) : (
        <form
          class="clr-form clr-form-vertical order"
          onSubmit={(event) => {
            event.preventDefault();
            next();
          }}
        >
          <StepFields step={step} model={model} />
          <Buttons step={step} model={model} show={show} />
        </form>
      )}
    </>
  );
}

/** The order that the tab keeps; another one where that is done and a person begins anew. */
function begun(): OrderModel {
  const model = new OrderModel();
  const isNew = place.peek().query["step"] === undefined;
  if (isNew && model.draft.peek().made !== undefined) model.restart();
  return model;
}

/** Where a person is; earlier steps are links. */
function Progress({ step, done }: { step: Step; done: boolean }) {
  const here = steps.indexOf(step);
  return (
    <ol class="progress-steps" aria-label="Steps">
      {steps.map((one, at) => (
        <li key={one} aria-current={at === here ? "step" : undefined}>
          {at < here && !done ? (
            <a href={link(orderPath, {}, { step: one })}>{titles[one]}</a>
          ) : (
            titles[one]
          )}
        </li>
      ))}
    </ol>
  );
}

/** Whether roots of trust are given for every region, or for none; false while the regions are not known. */
function isWhole(model: OrderModel): boolean {
  if (!knowsRegions.value) return false;
  const { given } = rootPart(model);
  const missing = regions.value.filter((region) => given[region] === undefined);
  const isPart = missing.length > 0 && missing.length < regions.value.length;
  model.error.value = isPart
    ? new Error(
        `Choose a root of trust for region ${missing.join(" and ")} too, or leave all regions empty.`,
      )
    : undefined;
  return !isPart;
}

function rootPart({ draft }: OrderModel): { readonly given: Given } {
  const { regions: given = {} } = (draft.value.given["rootOfTrust"] ?? {}) as {
    readonly regions?: Given;
  };
  return { given };
}

function StepFields({ step, model }: { step: Step; model: OrderModel }) {
  const { given, certificate } = model.draft.value;
  if (step === "name") {
    return (
      <ObjectFields
        schema={order.body ?? {}}
        id="order"
        value={given}
        change={(next) => model.change({ given: next })}
        hidden={["rootOfTrust"]}
      />
    );
  }
  if (step === "roots") {
    return (
      <RootStep
        value={rootPart(model).given}
        change={(roots) => {
          const { rootOfTrust: _, ...others } = given;
          const isEmpty = Object.keys(roots).length === 0;
          const next = isEmpty ? others : { ...others, rootOfTrust: { regions: roots } };
          model.change({ given: next });
        }}
      />
    );
  }
  if (step === "certificate") {
    if (!may("addCertificate")) {
      return (
        <p>
          Your token may not decide who is a client. Order the instance: the page Connect vCenter
          says what a security officer does then.
        </p>
      );
    }
    return (
      <>
        <p>
          If you have vCenter's certificate already, or its root CA, add it here. Otherwise
          continue: the page Connect vCenter has all four ways.
        </p>
        <ObjectFields
          // Nothing here is required: the order works without a certificate.
          schema={{ ...add.body, required: model.addsCertificate ? ["name"] : [] }}
          id="certificate"
          value={certificate}
          change={(next) => model.change({ certificate: next })}
        />
      </>
    );
  }
  return <Review model={model} />;
}

/** The whole order, and what it is on the command line. */
function Review({ model }: { model: OrderModel }) {
  const { given, certificate } = model.draft.value;
  const { rootOfTrust: _, ...named } = given;
  const roots = Object.entries(rootPart(model).given).map(([region, root]) => {
    const fields = Object.entries(root as Given).map(([name, field]) => {
      const isSecret = typeof field === "object" && field !== null && "value" in field;
      return [name, isSecret ? "given" : field];
    });
    return [`Region ${region}`, Object.fromEntries(fields)] as const;
  });
  const { pem: __, ...about } = certificate;
  const missing = model.withoutSecret;
  return (
    <>
      <div class="scrolled">
        <Fields
          of={{
            name: "a name that the service makes",
            ...named,
            rootsOfTrust: roots.length === 0 ? "configured later" : Object.fromEntries(roots),
            certificate: model.addsCertificate ? about : "added later",
          }}
        />
      </div>
      {missing.length === 0 ? null : (
        <Notice tone="warning">
          The secret of region {missing.join(" and ")} is not kept over a reload:{" "}
          <a href={link(orderPath, {}, { step: "roots" })}>type it again</a>.
        </Notice>
      )}
      {model.checked.value ? (
        <Notice tone="success">Checked: the service would take this. Nothing was made.</Notice>
      ) : null}
      <details open>
        <summary>The same on the command line</summary>
        <Copied text={commandLine(order, { body: given })} what="the command" block />
        {model.addsCertificate ? (
          <Copied
            text={commandLine(add, { params: { instance: given["name"] }, body: certificate })}
            what="the second command"
            block
          />
        ) : null}
      </details>
    </>
  );
}

function Buttons({
  step,
  model,
  show,
}: {
  step: Step;
  model: OrderModel;
  show: (step: Step) => void;
}) {
  const { busy } = model;
  const before = steps[steps.indexOf(step) - 1];
  const isLast = step === "review";
  const waits = step === "roots" && !knowsRegions.value;
  const mayGo = !busy.value && !waits && (!isLast || model.withoutSecret.length === 0);
  return (
    <div class="toolbar">
      {before === undefined ? null : (
        <button
          type="button"
          class="btn btn-outline"
          disabled={busy.value}
          onClick={() => {
            model.error.value = undefined;
            show(before);
          }}
        >
          Back
        </button>
      )}
      {isLast ? (
        <button
          type="button"
          class="btn btn-outline"
          disabled={!mayGo}
          onClick={() => void model.check()}
        >
          Check first
        </button>
      ) : null}
      <button type="submit" class="btn btn-primary" disabled={!mayGo}>
        {busy.value ? "Working…" : isLast ? "Order" : "Next"}
      </button>
      <button
        type="button"
        class="btn btn-link"
        onClick={() => {
          model.restart();
          go(link("/instances"));
        }}
      >
        Cancel
      </button>
    </div>
  );
}
