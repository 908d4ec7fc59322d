import { useSignal } from "@preact/signals";

/** A text with a button that copies it. */
export function Copied({ text, what, block }: { text: string; what: string; block?: boolean }) {
  const done = useSignal(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    done.value = true;
  };
  return (
    <span class={block === true ? "copied block" : "copied"}>
      <code>{text}</code>
      <button
        type="button"
        class="btn btn-sm btn-link"
        onClick={() => void copy()}
        aria-label={`Copy ${what}`}
      >
        {done.value ? "Copied" : "Copy"}
      </button>
    </span>
  );
}

/** Saves a text, or its lines, as a file. */
export function save(text: string | readonly string[], name: string): void {
  const parts = typeof text === "string" ? [text] : [...text];
  const url = URL.createObjectURL(new Blob(parts, { type: "application/octet-stream" }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  URL.revokeObjectURL(url);
}
