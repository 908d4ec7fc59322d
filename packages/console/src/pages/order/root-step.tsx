import { useSignal } from "@preact/signals";
import { call } from "../../base/api.ts";
import { type AnswerOf, operations, resolved, type Schema } from "../../base/contract.ts";
import { knowsRegions, regions } from "../../base/known-regions.ts";
import { useAttempt } from "../../base/work.ts";
import type { Given } from "../../parts/action-model.ts";
import { ObjectFields, UnknownRegions } from "../../parts/fields.tsx";
import { Failure, Notice, State } from "../../parts/notices.tsx";

type RootKey = AnswerOf<"retrieveRootKeys">["items"][number];

const body = operations.createInstance.body ?? {};
const perRegion = body.properties?.["rootOfTrust"]?.properties?.["regions"]?.additionalProperties;
/** The schema of one region's root of trust. */
const rootSchema: Schema = typeof perRegion === "object" ? resolved(perRegion, body) : {};

/** The root of trust in each region, with the root keys that its key manager has. */
export function RootStep({ value, change }: { value: Given; change: (next: Given) => void }) {
  if (!knowsRegions.value) return <UnknownRegions />;
  return (
    <>
      <p>
        An instance needs a root of trust in every region: a root key that opens its keys there.
        Leave all regions empty to configure it later: until then the instance is Inactive.
      </p>
      {regions.value.map((region) => {
        const given = value[region] as Given | undefined;
        const set = (root: unknown) => {
          const { [region]: _, ...others } = value;
          change(root === undefined ? others : { ...others, [region]: root });
        };
        const field = `region ${region}`;
        return (
          <section key={region}>
            <ObjectFields
              schema={{ properties: { [field]: rootSchema } }}
              whole={body}
              id={`root-${region}`}
              value={given === undefined ? {} : { [field]: given }}
              change={(next) => set(next[field])}
            />
            {given === undefined || !hasField(given, "rootKey") ? null : (
              <RootKeys region={region} root={given} use={set} />
            )}
          </section>
        );
      })}
    </>
  );
}

/** Whether references of this kind have a field. */
function hasField({ type }: Given, name: string): boolean {
  const form = (rootSchema.oneOf ?? rootSchema.anyOf ?? []).find(
    ({ properties }) => properties?.["type"]?.const === type,
  );
  return form?.properties?.[name] !== undefined;
}

/** Asks the key manager for its root keys, and lets a person choose one. */
function RootKeys({
  region,
  root,
  use,
}: {
  region: string;
  root: Given;
  use: (root: Given) => void;
}) {
  const keys = useSignal<readonly RootKey[] | undefined>(undefined);
  const ring = useSignal("");
  const { busy, error, run } = useAttempt(async () => {
    const { rootKey: _, ...lookup } = root;
    const request = { body: { region, root: lookup } };
    const { items } = await call("retrieveRootKeys", request as never);
    keys.value = items as readonly RootKey[];
  });
  const rings = [...new Set((keys.value ?? []).flatMap(({ keyRing }) => keyRing ?? []))];
  const shown = (keys.value ?? []).filter(({ keyRing = "" }) => ["", keyRing].includes(ring.value));
  return (
    <>
      <button type="button" class="btn btn-sm" disabled={busy.value} onClick={() => void run()}>
        List root keys of region {region}
      </button>
      {error.value === undefined ? null : <Failure error={error.value} />}
      {keys.value?.length === 0 ? (
        <Notice tone="info">The key manager shows no root key to this login.</Notice>
      ) : null}
      {rings.length === 0 ? null : (
        <p>
          <label for={`ring-${region}`}>Key ring</label>{" "}
          <select
            id={`ring-${region}`}
            class="clr-select"
            value={ring.value}
            onChange={(event) => {
              ring.value = event.currentTarget.value;
            }}
          >
            <option value="">any</option>
            {rings.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </p>
      )}
      {shown.length === 0 ? null : (
        <div class="scrolled">
          <table class="table table-compact">
            <thead>
              <tr>
                <th scope="col">Root key</th>
                <th scope="col">Key ring</th>
                <th scope="col">State</th>
                <th scope="col">Choose</th>
              </tr>
            </thead>
            <tbody>
              {shown.map(({ id, name, keyRing, state, usable }) => (
                <tr key={id}>
                  <td class="text">
                    {name} <code>{id}</code>
                  </td>
                  <td class="text">{keyRing ?? ""}</td>
                  <td>
                    <State of={state} />
                  </td>
                  <td>
                    <button
                      type="button"
                      class="btn btn-sm"
                      disabled={!usable}
                      aria-label={`Use ${name || id}`}
                      onClick={() =>
                        use({
                          ...root,
                          rootKey: id,
                          ...(keyRing !== undefined && hasField(root, "keyRing") && { keyRing }),
                        })
                      }
                    >
                      {root["rootKey"] === id ? "Chosen" : "Use"}
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}
