// Asks the service. The bytes go as they are: nothing is scaled or converted here, so that the answer is the one that any
// other client gets.
import { Problem, refused } from "./problem.js";

export const endpoint = new URL(document.getElementById("picture").action);

/** The request that carries a picture or its address. */
async function request({ blob, url }) {
  const json = { headers: { "Content-Type": "application/json" } };
  if (url) return { ...json, body: JSON.stringify({ url }) };
  try {
    await blob.slice(0, 1).arrayBuffer();
  } catch { // a folder, or a file that is gone by now
    throw new Problem("The file cannot be read.", { advice: "Choose a single picture, not a folder." });
  }
  if (endpoint.origin !== location.origin) {
    // API Gateway passes text through unless it is told otherwise.
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

/** Ask the service: [label, probability], highest first, whether it is sure (null: it did not say), milliseconds. */
export async function classify(source, signal) {
  const options = await request(source);
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
  let answer = null;
  try {
    answer = JSON.parse(text);
  } catch { /* told below */ }
  if (!response.ok || answer?.error) throw refused(answer, response);
  const pairs = Object.entries(answer ?? {}).filter(([, value]) => Number.isFinite(value));
  if (!pairs.length) throw new Problem("The server’s answer is not one of this service’s.", { again: true });
  pairs.sort((a, b) => b[1] - a[1]);
  const sure = response.headers.get("Headstand-Confident");
  // How long the model itself took, where the service tells.
  const model = Number(/\binference;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "")?.[1] ?? 0);
  return { pairs, sure: sure === null ? null : sure !== "false", time, model };
}
