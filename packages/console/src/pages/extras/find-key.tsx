import { useSignal } from "@preact/signals";
import { allInstances, findKey, isKeyId } from "../../base/find-key.ts";
import { go, link, place } from "../../base/router.ts";
import { useAttempt } from "../../base/work.ts";
import { Row } from "../../parts/field-row.tsx";
import { Failure } from "../../parts/notices.tsx";
import type { Params } from "../resource-model.ts";

/** Leads to the key with an identifier, such as one of an error of ESXi or vCenter, in whichever instance it is. */
export function FindKey({ params }: { params: Params }) {
  const { instance: first = "" } = params;
  const text = useSignal("");
  const { busy, error, run } = useAttempt(async () => {
    const id = text.value.trim().toLowerCase();
    if (!isKeyId(id)) {
      throw new Error("Give the whole identifier, such as 6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00.");
    }
    const { path } = place.peek();
    const held = await findKey(id, await allInstances(), first);
    if (held === undefined) throw new Error(`No instance that you may read has the key ${id}.`);
    // A person who is at another page by now stays there.
    if (place.peek().path !== path) return;
    go(link("/instances/{instance}/keys/{key}", { instance: held.instance.name, key: id }));
  });
  return (
    <form
      class="clr-form clr-form-vertical"
      aria-label="Find a key"
      onSubmit={(event) => {
        event.preventDefault();
        void run();
      }}
    >
      {error.value === undefined ? null : <Failure error={error.value} />}
      <Row id="key-identifier" label="Key identifier" required={false}>
        <input
          id="key-identifier"
          class="clr-input"
          required
          autocomplete="off"
          spellcheck={false}
          value={text.value}
          onInput={(event) => {
            text.value = event.currentTarget.value;
          }}
        />{" "}
        <button type="submit" class="btn btn-sm" disabled={busy.value}>
          {busy.value ? "Looking…" : "Go to the key"}
        </button>
      </Row>
    </form>
  );
}
