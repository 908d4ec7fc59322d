import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import {
  asked,
  findProvider,
  hostOf,
  nodes,
  providerOf,
  signedOut,
  signIn,
  signInAt,
  signInNotice,
  signOutAt,
} from "../base/api.ts";
import { link, place } from "../base/router.ts";
import { Failure, Notice } from "../parts/notices.tsx";

/** Why the last try to sign in failed: by a token, by a link, or at the identity provider. */
export const signInError = signal<unknown>(undefined);

/** Asks for a token, or leads to the identity provider. */
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
  useEffect(() => void findProvider(), [asked.value]);
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
          {signInNotice.value === "" ? null : (
            <Notice tone="warning">
              {signInNotice.value} <SignOutAtProvider />
            </Notice>
          )}
          <OtherNode />
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
          <div class="toolbar">
            <button type="submit" class="btn btn-primary" disabled={busy.value}>
              {busy.value ? "Signing in…" : "Sign in"}
            </button>
            <AtProvider />
          </div>
        </div>
      </form>
    </main>
  );
}

/** Says that a session of the first node does not count at the one that is asked now. */
function OtherNode() {
  const [first = asked.value] = nodes.value;
  if (asked.value === first) return null;
  return (
    <Notice tone="warning">
      {hostOf(first)} did not answer, and your session there does not count at {hostOf(asked.value)}
      . Sign in at {hostOf(asked.value)}.
    </Notice>
  );
}

/** Leads to the identity provider, and from there back to this place. */
function AtProvider() {
  const { path, query } = place.value;
  // What the node before has said leads to a node that does not answer.
  if (signInAt.value === undefined || providerOf.value !== asked.value) return null;
  const here = link(path, {}, query).slice(1);
  return (
    <a class="btn btn-outline" href={`${signInAt.value}?${new URLSearchParams({ place: here })}`}>
      Sign in with your identity provider
    </a>
  );
}

/** Leads to where the identity provider ends its own session, and from there back here. */
function SignOutAtProvider() {
  if (signInNotice.value !== signedOut || signOutAt.value === undefined) return null;
  return <a href={signOutAt.value}>End it there too</a>;
}
