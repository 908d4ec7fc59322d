import { identifiersIn } from "@holdfast/admin/identifiers";
import { type Signal, useSignal } from "@preact/signals";
import type { Schema } from "../base/contract.ts";
import { type FieldProps, Row } from "./field-row.tsx";

/** What a text may have where the contract says nothing, in bytes. */
const usualBytesMax = 65_536;
/** The service takes no longer list. */
const listBytesMax = 40_000_000;
/** Lists that may be longer than this come from files. */
const typedItemsMax = 1000;

/** Whether a text has several lines. */
export function isLong({ examples, maxLength = 0 }: Schema): boolean {
  return maxLength > 4096 || examples?.some((text) => String(text).includes("\n")) === true;
}

/** Whether a list is too long to be typed. */
export function isLongList({ maxItems = 0 }: Schema): boolean {
  return maxItems > typedItemsMax;
}

/** What was read from a file, or why it was not. */
interface FromFile {
  readonly name: string;
  readonly fault?: string;
}

/** A text of several lines: pasted, or read from a file that is dropped or chosen. */
export function LongText({ schema, id, label, required, value, change }: FieldProps) {
  const from = useSignal<FromFile | undefined>(undefined);
  const isPem = schema.examples?.some((text) => String(text).startsWith("-----BEGIN")) === true;
  const take = async (file: File) => {
    try {
      const text = await textOf(file, schema.maxLength ?? usualBytesMax, isPem);
      from.value = { name: file.name };
      change(text);
    } catch (error) {
      from.value = { name: file.name, fault: messageOf(error) };
    }
  };
  return (
    <Row id={id} label={label} required={required} schema={schema}>
      <textarea
        id={id}
        class="clr-textarea"
        rows={6}
        required={required}
        aria-describedby={`${id}-from`}
        value={String(value ?? "")}
        onInput={(event) => {
          from.value = undefined;
          change(event.currentTarget.value);
        }}
        {...droppedOn(take)}
      />
      <FileInput id={id} label={label} take={take} from={from} />
    </Row>
  );
}

/** Chooses a file, and says what came of it. */
function FileInput({
  id,
  label,
  take,
  from,
}: Pick<FieldProps, "id" | "label"> & {
  take: (file: File) => Promise<void>;
  from: Signal<FromFile | undefined>;
}) {
  const { name, fault } = from.value ?? {};
  return (
    <div class="drop">
      <span>Drop a file here, or choose one: </span>
      <input
        type="file"
        class="file"
        id={`${id}-file`}
        aria-label={`${label}, from a file`}
        onChange={(event) => {
          const [file] = event.currentTarget.files ?? [];
          // The same file can be chosen again, once it is mended.
          event.currentTarget.value = "";
          if (file !== undefined) void take(file);
        }}
      />
      <div id={`${id}-from`} role="status" class={fault === undefined ? "" : "fault"}>
        {name === undefined ? "" : fault === undefined ? `Read from ${name}.` : `${name} ${fault}`}
      </div>
    </div>
  );
}

/** Takes the first file that is dropped. */
function droppedOn(take: (file: File) => Promise<void>) {
  return {
    onDragOver: (event: DragEvent) => event.preventDefault(),
    onDrop: (event: DragEvent) => {
      const [file] = event.dataTransfer?.files ?? [];
      // Text that is dragged is the browser's business.
      if (file === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      void take(file);
    },
  };
}

/** The text in a file; throws an error that completes its name to a sentence. */
async function textOf(file: File, bytesMax: number, isPem: boolean): Promise<string> {
  const bytes = await bytesOf(file, bytesMax);
  const form = isPem ? " Choose the file in PEM form, which begins with -----BEGIN." : "";
  if (bytes.includes(0)) throw new Error(`is not text.${form}`);
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`is not text in UTF-8.${form}`);
  }
  if (isPem && text.includes("PRIVATE KEY-----")) {
    throw new Error(
      "has a private key, which only its owner may have. Choose the file without it.",
    );
  }
  if (isPem && !text.includes("-----BEGIN ")) throw new Error(`has no PEM.${form}`);
  return text;
}

async function bytesOf(file: File, bytesMax: number): Promise<Uint8Array> {
  if (file.size === 0) throw new Error("is empty.");
  if (file.size > bytesMax) {
    const [has, most] = [file.size, bytesMax].map((bytes) => Math.ceil(bytes / 1024));
    throw new Error(`has ${has} KB, and at most ${most} KB fit here. Is it the right file?`);
  }
  return new Uint8Array(await file.arrayBuffer());
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The lines of a text that have something; undefined if none has. */
function linesIn(text: string): readonly string[] | undefined {
  const lines = text.split(/[\r\n]+/).map((line) => line.trim());
  const given = lines.filter((line) => line !== "");
  return given.length === 0 ? undefined : given;
}

/** A list of texts, one on each line. */
export function Lines(props: FieldProps) {
  const { value, change } = props;
  // What is typed stays as it is, also while a line is not complete.
  const text = useSignal(((value ?? []) as readonly string[]).join("\n"));
  const read = (given: unknown) => {
    text.value = String(given);
    change(linesIn(text.value));
  };
  return (
    <LongText
      {...props}
      label={`${props.label}, one on each line`}
      value={text.value}
      change={read}
    />
  );
}

/** Identifiers: typed, one on each line, or from a file of lines or CSV that is too long to show. */
export function IdentifierList(props: FieldProps) {
  const { id, required, schema, value, change } = props;
  const text = useSignal("");
  const from = useSignal<FromFile | undefined>(undefined);
  const label = `${props.label}, one on each line`;
  const isFile = from.value !== undefined && from.value.fault === undefined;
  const take = async (file: File) => {
    try {
      change(identifiersIn(await bytesOf(file, listBytesMax)));
      from.value = { name: file.name };
    } catch (error) {
      from.value = { name: file.name, fault: `cannot be used: ${messageOf(error)}` };
    }
  };
  const type = (typed: string) => {
    text.value = typed;
    from.value = undefined;
    change(linesIn(typed));
  };
  const count = Array.isArray(value) ? value.length : 0;
  return (
    <Row id={id} label={label} required={required} schema={schema}>
      {isFile ? (
        <p>
          {count.toLocaleString("en")} identifiers.{" "}
          <button type="button" class="btn btn-sm btn-link" onClick={() => type("")}>
            Remove the file
          </button>
        </p>
      ) : (
        <textarea
          id={id}
          class="clr-textarea"
          rows={6}
          required={required}
          aria-describedby={`${id}-from`}
          value={text.value}
          onInput={(event) => type(event.currentTarget.value)}
          {...droppedOn(take)}
        />
      )}
      <FileInput id={id} label={label} take={take} from={from} />
    </Row>
  );
}
