// Request to the service. The picture is sent unchanged, neither scaled nor converted, so that the result is the same as
// for any other client.
import { Problem, problemOf } from "./problem.js";

export const endpoint = new URL(document.getElementById("picture").action);

let key = ""; // in memory only: other pages of the same origin could read a stored one

/** Sets the API key that all further requests send. */
export function setKey(text) {
  key = text.trim();
}

/** Returns headers and body of the request for a picture or its URL. */
async function request({ blob, url }) {
  const json = { headers: { "Content-Type": "application/json" } };
  if (url) return { ...json, body: JSON.stringify({ url }) };
  try {
    await blob.slice(0, 1).arrayBuffer();
  } catch { // a folder, or a file that was deleted
    throw new Problem("The file cannot be read.", { advice: "Choose a single picture, not a folder." });
  }
  if (endpoint.origin !== location.origin) {
    // API Gateway damages binary bodies unless it is configured for them.
    return { ...json, body: JSON.stringify({ image: await base64(blob) }) };
  }
  const type = blob.type.startsWith("image/") ? blob.type : "application/octet-stream";
  return { headers: { "Content-Type": type }, body: blob };
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Classifies a picture: pairs [label, probability], highest first; confident and known (null if not
 * reported); time in milliseconds. */
export async function classify(source, signal) {
  const options = await request(source);
  if (key) options.headers.Authorization = `Bearer ${key}`;
  const started = performance.now();
  let response, text;
  try {
    response = await fetch(endpoint, { method: "POST", cache: "no-store", signal, ...options });
    text = await response.text();
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Problem("The server cannot be reached.", { advice: "Check your connection and try again.", again: true });
  }
  const time = performance.now() - started;
  let result = null;
  try {
    result = JSON.parse(text);
  } catch { /* reported below */ }
  if (!response.ok || result?.error) throw problemOf(result, response);
  const pairs = Object.entries(result ?? {}).filter(([, value]) => Number.isFinite(value));
  if (!pairs.length) throw new Problem("The server’s response is not that of this service.", { again: true });
  pairs.sort((a, b) => b[1] - a[1]);
  const [confident, known] = ["Headstand-Confident", "Headstand-Known"].map((name) => {
    const value = response.headers.get(name);
    return value === null ? null : value !== "false";
  });
  // Time of the inference, if the service reports it.
  const model = Number(/\binference;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "")?.[1] ?? 0);
  return { pairs, confident, known, time, model };
}
