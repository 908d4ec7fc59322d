import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useLayoutEffect } from "preact/hooks";

/** A modal dialog, which Escape closes unless it `stays`. */
export function Modal({
  dialog,
  kind,
  labelledBy,
  stays,
  close,
  children,
}: {
  dialog: RefObject<HTMLDialogElement | null>;
  /** The class of the dialog. */
  kind: string;
  /** The identifier of its heading. */
  labelledBy: string;
  /** Whether it must not be closed now. */
  stays: () => boolean;
  close: () => void;
  children: ComponentChildren;
}) {
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    // A dialog gives the focus back when it is closed, and not when it is removed: other effects end after that.
    return () => shown?.close();
  }, []);
  useEffect(() => {
    // The event `cancel` is not enough: a browser closes the dialog at the second Escape in any case.
    const block = (event: KeyboardEvent) => {
      if (event.key === "Escape" && stays()) event.preventDefault();
    };
    addEventListener("keydown", block, true);
    return () => removeEventListener("keydown", block, true);
  }, [stays]);
  return (
    <dialog
      ref={dialog}
      class={kind}
      aria-labelledby={labelledBy}
      onCancel={(event) => {
        if (stays()) event.preventDefault();
      }}
      onClose={(event) => {
        if (!event.currentTarget.isConnected) return;
        // There are other ways than Escape, such as the gesture that goes back.
        if (stays()) dialog.current?.showModal();
        else close();
      }}
    >
      {children}
    </dialog>
  );
}
