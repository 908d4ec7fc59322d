import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { kinds } from "./kubernetes-kinds.ts";

const root = join(import.meta.dirname, "../..");
const hasKubectl = spawnSync("kubectl", ["version", "--client"]).error === undefined;

interface ApiObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

interface Kind {
  readonly apiVersion: string;
  new (data: object): { validate(): void };
}

const kindOf = ({ apiVersion, kind }: ApiObject): Kind | undefined => {
  const found = (kinds as Readonly<Record<string, Kind>>)[kind];
  return found?.apiVersion === apiVersion ? found : undefined;
};

/** What an API server would refuse in these objects, in lines that begin with kind and name. */
function refusals(objects: readonly ApiObject[]): readonly string[] {
  const title = ({ kind, metadata: { name } }: ApiObject) => `${kind} ${name}`;
  const unknown = objects.filter((one) => kindOf(one) === undefined);
  const others = objects.filter((one) => kindOf(one) !== undefined);
  return [
    ...unknown.map((one) => `${title(one)}: no kind of ${one.apiVersion} that is known here`),
    ...unknownFields(others).map(([one, said]) => `${title(one)}: ${said}`),
    ...others.flatMap((one) => wrongValues(one).map((said) => `${title(one)}: ${said}`)),
  ];
}

/** Fields that the API does not have: the compiler refuses them in an object literal. */
function unknownFields(objects: readonly ApiObject[]): readonly (readonly [ApiObject, string])[] {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-kubernetes-"));
  try {
    const from = JSON.stringify(join(import.meta.dirname, "kubernetes-kinds.ts"));
    const lines = objects.map(({ apiVersion: _, kind, ...data }) => {
      return `new kinds.${kind}(${JSON.stringify(data)});`;
    });
    writeFileSync(
      join(folder, "objects.ts"),
      [`import { kinds } from ${from};`, ...lines].join("\n"),
    );
    const compilerOptions = {
      ...{ noEmit: true, strict: true, skipLibCheck: true, types: [] },
      ...{ module: "nodenext", target: "esnext", allowImportingTsExtensions: true },
    };
    const config = JSON.stringify({ compilerOptions, files: ["objects.ts"] });
    writeFileSync(join(folder, "tsconfig.json"), config);
    const tsc = join(root, "node_modules/.bin/tsc");
    const { status, stdout } = spawnSync(tsc, ["-p", folder, "--pretty", "false"], {
      encoding: "utf8",
    });
    const found = [...stdout.matchAll(/objects\.ts\((\d+),\d+\): error TS\d+: (.*)/g)];
    if ((status === 0) !== (found.length === 0)) throw new Error(stdout);
    return found.flatMap(([, line = "", said = ""]) => {
      const object = objects[Number(line) - 2];
      // The compiler puts its own quotation marks around the quoted fields here.
      return object === undefined ? [] : [[object, said.replaceAll(/'"|"'/g, "'")] as const];
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Values that the schema does not allow. */
function wrongValues(object: ApiObject): readonly string[] {
  const { apiVersion: _, kind: __, ...data } = object;
  const kind = kindOf(object);
  if (kind === undefined) return [];
  try {
    new kind(data).validate();
    return [];
  } catch (error) {
    return [(error as Error).message.replaceAll("\n", " ")];
  }
}

/** What `kubectl apply -k` would send. */
function built(folder: string): readonly ApiObject[] {
  const { status, stdout, stderr } = spawnSync(
    "kubectl",
    ["kustomize", join(root, "deploy/kubernetes", folder)],
    { encoding: "utf8" },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return parseAllDocuments(stdout).map((one) => one.toJS());
}

describe.skipIf(!hasKubectl)("every object of deploy/kubernetes (needs kubectl)", () => {
  test.each(["base", "region-a", "region-b"])(
    "(%s) is accepted by the API, and has no unknown fields",
    (folder) => {
      const objects = built(folder);
      expect(objects.length).toBeGreaterThan(5);
      expect(refusals(objects)).toEqual([]);
      if (folder === "base") return;
      // Every exported kind occurs here, and no object is in another namespace.
      expect(new Set(objects.map(({ kind }) => kind))).toEqual(new Set(Object.keys(kinds)));
      const spaces = objects.map(
        ({ kind, metadata }) => kind !== "Namespace" && metadata.namespace,
      );
      expect(new Set(spaces)).toEqual(new Set([false, "holdfast"]));
    },
  );

  test("with a misspelt field, a value of another type or a missing value is refused", () => {
    const objects = built("region-a");
    const planted: readonly (readonly [string, RegExp, string, RegExp])[] = [
      ["StatefulSet", /"readinessProbe"/, '"readinesProbe"', /'readinesProbe' does not exist/],
      ["StatefulSet", /"readOnlyRootFilesystem"/, '"readOnlyRootFS"', /'readOnlyRootFS' does not/],
      ["StatefulSet", /"replicas":2/, '"replicas":"2"', /string.* not assignable to .*number/],
      ["StatefulSet", /"containerPort":5696,/, "", /containerPort/],
      ["Service", /"targetPort":"peer"/, '"targetport":"peer"', /'targetport' does not exist/],
      ["NetworkPolicy", /"podSelector"/, '"podselector"', /'podselector' does not exist/],
      ["PodDisruptionBudget", /"minAvailable"/, '"minavailable"', /'minavailable' does not exist/],
      ["ConfigMap", /"data"/, '"dat"', /'dat' does not exist/],
      ["Certificate", /"renewBefore"/, '"renewbefore"', /'renewbefore' does not exist/],
      ["Certificate", /"size":256/, '"size":"256"', /string.* not assignable to .*number/],
      ["ServiceMonitor", /"honorLabels"/, '"honourLabels"', /'honourLabels' does not exist/],
      ["PrometheusRule", /"expr":"vector\(1\)",/, "", /expr/],
      ["PrometheusRule", /"for":"1m"/, '"for":"soon"', /for/],
    ];
    const misspelt = planted.map(([kind, from, to], at) => {
      const object = objects.find((one) => one.kind === kind && from.test(JSON.stringify(one)));
      const text = JSON.stringify(object).replace(from, to);
      return { ...JSON.parse(text), metadata: { name: `planted-${at}` } } as ApiObject;
    });
    const said = refusals(misspelt);
    const passed = planted.filter(
      ([kind, , , why], at) =>
        !said.some((line) => line.startsWith(`${kind} planted-${at}:`) && why.test(line)),
    );
    expect(passed, said.join("\n")).toEqual([]);
  });
});

test("an object of a kind or a version that does not exist is refused", () => {
  const metadata = { name: "it" };
  expect(
    refusals([{ apiVersion: "policy/v1beta1", kind: "PodDisruptionBudget", metadata }]),
  ).toEqual(["PodDisruptionBudget it: no kind of policy/v1beta1 that is known here"]);
  expect(refusals([{ apiVersion: "v1", kind: "Servce", metadata }])).toHaveLength(1);
});
