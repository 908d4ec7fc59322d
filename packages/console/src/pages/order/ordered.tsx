import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../../base/api.ts";
import type { AnswerOf } from "../../base/contract.ts";
import { link } from "../../base/router.ts";
import { repeat } from "../../base/work.ts";
import { Copied } from "../../parts/copy.tsx";
import { Failure, Loading, State } from "../../parts/notices.tsx";
import { statusSentence } from "../../parts/status-text.ts";
import type { OrderModel } from "./order-model.ts";

const lookEveryMs = 2000;

/** What was ordered: its status until it is ready, its endpoints, and what comes next. */
export function Ordered({ model }: { model: OrderModel }) {
  const { made } = model.draft.value;
  const instance = useSignal<AnswerOf<"readInstance"> | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  useEffect(() => {
    // A reload may have come between the instance and its certificate.
    if (!model.busy.peek()) void model.addCertificate();
  }, [model]);
  useEffect(() => {
    if (made === undefined) return;
    return repeat(lookEveryMs, async () => {
      try {
        instance.value = await call("readInstance", { params: { instance: made } });
        error.value = undefined;
      } catch (reason) {
        error.value = reason;
      }
    });
  }, [made]);
  const shown = instance.value;
  if (shown === undefined) {
    return error.value === undefined ? <Loading /> : <Failure error={error.value} />;
  }
  const { name, status, reason } = shown;
  return (
    <>
      <p role="status">
        <b class="text">{name}</b> <State of={status} /> {statusSentence(status)} {reason}
      </p>
      {error.value === undefined ? null : <Failure error={error.value} />}
      <Certificate model={model} name={name} />
      <table class="table table-compact">
        <thead>
          <tr>
            <th scope="col">Region</th>
            <th scope="col">Status</th>
            <th scope="col">Endpoints</th>
          </tr>
        </thead>
        <tbody>
          {Object.entries(shown.regions).map(([region, { status: here, endpoints }]) => (
            <tr key={region}>
              <td>{region}</td>
              <td>
                <State of={here} />
              </td>
              <td>
                {endpoints.map((endpoint) => (
                  <div key={endpoint}>
                    <Copied text={endpoint} what={endpoint} />
                  </div>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <div class="toolbar">
        <a class="btn btn-primary" href={link("/instances/{instance}/connect", { instance: name })}>
          Connect vCenter
        </a>
        <a class="btn btn-outline" href={link("/instances/{instance}", { instance: name })}>
          Show the instance
        </a>
      </div>
    </>
  );
}

/** Whether the certificate of the order is in place. */
function Certificate({ model, name }: { model: OrderModel; name: string }) {
  const { certificateError, busy } = model;
  if (certificateError.value !== undefined) {
    return (
      <>
        <Failure error={certificateError.value} again={() => void model.addCertificate()} />
        <p>
          The instance was made, but the certificate was not added.{" "}
          <a href={link("/instances/{instance}/certificates", { instance: name })}>
            Add it in its list
          </a>
          .
        </p>
      </>
    );
  }
  if (!model.addsCertificate) return null;
  return busy.value ? <Loading /> : null;
}
