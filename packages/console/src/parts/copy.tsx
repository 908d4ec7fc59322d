import { useSignal } from "@preact/signals";

/** A text with a button that copies it. */
export function Copied({ text, what, block }: { text: string; what: string; block?: boolean }) {
  /** The text of the last try, and whether the browser copied it. */
  const tried = useSignal<readonly [text: string, isCopied: boolean]>(["", false]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      tried.value = [text, true];
    } catch {
      tried.value = [text, false];
    }
  };
  const [of, isCopied] = tried.value;
  return (
    <span class={block === true ? "copied block" : "copied"}>
      <code>{text}</code>
      <button
        type="button"
        class="btn btn-sm btn-link"
        onClick={() => void copy()}
        aria-label={`Copy ${what}`}
      >
        {isCopied && of === text ? "Copied" : "Copy"}
      </button>
      {of === "" || isCopied ? null : (
        <span role="status">The browser does not let this page copy. Select the text instead.</span>
      )}
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
