import { type Signal, signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import {
  asked,
  findProvider,
  findWho,
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
import { Modal } from "../parts/modal.tsx";
import { Failure, Notice } from "../parts/notices.tsx";

/** Why the last try to sign in failed: by a token, by a link, or at the identity provider. */
export const signInError = signal<unknown>(undefined);

/** Asks for a token, or leads to the identity provider. */
export function SignIn() {
  return (
    <main class="sign-in" id="content">
      <SignInForm />
    </main>
  );
}

/** The same above a page that stays, with its form or its secret: the session of who opened it does not count now. */
export function SignInLayer({ name }: { name: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  return (
    <Modal
      dialog={dialog}
      kind="sign-in-layer"
      labelledBy="sign-in-title"
      stays={() => true}
      close={() => undefined}
    >
      <div class="sign-in">
        <SignInForm kept={name} />
      </div>
    </Modal>
  );
}

/** `kept` is the name of the person whose page stays; undefined if there is none. */
function SignInForm({ kept }: { kept?: string }) {
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
    const before = document.title;
    document.title = "Sign in – Holdfast";
    return () => {
      document.title = before;
    };
  }, []);
  useEffect(() => void findProvider(), [asked.value]);
  return (
    <form
      class="clr-form clr-form-vertical card"
      onSubmit={(event) => {
        event.preventDefault();
        void enter();
      }}
    >
      <div class="card-block">
        <h1 id="sign-in-title">Holdfast</h1>
        <p>Keys for vSphere and vSAN encryption, in both regions.</p>
        {signInError.value === undefined ? null : <Failure error={signInError.value} />}
        {signInNotice.value === "" ? null : (
          <Notice tone="warning">
            {signInNotice.value} <SignOutAtProvider />
          </Notice>
        )}
        <OtherNode />
        {kept === undefined ? null : (
          <p>
            The page that you had open stays, with what you typed. Sign in as{" "}
            <b class="text">{kept}</b> to go on with it; for another person it is opened anew.
          </p>
        )}
        <TokenField token={token} />
        <div class="toolbar">
          <button type="submit" class="btn btn-primary" disabled={busy.value}>
            {busy.value ? "Signing in…" : "Sign in"}
          </button>
          <AtProvider stays={kept !== undefined} />
        </div>
      </div>
    </form>
  );
}

function TokenField({ token }: { token: Signal<string> }) {
  return (
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
          A manager makes one with <code>holdfast token create</code>. The browser keeps it for
          eight hours where no script can read it.
        </span>
      </div>
    </div>
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

/** Leads to the identity provider, and from there back to this place; a page that `stays` does so only in another tab. */
function AtProvider({ stays }: { stays: boolean }) {
  const { path, query } = place.value;
  const isElsewhere = useSignal(false);
  useEffect(() => {
    if (!isElsewhere.value) return;
    const look = () => void findWho().catch(() => undefined);
    addEventListener("focus", look);
    return () => removeEventListener("focus", look);
  }, [isElsewhere.value]);
  // What the node before has said leads to a node that does not answer.
  if (signInAt.value === undefined || providerOf.value !== asked.value) return null;
  const here = link(path, {}, query).slice(1);
  const address = `${signInAt.value}?${new URLSearchParams({ place: here })}`;
  return (
    <>
      <a class="btn btn-outline" href={address}>
        Sign in with your identity provider
      </a>
      {stays ? (
        <a
          href={address}
          target="_blank"
          rel="noopener"
          onClick={() => {
            isElsewhere.value = true;
          }}
        >
          The same in a new tab: come back here afterwards, and this page is still there
        </a>
      ) : null}
    </>
  );
}

/** Leads to where the identity provider ends its own session, and from there back here. */
function SignOutAtProvider() {
  if (signInNotice.value !== signedOut || signOutAt.value === undefined) return null;
  return <a href={signOutAt.value}>End it there too</a>;
}
