// The server's API: one fetch for everything, streams by hand because EventSource cannot post.

import { parsed } from "./simplex.js";

const STORED = "pareto token";
export const token = () => sessionStorage.getItem(STORED) || "";
export const keep = (text) => sessionStorage.setItem(STORED, text);

const headers = () => ({
  ...(token() ? { authorization: `Bearer ${token()}` } : {}),
});

export class Trouble extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const checked = async (answer) => {
  if (answer.ok) return answer;
  let message = `the server answered ${answer.status}`;
  try {
    message = (await answer.json()).error.message;
  } catch {
    // an answer without an envelope keeps the plain message
  }
  throw new Trouble(answer.status, message);
};

export const get = async (path) => (await checked(await fetch(path, { headers: headers() }))).json();

export const post = async (path, body, signal) =>
  checked(
    await fetch(path, {
      method: "POST",
      headers: { ...headers(), "content-type": "application/json" },
      body: JSON.stringify(body),
      signal,
    }),
  );

/** Post and call `each` with every event of the stream. */
export const stream = async (path, body, signal, each) => {
  const reader = (await post(path, body, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Trouble(0, "the connection ended before the reply did");
    const [events, rest] = parsed(buffer + value);
    buffer = rest;
    for (const event of events) {
      if (event === "[DONE]") return;
      const told = JSON.parse(event);
      if (told.error) throw new Trouble(503, told.error.message);
      each(told);
    }
  }
};
