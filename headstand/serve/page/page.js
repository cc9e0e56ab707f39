// Takes a picture in any way a person may have one, asks the service, and shows what it says. The bytes go as they are:
// nothing is scaled or converted here, so that the answer is the one that any other client gets.
"use strict";

const $ = (id) => document.getElementById(id);
const endpoint = new URL($("picture").action);
const LIMIT = Number(document.body.dataset.limit);
const THRESHOLD = Number(document.body.dataset.threshold);
const PATIENCE = 60_000; // milliseconds
const SOON = 150; // milliseconds in which an answer comes without a sign of waiting, which would only flicker
const FEW = 6; // bars shown at first
const WEB_ADDRESS = /^https?:\/\/\S+$/i;

const ADVICE = {
  picture: "It takes JPEG, PNG, WebP, GIF and BMP. Save the picture as one of these, or take a screenshot of it. "
    + "An iPhone saves JPEG instead of HEIC under Settings, Camera, Formats, Most Compatible.",
  damaged: "Open it in a picture viewer. If it looks whole there, save a copy and try that.",
  large: "Save a smaller copy, 1,000 pixels wide are plenty, and try that.",
  address: "Give the whole address of the picture itself, from https:// on. “Copy image address” in a browser’s menu gives it.",
  save: "Save the picture and choose the file instead.",
  open: "See whether the address opens in a new tab. If it does, save the picture and choose the file instead.",
  again: "Wait a moment and try again.",
};
const WAY_OUT = {
  not_an_image: ADVICE.picture,
  unsupported_media_type: ADVICE.picture,
  corrupt_image: ADVICE.damaged,
  too_large: ADVICE.large,
  download_too_large: ADVICE.large,
  request_entity_too_large: ADVICE.large,
  content_too_large: ADVICE.large,
  bad_url: ADVICE.address,
  forbidden_address: ADVICE.save,
  download_failed: ADVICE.open,
  download_timeout: ADVICE.open,
  http_error: ADVICE.open,
  too_many_redirects: ADVICE.open,
};

/** Where the service's own words are for engineers. */
const SAYING = {
  not_an_image: "This is not a picture, or not of a kind that can be read",
  forbidden_address: "This address is not open to everyone on the internet",
};

/** What went wrong, in a sentence for people, and what they can do. */
class Problem extends Error {
  constructor(message, { advice = "", again = false, id = "" } = {}) {
    super(message);
    Object.assign(this, { advice, again, id });
  }
}

const shown = (label) => label.replaceAll("_", " ");

function sentence(text) {
  const words = String(text).trim();
  return words && words[0].toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}

