import { useSignal } from "@preact/signals";
import { resolved, type Schema } from "../base/contract.ts";
import { knowsRegions, regions } from "../base/known-regions.ts";
import { pairsIn, words } from "../base/text.ts";
import { type FieldProps, Help, Row } from "./field-row.tsx";
import { IdentifierList, isLong, isLongList, Lines, LongText } from "./long-fields.tsx";
import { Loading } from "./notices.tsx";

type Given = Readonly<Record<string, unknown>>;

/** A field whose values are known. */
interface ChoiceProps extends FieldProps {
  readonly choices: readonly string[];
}

/** The fields of an object schema; what nobody fills in is left out of the value. */
export function ObjectFields({
  schema,
  whole = schema,
  id,
  value,
  change,
  hidden = [],
  secrets = [],
}: {
  schema: Schema;
  whole?: Schema;
  id: string;
  value: Given;
  change: (value: Given) => void;
  hidden?: readonly string[];
  secrets?: readonly string[];
}) {
  const shown = Object.entries(schema.properties ?? {}).filter(
    ([name, field]) => !hidden.includes(name) && field.const === undefined,
  );
  return (
    <>
      {shown.map(([name, field]) => (
        <Field
          key={name}
          schema={resolved(field, whole)}
          whole={whole}
          id={`${id}-${name}`}
          label={words(name)}
          required={schema.required?.includes(name) === true}
          secret={secrets.includes(name)}
          value={value[name]}
          change={(given) => change(withField(value, name, given))}
        />
      ))}
    </>
  );
}

function withField(value: Given, name: string, given: unknown): Given {
  const { [name]: _, ...rest } = value;
  return given === undefined || given === "" ? rest : { ...rest, [name]: given };
}

/** One field, by the kind of its schema. */
function Field(props: FieldProps) {
  const { schema } = props;
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices !== undefined) return <ChoiceOfForms {...props} choices={choices} />;
  if (schema.type === "boolean" || isSwitch(schema)) return <Switch {...props} />;
  if (schema.enum !== undefined) return <Choice {...props} choices={schema.enum} />;
  if (schema.type === "array") return <List {...props} />;
  if (schema.type === "object" && schema.properties !== undefined) return <Group {...props} />;
  if (schema.type === "object") {
    const each = schema.additionalProperties;
    return typeof each === "object" && each.type !== "string" ? (
      <PerRegion {...props} each={resolved(each, props.whole)} />
    ) : (
      <Pairs {...props} />
    );
  }
  return isLong(schema) ? <LongText {...props} /> : <Text {...props} />;
}

/** Several values. */
function List(props: FieldProps) {
  const { schema } = props;
  if (isLongList(schema)) return <IdentifierList {...props} />;
  const choices = schema.items?.enum;
  return choices === undefined ? <Lines {...props} /> : <Choices {...props} choices={choices} />;
}

function isSwitch({ enum: values }: Schema): boolean {
  return values?.length === 2 && values.includes("true") && values.includes("false");
}

function Text({ schema, id, label, required, secret, value, change }: FieldProps) {
  const isNumber = schema.type === "integer" || schema.type === "number";
  const isTime = schema.format === "date-time";
  const type = secret ? "password" : isNumber ? "number" : isTime ? "datetime-local" : "text";
  const shown = isTime && typeof value === "string" ? value.slice(0, 19) : String(value ?? "");
  const read = (text: string) => {
    if (text === "") return undefined;
    if (isTime) {
      const date = new Date(`${text}Z`);
      return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
    }
    return isNumber ? Number(text) : text;
  };
  return (
    <Row id={id} label={isTime ? `${label} (UTC)` : label} required={required} schema={schema}>
      <input
        id={id}
        class="clr-input"
        // Preact's types know one kind of input at a time.
        type={type as "text"}
        required={required}
        min={schema.minimum}
        max={schema.maximum}
        step={isTime ? 1 : undefined}
        maxLength={schema.maxLength}
        autocomplete={secret ? "new-password" : "off"}
        aria-describedby={`${id}-help`}
        value={shown}
        onInput={(event) => change(read(event.currentTarget.value))}
      />
    </Row>
  );
}

/** Names and values, as `name=value` on each line. */
function Pairs({ schema, id, label, required, value, change }: FieldProps) {
  const usual = Object.entries((value ?? {}) as Given).map(([name, each]) => `${name}=${each}`);
  const shown = useSignal(usual.join("\n"));
  const read = (text: string) => {
    const pairs = pairsIn(text);
    shown.value = text;
    change(isEmpty(pairs) && usual.length === 0 ? undefined : pairs);
  };
  return (
    <Row
      id={id}
      label={`${label}, one name=value on each line`}
      required={required}
      schema={schema}
    >
      <textarea
        id={id}
        class="clr-textarea"
        rows={2}
        required={required}
        value={shown.value}
        onInput={(event) => read(event.currentTarget.value)}
      />
    </Row>
  );
}

function Switch({ schema, id, label, value, change }: FieldProps) {
  const on = schema.type === "boolean" ? true : "true";
  return (
    <div class="clr-form-control">
      <div class="clr-control-container">
        <div class="clr-checkbox-wrapper">
          <input
            type="checkbox"
            class="clr-checkbox"
            id={id}
            checked={value === on}
            onChange={(event) => change(event.currentTarget.checked ? on : undefined)}
          />
          <label class="clr-control-label" for={id}>
            {label}
          </label>
        </div>
        <Help id={id} schema={schema} />
      </div>
    </div>
  );
}

