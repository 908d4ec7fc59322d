import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { call, callEvery } from "../base/api.ts";
import type { AnswerOf } from "../base/contract.ts";
import { may } from "../base/may.ts";
import { link } from "../base/router.ts";
import { withColons } from "../base/text.ts";
import { ActionDialog } from "../parts/action.tsx";
import type { Action } from "../parts/action-model.ts";
import { Copied } from "../parts/copy.tsx";
import { Failure, Loading } from "../parts/notices.tsx";
import { LiveCheck } from "./connect/check.tsx";
import { TrustWays } from "./connect/trust-ways.tsx";
import { serverCertificates, type ToldCertificate } from "./every-node.ts";
import { connectPage } from "./pages.ts";
import { Heading } from "./resource.tsx";

type Instance = AnswerOf<"readInstance">;

/** The steps of vCenter's own wizard, with what to type and what to compare. */
export function Connect({ params }: { params: Readonly<Record<string, string>> }) {
  const instance = useSignal<Instance | undefined>(undefined);
  const certificates = useSignal<readonly ToldCertificate[] | undefined>(undefined);
  const taken = useSignal<readonly string[]>([]);
  const action = useSignal<Action | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const load = async () => {
    try {
      instance.value = await call("readInstance", {
        params: { instance: params["instance"] ?? "" },
      });
      error.value = undefined;
      const { items } = await call("listCertificates", {
        params: { instance: params["instance"] ?? "" },
        query: { limit: 1000 },
      });
      taken.value = items.map(({ name }) => name);
      if (may("listServerCertificates")) {
        const { answers } = await callEvery("listServerCertificates", {});
        certificates.value = serverCertificates(answers, Date.now());
      }
    } catch (reason) {
      error.value = reason;
    }
  };
  useEffect(() => {
    document.title = "Connect vCenter – Holdfast";
    void load();
  }, [params["instance"]]);
  const endpoints = Object.values(instance.value?.regions ?? {}).flatMap((one) => one.endpoints);
  return (
    <>
      <Heading page={connectPage} params={params} />
      {error.value === undefined ? null : <Failure error={error.value} again={() => void load()} />}
      {instance.value === undefined ? (
        error.value === undefined ? (
          <Loading />
        ) : null
      ) : (
        <ol class="steps">
          <Step title="Open the port">
            The port of every address below must be open from vCenter and from every ESXi host: with
            vSAN encryption each host fetches keys itself.
          </Step>
          <Step title="Add the key provider">
            In the vSphere Client: vCenter, Configure, Key Providers, Add, Standard Key Provider.
            Give it the same name in every vCenter that shares these keys: a machine finds its key
            by this name, and it cannot be changed later.
            <p>
              Name: <Copied text={instance.value.name} what="the name" />
            </p>
            <table class="table table-compact">
              <thead>
                <tr>
                  <th scope="col">KMS</th>
                  <th scope="col">Address</th>
                  <th scope="col">Port</th>
                </tr>
              </thead>
              <tbody>
                {endpoints.map((endpoint, at) => {
                  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(endpoint) ?? [];
                  return (
                    <tr key={endpoint}>
                      <td>
                        <Copied text={`kms-${at + 1}`} what={`name ${at + 1}`} />
                      </td>
                      <td>
                        <Copied text={host} what={`address ${at + 1}`} />
                      </td>
                      <td>{port}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
            Leave proxy, user name and password empty
            {instance.value.users > 0 ? ", but for the user of this instance" : ""}. vCenter uses
            the addresses in turn, so none of them is a spare.
          </Step>
          <Step title="Compare the fingerprints">
            vCenter shows each server's certificate with its SHA-1 fingerprint. Trust it only if it
            is one of these. A server with two certificates shows the one that fits vCenter.
            {!may("listServerCertificates") ? (
              <p>Your token may not read them: ask the operator of the nodes for them.</p>
            ) : certificates.value === undefined && error.value === undefined ? (
              <Loading />
            ) : null}
            {certificates.value?.map(
              ({ node, region, keyType, sha1, sha256, notAfter, ...one }) => (
                <div key={sha256} class="fingerprint">
                  <h3>
                    Node {node}, region {region}, {keyType}, until {notAfter.slice(0, 10)}
                  </h3>
                  {one.asked ? null : <p>Reported {one.told}. It may show another one by now.</p>}
                  SHA-1 <Copied text={withColons(sha1)} what={`SHA-1 of ${node}`} />
                  <br />
                  SHA-256 <Copied text={withColons(sha256)} what={`SHA-256 of ${node}`} />
                </div>
              ),
            )}
          </Step>
          <Step title="Set As Default">
            Select the provider and press Set As Default, or new machines keep using the provider
            that was there before. Since 8.0 Update 1 a cluster can have a default of its own, which
            takes precedence.
          </Step>
          <Step title="Make the KMS trust vCenter">
            <TrustWays
              instance={instance.value.name}
              taken={taken.value}
              begin={(begun) => {
                action.value = begun;
              }}
            />
            The certificates of this instance are{" "}
            <a href={link("/instances/{instance}/certificates", params)}>in its list</a>.
          </Step>
          <Step title="See that it works">
            vCenter checks its providers every five minutes; Refresh does it at once.
            <LiveCheck
              instance={instance.value.name}
              begin={(begun) => {
                action.value = begun;
              }}
            />
          </Step>
          <Step title="Encrypt">
            Power the machine off, and give it the storage policy VM Encryption Policy, or add a
            virtual TPM. <a href={link("/instances/{instance}/keys", params)}>Its key</a> is then in
            the list, and{" "}
            <a href={link("/events", {}, { instance: instance.value.name })}>the events</a> say who
            fetched it.
          </Step>
        </ol>
      )}
      {action.value === undefined ? null : (
        <ActionDialog
          action={action.value}
          close={() => {
            action.value = undefined;
          }}
          done={() => void load()}
        />
      )}
    </>
  );
}

function Step({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <li>
      <h2>{title}</h2>
      {children}
    </li>
  );
}
