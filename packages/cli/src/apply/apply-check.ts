import { X509Certificate } from "node:crypto";
import { type AdminClient, AdminProblem, problems } from "@holdfast/admin";
import { fingerprintOf } from "@holdfast/server/certificates";
import { reasonOf } from "../terminal/failure.ts";
import { complain } from "../terminal/lines.ts";
import type { ActualInstance, Step } from "./apply-plan.ts";

/**
 * Has the service check every step before the first is carried out. Prints each refusal on standard error, and rejects
 * with the first.
 */
export async function checkSteps(
  client: AdminClient,
  steps: readonly Step[],
  actual: readonly ActualInstance[],
): Promise<void> {
  const there = new Set(actual.map(({ name }) => name));
  const refusals: { readonly step: Step; readonly error: AdminProblem }[] = [];
  for (const [at, step] of steps.entries()) {
    try {
      const { instance } = step.params;
      const comes = instance !== undefined && !there.has(instance);
      if (step.operation === "addCertificate") refuseForeign(step, actual, steps.slice(0, at));
      if (!comes) await ask(client, step);
    } catch (error) {
      if (!(error instanceof AdminProblem)) throw error;
      refusals.push({ step, error });
    }
  }
  const [first, ...others] = refusals;
  if (first === undefined) return;
  for (const { step, error } of others) {
    complain(`${step.text}: ${reasonOf(error)}`);
  }
  throw named(first.error, `${first.step.text}: ${reasonOf(first.error)}; nothing was changed`);
}

async function ask(client: AdminClient, { operation, params, query, body }: Step): Promise<void> {
  await client.call(
    operation,
    {
      params,
      ...(query === undefined ? {} : { query }),
      ...(body === undefined ? {} : { body: body() }),
    },
    { dryRun: true },
  );
}

/** Refuses a certificate as the service would, also for an instance that a step creates. */
function refuseForeign(
  step: Step,
  actual: readonly ActualInstance[],
  before: readonly Step[],
): void {
  const fingerprint = fingerprintIn(step);
  if (fingerprint === undefined) {
    throw problem("certificateInvalid", "the file holds no certificate in PEM");
  }
  const { instance } = step.params;
  const owner = actual.find(
    ({ name, certificates }) =>
      name !== instance && certificates.some((one) => one.fingerprint === fingerprint),
  );
  const again = before.find(
    (one) => one.operation === "addCertificate" && fingerprintIn(one) === fingerprint,
  );
  const other = owner?.name ?? again?.params["instance"];
  if (other === undefined) return;
  const gone = before.some(
    ({ operation, params }) => operation === "deleteCertificate" && params["instance"] === other,
  );
  if (owner !== undefined && gone) return;
  throw problem(
    "certificateTaken",
    `this certificate already gives access to ${other}: a certificate belongs to one instance only`,
  );
}

function fingerprintIn({ body }: Step): string | undefined {
  try {
    const pem = String(body?.()["pem"]);
    return fingerprintOf(new X509Certificate(pem));
  } catch {
    return undefined;
  }
}

function problem(code: "certificateInvalid" | "certificateTaken", detail: string): AdminProblem {
  return new AdminProblem(problems[code].status, { code, detail }, undefined);
}

function named(error: AdminProblem, detail: string): AdminProblem {
  return new AdminProblem(error.status, { ...error.document, detail }, error.retryAfterSeconds);
}