function Choice({ schema, id, label, required, value, change, choices }: ChoiceProps) {
  return (
    <Row id={id} label={label} required={required} schema={schema}>
      <div class="clr-select-wrapper">
        <select
          id={id}
          class="clr-select"
          required={required}
          value={String(value ?? "")}
          onChange={(event) => change(event.currentTarget.value || undefined)}
        >
          <option value="">{required ? "Choose…" : "—"}</option>
          {choices.map((each) => (
            <option key={each} value={each}>
              {each}
            </option>
          ))}
        </select>
      </div>
    </Row>
  );
}

function Choices({ schema, id, label, required, value, change, choices }: ChoiceProps) {
  const chosen = (value ?? []) as readonly string[];
  const toggle = (each: string, on: boolean) => {
    const next = choices.filter((one) => (one === each ? on : chosen.includes(one)));
    change(next.length === 0 ? undefined : next);
  };
  return (
    <fieldset class="clr-form-control">
      <legend class="clr-control-label">
        {label}
        {required ? <span class="required"> (required)</span> : null}
      </legend>
      <div class="choices">
        {choices.map((each) => (
          <div key={each} class="clr-checkbox-wrapper">
            <input
              type="checkbox"
              class="clr-checkbox"
              id={`${id}-${each}`}
              checked={chosen.includes(each)}
              onChange={(event) => toggle(each, event.currentTarget.checked)}
            />
            <label class="clr-control-label" for={`${id}-${each}`}>
              {each}
            </label>
          </div>
        ))}
      </div>
      <Help id={id} schema={schema} />
    </fieldset>
  );
}

function Group({ schema, whole, id, label, value, change }: FieldProps) {
  return (
    <fieldset>
      <legend>{label}</legend>
      <Help id={id} schema={schema} />
      <ObjectFields
        schema={schema}
        whole={whole}
        id={id}
        value={(value ?? {}) as Given}
        change={(given) => change(isEmpty(given) ? undefined : given)}
      />
    </fieldset>
  );
}

/** In place of fields for each region, while nobody knows which there are. */
export function UnknownRegions() {
  return <Loading text="No node has said yet which regions there are. The console asks again." />;
}

/** The same fields for each region. */
function PerRegion({ whole, id, value, change, each }: FieldProps & { each: Schema }) {
  if (!knowsRegions.value) return <UnknownRegions />;
  const given = (value ?? {}) as Given;
  return (
    <>
      {regions.value.map((region) => (
        <Field
          key={region}
          schema={each}
          whole={whole}
          id={`${id}-${region}`}
          label={`Region ${region}`}
          required={false}
          secret={false}
          value={given[region]}
          change={(one) => {
            const next = withField(given, region, one);
            change(isEmpty(next) ? undefined : next);
          }}
        />
      ))}
    </>
  );
}

/** A value that has one of several forms, such as the kinds of roots of trust. */
function ChoiceOfForms({
  whole,
  id,
  label,
  required,
  value,
  change,
  schema,
  choices,
}: FieldProps & { choices: readonly Schema[] }) {
  const given = (value ?? {}) as Given;
  const names = choices.map(nameOfForm);
  const isForm = (form: Schema) => {
    const fixed = fixedOf(form);
    if (fixed === undefined)
      return Object.keys(form.properties ?? {}).some((name) => name in given);
    return Object.entries(fixed).every(([name, text]) => given[name] === text);
  };
  const at = value === undefined ? -1 : choices.findIndex(isForm);
  const form = choices[at];
  const choose = (name: string) => {
    const chosen = choices[names.indexOf(name)];
    if (chosen === undefined) change(undefined);
    else change(fixedOf(chosen) ?? { [Object.keys(chosen.properties ?? {})[0] ?? ""]: "" });
  };
  return (
    <fieldset>
      <legend>{label}</legend>
      <Choice
        schema={schema}
        whole={whole}
        id={id}
        label="Kind"
        required={required}
        secret={false}
        value={names[at]}
        change={(name) => choose(String(name ?? ""))}
        choices={names}
      />
      {form === undefined ? null : (
        <ObjectFields
          schema={form}
          whole={whole}
          id={id}
          value={given}
          secrets={["value"]}
          change={(next) => change(fixedOf(form) === undefined && isEmpty(next) ? given : next)}
        />
      )}
    </fieldset>
  );
}

/** The constant fields of a form; undefined if it has none. */
function fixedOf({ properties = {} }: Schema): Given | undefined {
  const fixed = Object.entries(properties).flatMap(([name, { const: text }]) =>
    text === undefined ? [] : [[name, text] as const],
  );
  return fixed.length === 0 ? undefined : Object.fromEntries(fixed);
}

function nameOfForm(form: Schema): string {
  const [fixed] = Object.values(fixedOf(form) ?? {});
  return String(fixed ?? Object.keys(form.properties ?? {})[0] ?? "");
}

function isEmpty(value: Given): boolean {
  return Object.keys(value).length === 0;
}