function percent(value) {
  if (value > 0.999 && value < 1) return "> 99.9%";
  if (value > 0 && value < 0.001) return "< 0.1%";
  return `${(value * 100).toFixed(1)}%`;
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// -- Asking

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
async function classify(source, signal) {
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

function refused(answer, response) {
  const inner = typeof answer?.error === "object" ? answer.error : {};
  const code = answer?.code ?? inner?.code;
  const told = answer?.detail ?? inner?.message ?? answer?.message ?? answer?.title;
  const id = answer?.request_id ?? response.headers.get("X-Request-ID") ?? "";
  const busy = response.status === 503 || response.status === 429;
  const ours = response.status >= 500;
  const words = SAYING[code] ?? (busy ? "The service is busy" : ours ? "The service failed" : told || `The service answered ${response.status}`);
  const seconds = Number(response.headers.get("Retry-After"));
  const advice = WAY_OUT[code] ?? (busy && seconds > 0 ? `Try again in ${seconds} s.` : ours || busy ? ADVICE.again : "");
  return new Problem(sentence(words), { advice, again: ours || busy, id: ours ? String(id) : "" });
}

let current = null; // the question that is being asked
let object = ""; // address of the shown blob

async function ask(source) {
  current?.abort();
  const mine = current = new AbortController();
  let late = false, slow = 0;
  const timer = setTimeout(() => { late = true; mine.abort(); }, PATIENCE);
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.setAttribute("aria-pressed", String(button === source.button));
  }
  try {
    picture(source);
    if (source.blob?.size === 0) throw new Problem("The file is empty.", { advice: "Choose another one." });
    if (source.blob?.size > LIMIT) {
      throw new Problem(`The picture has ${size(source.blob.size)}; at most ${Math.floor(LIMIT / 1e6)} MB are taken.`, { advice: ADVICE.large });
    }
    $("problem").replaceChildren();
    $("panel").setAttribute("aria-busy", "true");
    slow = setTimeout(() => {
      state("waiting");
      $("status").textContent = "Looking at the picture.";
    }, SOON);
    const answer = await classify(source, mine.signal).finally(() => clearTimeout(slow));
    if (mine !== current) return;
    // Only now: what the service refuses to fetch, this browser does not fetch either.
    if (source.url) picture(source, true);
    show(answer, source);
  } catch (error) {
    if (mine !== current) return;
    if (late) fail(new Problem("The server took too long.", { advice: ADVICE.again, again: true }), source);
    else if (error instanceof Problem) fail(error, source);
    else throw error;
  } finally {
    clearTimeout(timer);
    if (mine === current) current = null;
  }
}

function askAddress(text) {
  let address = text.trim();
  if (address && !/^[a-z][a-z0-9+.-]*:/i.test(address)) address = `https://${address}`;
  $("url").value = address;
  if (!WEB_ADDRESS.test(address)) {
    cancel(new Problem(address ? "This is not a web address." : "There is no address yet.", { advice: ADVICE.address }));
    $("url").focus();
  } else {
    ask({ url: address });
  }
}

function cancel(problem) {
  current?.abort();
  current = null;
  fail(problem);
}

// -- Showing

function state(name) {
  for (const id of ["idle", "waiting", "answer"]) $(id).hidden = id !== name;
  $("panel").setAttribute("aria-busy", String(name === "waiting"));
  if (name !== "problem") $("problem").replaceChildren();
}

function picture({ blob, url, name }, fetched = false) {
  URL.revokeObjectURL(object);
  object = blob ? URL.createObjectURL(blob) : "";
  document.body.classList.add("filled");
  $("invite").hidden = true;
  $("caption").textContent = name || url || "";
  $("caption").hidden = false;
  $("preview").hidden = true;
  if (blob || fetched) $("preview").src = object || url;
  else $("preview").removeAttribute("src");
}

$("preview").addEventListener("load", () => {
  $("preview").hidden = false;
  $("caption").hidden = true;
  dimensions();
});

function dimensions() {
  const { naturalWidth: width, naturalHeight: height, hidden } = $("preview");
  $("dimensions")?.replaceChildren(...(width && !hidden ? [`${width} × ${height} pixels`.replaceAll(" ", "\u00a0")] : []));
}

function show({ pairs, sure, time, model }, { blob }) {
  const [label, value] = pairs[0];
  document.body.classList.toggle("doubt", sure === false);
  $("verdict").textContent = sure === false ? "Not sure, perhaps" : "It looks like";
  $("unsure").hidden = sure !== false;
  $("unsure").textContent = (THRESHOLD > 0 ? `The model calls an answer sure from ${percent(THRESHOLD)} on. ` : "")
    + "A picture with one clear subject, whole and in the middle, helps.";
  bars(pairs, false);
  $("more").hidden = pairs.length <= FEW;
  $("more").textContent = `Show all ${pairs.length}`;
  $("more").setAttribute("aria-expanded", "false");
  $("more").onclick = () => {
    const open = $("more").getAttribute("aria-expanded") !== "true";
    bars(pairs, open);
    $("more").setAttribute("aria-expanded", String(open));
    $("more").textContent = open ? "Show fewer" : `Show all ${pairs.length}`;
  };
  const pixels = Object.assign(document.createElement("span"), { id: "dimensions" });
  const took = model ? `, ${model.toFixed(1)} of it in the model` : ", there and back";
  const facts = [`Answered in ${Math.max(1, Math.round(time))} ms${took}`, ...(blob ? [size(blob.size)] : []), ""];
  $("facts").replaceChildren(facts.join(" · "), pixels);
  state("answer");
  dimensions();
  $("status").textContent = `${sure === false ? "Not sure. The likeliest is " : ""}${shown(label)}, ${percent(value)}.`;
  reveal();
}

function bars(pairs, all) {
  const items = pairs.slice(0, all ? undefined : FEW).map(([label, value]) => {
    const item = document.createElement("li");
    const [name, share, track, fill] = ["label", "percent", "track", "fill"].map((kind) =>
      Object.assign(document.createElement("span"), { className: kind }));
    name.textContent = shown(label);
    share.textContent = percent(value);
    track.append(fill);
    item.append(name, share, track);
    fill.style.setProperty("--share", Math.min(1, Math.max(0, value)));
    return item;
  });
  $("bars").replaceChildren(...items);
}

function fail(problem, source) {
  const add = (kind, text, more = {}) => Object.assign(document.createElement(kind), { textContent: text, ...more });
  state("problem");
  $("status").textContent = "";
  const parts = [add("h2", "That did not work"), add("p", problem.message)];
  if (problem.advice) parts.push(add("p", problem.advice));
  if (problem.id) parts.push(add("p", `Request ${problem.id}`, { className: "id" }));
  if (problem.again && source) {
    parts.push(add("button", "Try again", { type: "button", onclick: () => ask(source) }));
  }
  $("problem").replaceChildren(...parts);
  reveal();
}

/** On a small screen the answer may lie below or above what is seen. */
function reveal() {
  const { top, bottom } = $("panel").getBoundingClientRect();
  if ($("stage").getBoundingClientRect().top >= 0 && Math.min(bottom, top + 160) <= innerHeight) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("stage").scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

// -- Choosing, dropping, pasting

function take(files) {
  const file = [...files].find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file) ask({ blob: file, name: file.name });
}

for (const id of ["file", "capture"]) {
  $(id).addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = ""; // so that choosing the same file again asks again
  });
}
$("picture").addEventListener("submit", (event) => event.preventDefault());
$("stage").addEventListener("click", () => $("file").click());
$("address").addEventListener("submit", (event) => {
  event.preventDefault();
  askAddress($("url").value);
});
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", async () => {
    try {
      const response = await fetch(button.dataset.sample);
      if (!response.ok) throw new Error(response.statusText);
      ask({ blob: await response.blob(), name: button.textContent, button });
    } catch {
      cancel(new Problem("The sample cannot be loaded.", { advice: "Check your connection, or choose a picture of yours." }));
    }
  });
}

