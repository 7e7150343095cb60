// SPDX-License-Identifier: MIT
import { connect } from "node:net";
import { hostname } from "node:os";
import { task } from "@trigger.dev/sdk";

// Answers in the shape of the double's hello image.
export const hello = task({
  id: "hello",
  run: async (payload: { reach?: string[] }) => {
    const reach = await Promise.all((payload.reach ?? []).map(async (to) => [to, await probe(to)]));
    return {
      runner: hostname(),
      api: (await fetch(`${process.env.TRIGGER_API_URL}/healthcheck`)).status,
      reach: Object.fromEntries(reach),
    };
  },
});

function probe(to: string): Promise<string> {
  const split = to.lastIndexOf(":");
  return new Promise((resolve) => {
    const socket = connect({ host: to.slice(0, split), port: Number(to.slice(split + 1)), timeout: 2000 });
    const end = (outcome: string) => {
      socket.destroy();
      resolve(outcome);
    };
    socket.on("connect", () => end("open"));
    socket.on("timeout", () => end("timeout"));
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code === "ENOTFOUND" ? "unresolved" : "refused"));
  });
}
