// Displays a picture, the result or a problem.
import { endpoint } from "./classify.js";
import { drawSkeleton } from "./skeleton.js";

export const $ = (id) => document.getElementById(id);
const THRESHOLD = Number(document.body.dataset.threshold);
const FIRST_BARS = 6; // number of bars displayed at first
export const HEATMAPS = document.body.dataset.takes === "heatmaps";

let object = ""; // URL of the displayed blob
let version = 0; // number of the displayed picture, to discard drawings of earlier ones

const readable = (label) => label.replaceAll("_", " ");

function percent(value) {
  if (value > 0.999 && value < 1) return "> 99.9%";
  if (value > 0 && value < 0.001) return "< 0.1%";
  return `${(value * 100).toFixed(1)}%`;
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
export function state(name) {
  for (const id of ["idle", "waiting", "answer"]) $(id).hidden = id !== name;
  $("panel").setAttribute("aria-busy", String(name === "waiting"));
  if (name !== "problem") $("problem").replaceChildren();
}

export function picture({ blob, url, name }, fetched = false) {
  URL.revokeObjectURL(object);
  const own = version += 1;
  object = blob && !HEATMAPS ? URL.createObjectURL(blob) : "";
  document.body.classList.add("filled");
  $("invite").hidden = true;
  $("caption").textContent = name || url || "";
  $("caption").hidden = false;
  $("preview").hidden = true;
  if (!HEATMAPS && (blob || fetched)) $("preview").src = object || url;
  else $("preview").removeAttribute("src");
  if (HEATMAPS && blob) drawSkeleton(blob).then((skeleton) => {
    if (skeleton && own === version) $("preview").src = object = URL.createObjectURL(skeleton);
  });
}

for (const image of document.querySelectorAll("[data-heatmaps]")) {
  fetch(image.dataset.heatmaps).then((response) => response.blob()).then(drawSkeleton).then((skeleton) => {
    if (skeleton) image.src = URL.createObjectURL(skeleton);
  }).catch(() => {}); // a sample without its drawing can still be classified
}

$("preview").addEventListener("load", () => {
  $("preview").hidden = false;
  $("caption").hidden = true;
  dimensions();
});

function dimensions() {
  const { naturalWidth: width, naturalHeight: height, hidden } = $("preview");
  $("dimensions")?.replaceChildren(...(width && !hidden && !HEATMAPS ? [`${width} × ${height} pixels`.replaceAll(" ", "\u00a0")] : []));
}

export function show({ pairs, confident, known, time, model }, { blob }) {
  const [label, value] = pairs[0];
  const doubtful = confident === false || known === false;
  const verdict = known === false ? "Perhaps none of them. The nearest is" : "Not sure, perhaps";
  document.body.classList.toggle("not-confident", doubtful);
  $("verdict").textContent = doubtful ? verdict : "It looks like";
  $("low-confidence").hidden = !doubtful;
  $("low-confidence").textContent = (known === false ? "This is unlike the pictures that the model was trained on. " : "")
    + (confident === false && THRESHOLD > 0 ? `Predictions with a probability of ${percent(THRESHOLD)} or more are confident. ` : "")
    + (HEATMAPS ? "It helps if all joints are clearly visible." : "It helps if the picture has one clear subject, complete and in the middle.");
  bars(pairs, false);
  $("more").hidden = pairs.length <= FIRST_BARS;
  $("more").textContent = `Show all ${pairs.length}`;
  $("more").setAttribute("aria-expanded", "false");
  $("more").onclick = () => {
    const open = $("more").getAttribute("aria-expanded") !== "true";
    bars(pairs, open);
    $("more").setAttribute("aria-expanded", String(open));
    $("more").textContent = open ? "Show fewer" : `Show all ${pairs.length}`;
  };
  const pixels = Object.assign(document.createElement("span"), { id: "dimensions" });
  const took = model ? `, ${model.toFixed(1)} of it for the model` : ", including the network";
  const facts = [`Answered in ${Math.max(1, Math.round(time))} ms${took}`, ...(blob ? [size(blob.size)] : []), ...(HEATMAPS ? [] : [""])];
  $("facts").replaceChildren(facts.join(" · "), pixels);
  state("answer");
  dimensions();
  $("status").textContent = `${known === false ? "Perhaps none of them. The nearest is " : confident === false ? "Not sure. The likeliest is " : ""}${readable(label)}, ${percent(value)}.`;
  reveal();
}

function bars(pairs, all) {
  const items = pairs.slice(0, all ? undefined : FIRST_BARS).map(([label, value]) => {
    const item = document.createElement("li");
    const [name, share, track, fill] = ["label", "percent", "track", "fill"].map((kind) =>
      Object.assign(document.createElement("span"), { className: kind }));
    name.textContent = readable(label);
    share.textContent = percent(value);
    track.append(fill);
    item.append(name, share, track);
    fill.style.setProperty("--share", Math.min(1, Math.max(0, value)));
    return item;
  });
  $("bars").replaceChildren(...items);
}

export function fail(problem, retry) {
  const add = (kind, text, more = {}) => Object.assign(document.createElement(kind), { textContent: text, ...more });
  state("problem");
  $("status").textContent = "";
  const parts = [add("h2", "This did not work"), add("p", problem.message)];
  if (problem.advice) parts.push(add("p", problem.advice));
  if (problem.id) parts.push(add("p", `Request ${problem.id}`, { className: "id" }));
  if (problem.again && retry) {
    parts.push(add("button", "Try again", { type: "button", onclick: retry }));
  }
  $("problem").replaceChildren(...parts);
  reveal();
}

/** Scrolls to the result, which on a small screen may be outside of the visible part. */
function reveal() {
  const { top, bottom } = $("panel").getBoundingClientRect();
  if ($("stage").getBoundingClientRect().top >= 0 && Math.min(bottom, top + 160) <= innerHeight) return;
  const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("stage").scrollIntoView({ block: "start", behavior: reduced ? "auto" : "smooth" });
}

$("program").hidden = false;
$("program").querySelector("code").textContent = endpoint.origin === location.origin
  ? `curl --data-binary @${HEATMAPS ? "person.npy" : "photo.jpg"} ${endpoint}`
  : `curl --json '{"url": "https://…"}' ${endpoint}`;