/** A picture or an address, as a drop or the clipboard carries it; false if it is neither. */
function transferred(data) {
  if (data.files.length) take([...data.files]);
  else {
    const lines = (data.getData("text/uri-list") || data.getData("text/plain")).split(/\r?\n/);
    const text = lines.find((line) => line.trim() && !line.startsWith("#"))?.trim() ?? "";
    if (!WEB_ADDRESS.test(text)) return false;
    askAddress(text);
  }
  return true;
}

let depth = 0; // elements entered and not left
const drag = (change) => {
  depth = change ? Math.max(0, depth + change) : 0;
  document.body.classList.toggle("dragging", depth > 0);
};
addEventListener("dragenter", () => drag(1));
addEventListener("dragleave", () => drag(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault(); // or the browser would leave this page for the file
  drag(0);
  if (!transferred(event.dataTransfer)) cancel(new Problem("What was dropped is no picture.", { advice: ADVICE.picture }));
});
addEventListener("paste", (event) => {
  const writing = event.target instanceof HTMLInputElement && !event.clipboardData.files.length;
  if (writing) return;
  event.preventDefault();
  if (!transferred(event.clipboardData)) nothing();
});

function nothing() {
  cancel(new Problem("The clipboard holds no picture and no web address.", { advice: "Copy a picture or its address first." }));
}

$("paste").hidden = !navigator.clipboard?.read;
$("paste").addEventListener("click", async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((kind) => kind.startsWith("image/"));
      if (type) return ask({ blob: await item.getType(type), name: "Pasted picture" });
      if (item.types.includes("text/plain")) {
        const text = (await (await item.getType("text/plain")).text()).trim();
        if (WEB_ADDRESS.test(text)) return askAddress(text);
      }
    }
    nothing();
  } catch {
    cancel(new Problem("The browser does not let the page read the clipboard.", {
      advice: "Press Ctrl+V, or ⌘V on a Mac, instead.",
    }));
  }
});

// -- Camera: a phone's own app where there is one, else this page's window

const touch = matchMedia("(pointer: coarse)").matches;
$("shoot-open").hidden = !touch && !navigator.mediaDevices?.getUserMedia;
let stream = null, countdown = 0;

$("shoot-open").addEventListener("click", async () => {
  if (touch) return $("capture").click();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    const none = error.name === "NotFoundError";
    return cancel(new Problem(none ? "No camera was found." : "The browser does not let the page use the camera.", {
      advice: none ? "Choose a picture instead." : "Allow it beside the page’s address, or choose a picture instead.",
    }));
  }
  for (const id of ["shoot", "shoot-later"]) $(id).disabled = true; // until there is a picture to take
  $("video").srcObject = stream;
  $("camera").showModal();
});
$("video").addEventListener("loadeddata", () => {
  for (const id of ["shoot", "shoot-later"]) $(id).disabled = false;
  $("shoot").focus();
});

function shoot() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [$("video").videoWidth, $("video").videoHeight];
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  canvas.toBlob((blob) => ask({ blob, name: "Camera" }), "image/jpeg", 0.92);
  $("camera").close();
}

$("shoot").addEventListener("click", shoot);
$("shoot-later").addEventListener("click", () => {
  clearInterval(countdown);
  let left = 5;
  $("countdown").textContent = String(left);
  countdown = setInterval(() => {
    left -= 1;
    $("countdown").textContent = left ? String(left) : "";
    if (!left) {
      clearInterval(countdown);
      shoot();
    }
  }, 1000);
});
$("shoot-close").addEventListener("click", () => $("camera").close());
$("camera").addEventListener("close", () => {
  clearInterval(countdown);
  $("countdown").textContent = "";
  stream?.getTracks().forEach((track) => track.stop());
  $("video").srcObject = stream = null;
});

$("program").hidden = false;
$("program").querySelector("code").textContent = endpoint.origin === location.origin
  ? `curl --data-binary @photo.jpg ${endpoint}`
  : `curl --json '{"url": "https://…"}' ${endpoint}`;
