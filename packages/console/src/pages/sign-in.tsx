import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { signIn, signInNotice } from "../base/api.ts";
import { Failure, Notice } from "../parts/notices.tsx";

/** Why the last try to sign in failed, by a token or by a link. */
export const signInError = signal<unknown>(undefined);

/** Asks for a token. */
export function SignIn() {
  const token = useSignal("");
  const busy = useSignal(false);
  const enter = async () => {
    busy.value = true;
    try {
      await signIn({ token: token.value.trim() });
      signInError.value = undefined;
    } catch (error) {
      signInError.value = error;
    } finally {
      busy.value = false;
      token.value = "";
    }
  };
  useEffect(() => {
    document.title = "Sign in – Holdfast";
  }, []);
  return (
    <main class="sign-in" id="content">
      <form
        class="clr-form clr-form-vertical card"
        onSubmit={(event) => {
          event.preventDefault();
          void enter();
        }}
      >
        <div class="card-block">
          <h1>Holdfast</h1>
          <p>Keys for vSphere and vSAN encryption, in both regions.</p>
          {signInError.value === undefined ? null : <Failure error={signInError.value} />}
          {signInNotice.value === "" ? null : <Notice tone="warning">{signInNotice.value}</Notice>}
          <div class="clr-form-control">
            <label class="clr-control-label" for="token">
              Token
            </label>
            <div class="clr-control-container">
              <input
                id="token"
                class="clr-input"
                type="password"
                required
                autocomplete="off"
                value={token.value}
                onInput={(event) => {
                  token.value = event.currentTarget.value;
                }}
              />
              <span class="clr-subtext">
                A manager makes one with <code>holdfast token create</code>. The browser keeps it
                for eight hours where no script can read it.
              </span>
            </div>
          </div>
          <button type="submit" class="btn btn-primary" disabled={busy.value}>
            {busy.value ? "Signing in…" : "Sign in"}
          </button>
        </div>
      </form>
    </main>
  );
}
